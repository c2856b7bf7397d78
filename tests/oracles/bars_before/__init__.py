"""The bar engine that the one step replaced, kept for one release: what it did is what bars must go on doing."""
