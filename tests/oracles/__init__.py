"""Slow, obvious re-implementations of the rules. Nothing here imports the package."""
