"""Many subjects: one task for each volume on Dask, BIDS derivatives out, resumable. ``cohort.run`` is the way in."""
