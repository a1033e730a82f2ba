"""How one slice's samples are spread, by a slow reference and by a fast sampler; without torch or files.

Each slice has three sets of n samples: R1 and R2 from the reference, F from the fast sampler. All images are in the
target's normalised units [0, 1]; standard deviations have divisor n, and every ratio compares sets of equal n.
:mod:`.spread` judges all slices together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import metrics

#: Central intervals whose coverage is compared.
INTERVALS = (0.5, 0.9)
#: Rings of the radial power spectrum, up to 0.5 cycles per voxel.
RINGS = 24
#: The head's edge is faded over this many voxels before the Fourier transform.
FADE = 8


@dataclass(frozen=True)
class SliceSpread:
    """One slice, its three sets in the order R1, R2, F.

    Attributes:
        volume: Which volume it is of.
        index: Slice number.
        std: (3, voxels) standard deviations inside the head.
        bias: (2, voxels) difference of the means of F and R2, and of R1 and R2, over the reference's std.
        coverage: (2, intervals) fraction of R1's samples inside the central intervals of F, and of R2.
        power: (3, rings) power of sample minus mean in each ring of frequency.
        ssim: (3,) 2-D structural similarity of the sets' means to the target.
    """

    volume: str
    index: int
    std: NDArray[np.float32]
    bias: NDArray[np.float32]
    coverage: NDArray[np.float64]
    power: NDArray[np.float64]
    ssim: NDArray[np.float64]


def measure(
    volume: str,
    index: int,
    sets: Sequence[NDArray[np.float32]],
    inside: NDArray[np.bool_],
    target: NDArray[np.float32],
    shared: NDArray[np.bool_],
) -> SliceSpread:
    """Statistics of one slice.

    Args:
        volume: Name of its volume.
        index: Slice number.
        sets: R1, R2 and F, each (n, H, W).
        inside: Head, (H, W); at least one voxel.
        target: The acquired slice, (H, W).
        shared: Head of both source and target, (H, W).
    """
    means = [s.mean(axis=0, dtype=np.float64) for s in sets]
    first, second, fast = (s[:, inside].astype(np.float64) for s in sets)
    std = np.stack([s.std(axis=0) for s in (first, second, fast)])
    scale = pooled(std)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.stack([(s.mean(axis=0) - second.mean(axis=0)) / scale for s in (fast, first)])
    return SliceSpread(
        volume,
        index,
        std.astype(np.float32),
        bias.astype(np.float32),
        np.array([[covered(first, s, width) for width in INTERVALS] for s in (fast, second)]),
        np.stack([power(s - mean, inside) for s, mean in zip(sets, means, strict=True)]),
        np.array([slice_ssim(mean, target, shared) for mean in means]),
    )


def pooled(std: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard deviation of the reference, from both halves: (3, voxels) to (voxels,)."""
    return np.sqrt(np.square(std[:2], dtype=np.float64).mean(axis=0))


def covered(samples: NDArray[np.float64], of: NDArray[np.float64], width: float) -> float:
    """Fraction of ``samples`` inside the central interval that holds ``width`` of the samples ``of``, voxel by voxel.

    Args:
        samples: (n, voxels).
        of: (n, voxels).
        width: In (0, 1).
    """
    low, high = np.quantile(of, [(1 - width) / 2, (1 + width) / 2], axis=0)
    return float(np.mean((samples >= low) & (samples <= high)))


def power(residuals: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Power of images in rings of spatial frequency from 0 to 0.5 cycles per voxel: (:data:`RINGS`,), low to high.

    The images fade out towards the head's edge, whose sharp step would spill low frequencies over all others.

    Args:
        residuals: (n, H, W); the mean over n is taken.
        inside: Head, (H, W); at least one voxel.
    """
    from scipy import ndimage

    box = tuple(slice(int(hit.min()), int(hit.max()) + 1) for hit in np.nonzero(inside))
    depth = ndimage.distance_transform_edt(np.pad(inside[box], 1))[1:-1, 1:-1]
    faded = residuals[(slice(None), *box)] * np.sin(np.pi / 2 * np.clip(depth / FADE, 0, 1)) ** 2
    spectrum = np.square(np.abs(np.fft.fft2(faded))).mean(axis=0)
    rows, columns = (np.fft.fftfreq(size) for size in spectrum.shape)
    ring = (np.hypot(rows[:, None], columns) * 2 * RINGS).astype(int).ravel()
    return np.asarray(np.bincount(ring, spectrum.ravel(), RINGS)[:RINGS], dtype=np.float64)


def slice_ssim(image: NDArray[np.floating], target: NDArray[np.floating], inside: NDArray[np.bool_]) -> float:
    """2-D structural similarity inside the head, at most 1; NaN where there is no head. All images are (H, W)."""
    if not inside.any():
        return float("nan")
    return metrics.ssim(np.where(inside, image, 0), np.where(inside, target, 0), inside)
