"""What a run says when it is over: metrics, frames, markouts, attribution, the risk log."""
