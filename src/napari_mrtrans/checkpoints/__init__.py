"""Trained weights with their cards: files, what is installed, downloads, the calibration beside each."""
