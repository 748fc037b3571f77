"""Worlds in which policies act, all tasks and trajectories at once."""
