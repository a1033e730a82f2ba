"""From a file to canonical axial slices in [0, 1], and back."""
