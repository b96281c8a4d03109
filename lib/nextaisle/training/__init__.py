"""Training: the step, the epochs, and the two lineages of weights."""
