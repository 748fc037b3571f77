"""Mutations of every kind of file that MetaViz reads, and how much of each reader they reach."""
