"""Floor 2: market data in: tapes, catalog, importers, quality, the synthetic market."""
