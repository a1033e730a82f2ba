"""How unlike the training scans an input is, and whether its contrast is what it is said to be."""
