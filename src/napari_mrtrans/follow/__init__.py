"""Transformation of whatever slice is looked at."""
