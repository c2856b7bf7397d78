"""Floor 6: tables, pictures and reports, made from artifacts."""
