"""Training data: readers of data folders, and the slices that a training step sees."""
