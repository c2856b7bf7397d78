"""The maker's side of a run: what we see, what we quote, our orders, our limits."""
