"""Networks whose weights and inputs have a leading tasks axis."""
