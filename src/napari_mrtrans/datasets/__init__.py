"""Sessions of scans to train, evaluate and prepare: readers of known layouts, phantoms, splits, decoded slices."""
