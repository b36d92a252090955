"""Training one network: the loop, the optimiser's step, its checkpoints."""
