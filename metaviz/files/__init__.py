"""Files on disk: those of strangers, read with limits."""
