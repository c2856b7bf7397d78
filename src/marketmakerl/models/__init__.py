"""Floor 3: quoting models, one file a model, and what sets their parameters."""
