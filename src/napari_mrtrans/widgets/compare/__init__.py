"""The dock that runs several models on one image."""
