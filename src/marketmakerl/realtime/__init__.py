"""Floor 7: what happens while time passes: the offline venue."""
