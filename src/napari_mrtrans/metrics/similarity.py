"""Similarity of volumes in [0, 1] (paper, "Image to image similarity metrics"; all with data range 1).

What lies outside a mask may be NaN or infinite in one of them, as where nothing was computed: it is 0 in both then. So
is what is masked of a masked array, which is outside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.masked import is_masked, unmarked, unmasked

#: The width of SSIM's window, in voxels.
WINDOW = 11


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

    Of 2-D images likewise, with a window of 11². The similarity map is averaged over ``mask``, or over the whole volume
    (which a black background inflates).

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
    if min(prediction.shape) < WINDOW:
        raise MrtransError(f"SSIM needs at least {WINDOW} voxels along every axis; got {prediction.shape}.")
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


def bssim(prediction: NDArray, target: NDArray, mask: NDArray[np.bool_] | None = None, *, axis: int = 2) -> float:
    """Boundary SSIM: :func:`ssim` of the in-plane edges, the Sobel gradient magnitudes of each 2-D slice, in [-1, 1].

    Both edge volumes are divided by the target's largest edge, as the paper gives no range for them.

    Args:
        prediction: 3-D, [0, 1].
        target: Same shape.
        mask: Same shape; where the similarity map is averaged; None = everywhere.
        axis: Array axis that runs across the slices; the third, as in files without orientation.

    Raises:
        MrtransError: as :func:`ssim`, or the volumes are not 3-D, or the target has no edges.
    """
    from skimage.filters import sobel

    *volumes, inside = slices_along(axis, prediction, target, mask)
    edges, true_edges = (np.stack([sobel(image) for image in volume]) for volume in volumes)
    largest = true_edges.max()
    if largest < 1e-9:  # rounding
        raise MrtransError("The target has no edges: all its slices are constant; BSSIM is undefined.")
    return ssim(edges / largest, true_edges / largest, inside)


def scssim(prediction: NDArray, target: NDArray, *, axis: int = 2) -> float:
    """Slice-consistency SSIM: 1 - mean |SSIM(P_i, P_i+1) - SSIM(T_i, T_i+1)| (paper, Eq. 12), in [-1, 1].

    SSIM is that of 2-D slices (:func:`ssim`), i runs over neighbouring slices. Slices that are zero in both volumes are
    left out: a pair counts where neither of its slices is.

    Args:
        prediction: 3-D, [0, 1].
        target: Same shape.
        axis: Array axis that runs across the slices; the third, as in files without orientation.

    Raises:
        MrtransError: as :func:`ssim`, or the volumes are not 3-D, or no neighbouring slices are left.
    """
    steps = [abs(ssim(*p) - ssim(*t)) for p, t in _neighbours(axis, prediction, target)]
    return 1 - float(np.mean(steps))


def scssim_difference(prediction: NDArray, target: NDArray, *, axis: int = 2) -> float:
    """The other reading of Eq. 12: mean SSIM(P_i+1 - P_i, T_i+1 - T_i), the data range still 1; as :func:`scssim`.

    Unlike that, it notices slices whose brightness jumps.
    """
    steps = [ssim(p[1] - p[0], t[1] - t[0]) for p, t in _neighbours(axis, prediction, target)]
    return float(np.mean(steps))


def slices_along(
    axis: int, prediction: NDArray, target: NDArray, mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Prediction, target and mask (None = everywhere) with the axis across their slices in front.

    Raises:
        MrtransError: shapes differ or are not 3-D, there is no such axis, or the mask is empty.
    """
    prediction, target, inside = _checked(prediction, target, mask)
    if target.ndim != 3 or axis not in range(-3, 3):
        raise MrtransError(f"Slices lie along axis 0, 1 or 2 of a 3-D volume; got axis {axis} of shape {target.shape}.")
    return np.moveaxis(prediction, axis, 0), np.moveaxis(target, axis, 0), np.moveaxis(inside, axis, 0)


def _neighbours(axis: int, prediction: NDArray, target: NDArray) -> list[tuple[NDArray, NDArray]]:
    """Pairs of neighbouring slices of prediction and target, (2, H, W) each, that are not empty in both."""
    p, t, _ = slices_along(axis, prediction, target)
    filled = ((p != 0) | (t != 0)).any(axis=(1, 2))
    pairs = [(p[i : i + 2], t[i : i + 2]) for i in np.flatnonzero(filled[:-1] & filled[1:])]
    if not pairs:
        raise MrtransError("SCSSIM needs at least two neighbouring slices that are not empty.")
    return pairs


def _checked(
    prediction: NDArray, target: NDArray, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    a, b = (np.asarray(unmasked(image), dtype=np.float64) for image in (prediction, target))
    if a.shape != b.shape:
        raise MrtransError(f"Prediction {a.shape} and target {b.shape} have different shapes.")
    inside = np.ones(a.shape, dtype=bool) if mask is None else unmarked(mask).astype(bool)
    if inside.shape == a.shape:
        inside = inside & ~is_masked(prediction) & ~is_masked(target)
    if inside.shape != a.shape or not inside.any():
        raise MrtransError("The mask is empty or of another shape than the volumes.")
    if (unknown := ~inside & ~(np.isfinite(a) & np.isfinite(b))).any():
        a, b = (np.where(unknown, 0, image) for image in (a, b))
    return a, b, inside
