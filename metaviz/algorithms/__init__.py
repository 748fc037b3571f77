"""The methods that can be compared: one file each, which registers it everywhere."""
