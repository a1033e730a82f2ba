"""What trained models are worth: figures on held-out people, samplers, calibration, out-of-distribution studies."""
