"""The dock that shows, installs and removes checkpoints."""
