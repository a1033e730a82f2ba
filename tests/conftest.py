"""Loaded before any test module imports torch."""

import os

# Networks of the size of the tests gain nothing from a second thread: learning two slices by heart takes twice as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
