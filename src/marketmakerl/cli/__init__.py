"""Floor 9: the command line. Parse, call, print; no logic."""
