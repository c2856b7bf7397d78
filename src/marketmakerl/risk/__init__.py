"""Floor 4: limits, overlays, order checks and breakers: the same compiled code wherever quotes are made."""
