"""Loaded before any test module imports torch."""

import os

# Two OpenMP threads that wait by spinning bring a machine with other work on it to a crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
