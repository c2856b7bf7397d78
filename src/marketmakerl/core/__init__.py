"""Floor 1: what everything else stands on. Imports nothing of the package."""
