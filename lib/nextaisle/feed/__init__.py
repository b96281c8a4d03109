"""Examples to batches: reading, shuffling, padding. Arrays in, tensors out."""
