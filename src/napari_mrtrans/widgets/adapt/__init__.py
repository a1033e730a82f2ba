"""The dock that adapts a model to the user's own scanner."""
