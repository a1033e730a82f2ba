"""Lesions in a transformed image: correlation, contrast and spread inside a region."""
