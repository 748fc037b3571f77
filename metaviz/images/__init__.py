"""Images on disk: recognised, checked, decoded once and kept."""
