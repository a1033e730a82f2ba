"""The dock that measures lesions."""
