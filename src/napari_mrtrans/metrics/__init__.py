"""How alike a prediction and its target are: volumes in [0, 1], data range 1."""

from .perceptual import NoSlices, lpips
from .similarity import bssim, psnr, scssim, scssim_difference, ssim, ssim_map

__all__ = ["NoSlices", "bssim", "lpips", "psnr", "scssim", "scssim_difference", "ssim", "ssim_map"]
