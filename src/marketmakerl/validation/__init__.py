"""Floor 7: what decides whether a result is believed: gates, walk-forward, research budgets."""
