"""Task families: endless, seeded, addressed by split and index."""
