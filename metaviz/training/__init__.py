"""Training as a generator of events; it knows nothing of windows."""
