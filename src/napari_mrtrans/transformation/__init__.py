"""A request, its volume and a checkpoint become slices, and slices an ensemble."""
