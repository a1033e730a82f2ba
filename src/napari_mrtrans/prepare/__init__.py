"""Raw scans in: co-registration, bias field, brain extraction. Knows no models and no torch."""
