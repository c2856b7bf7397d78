"""Floor 5: the model world, its fused kernel, and the exact evaluator and optimum that say what can be had in it."""
