"""Floor 8: what runs many runs: the campaign, the doctor."""
