"""A checkpoint adapted to one scanner, on a few complete sessions of it: trained on, judged, calibrated, installed."""
