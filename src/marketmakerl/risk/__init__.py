"""Floor 4: limits, overlays and breakers: the same compiled code wherever quotes are made."""
