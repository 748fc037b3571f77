"""Methods without an inner loop, one file each: they learn by predicting query sets."""
