"""Floor 5: the engine: one step, driven over a tape, and the metrics of what came out."""
