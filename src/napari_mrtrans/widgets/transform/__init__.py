"""The dock that transforms an image."""
