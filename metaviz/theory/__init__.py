"""Closed forms of the theory of meta-learning, in float64 and with numpy alone."""
