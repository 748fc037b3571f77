"""Searching for architectures: what ranks candidates, and how a search goes on."""
