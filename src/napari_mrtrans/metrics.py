"""Similarity of volumes in [0, 1] (paper, "Image to image similarity metrics"; all with data range 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import MrtransError


def psnr(
    prediction: NDArray, target: NDArray, mask: NDArray[np.bool_] | None = None, *, data_range: float = 1.0
) -> float:
    """Peak signal-to-noise ratio 10 log10(L² / MSE) in dB, over ``mask`` or everywhere; infinite for equal images.

    Args:
        prediction: Any shape, [0, 1].
        target: Same shape.
        mask: Same shape; None = everywhere.
        data_range: L.

    Raises:
        MrtransError: shapes differ or the mask is empty.
    """
    prediction, target, inside = _checked(prediction, target, mask)
    error = float(np.mean(np.square(prediction[inside] - target[inside])))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim(
    prediction: NDArray, target: NDArray, mask: NDArray[np.bool_] | None = None, *, data_range: float = 1.0
) -> float:
    """Structural similarity (Wang et al. 2004) of 3-D volumes, Gaussian window 11³ with σ = 1.5, in [-1, 1].

    The similarity map is averaged over ``mask``, or over the whole volume (which a black background inflates).

    Raises:
        MrtransError: shapes differ, an axis is shorter than the window of 11 voxels, or the mask is empty.
    """
    prediction, target, inside = _checked(prediction, target, mask)
    return float(ssim_map(prediction, target, data_range=data_range)[inside].mean())


def ssim_map(prediction: NDArray, target: NDArray, *, data_range: float = 1.0) -> NDArray[np.float64]:
    """The local similarities that :func:`ssim` averages, shaped as its volumes.

    Raises:
        MrtransError: shapes differ or an axis is shorter than the window of 11 voxels.
    """
    from skimage.metrics import structural_similarity

    prediction, target, _ = _checked(prediction, target, None)
    if min(prediction.shape) < 11:
        raise MrtransError(f"SSIM needs at least 11 voxels along every axis; got {prediction.shape}.")
    _, similarity = structural_similarity(
        prediction,
        target,
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(similarity)


def _checked(
    prediction: NDArray, target: NDArray, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    a, b = np.asarray(prediction, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if a.shape != b.shape:
        raise MrtransError(f"Prediction {a.shape} and target {b.shape} have different shapes.")
    inside = np.ones(a.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if inside.shape != a.shape or not inside.any():
        raise MrtransError("The mask is empty or of another shape than the volumes.")
    return a, b, inside
