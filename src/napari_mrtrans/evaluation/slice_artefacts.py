"""Artefacts put into single slices, cheaply and without end, for a network to learn.

Written apart from those of :mod:`.ood_inputs` (TorchIO, whole volumes), on which that network is tested: what holds
for both kinds of making is not a habit of one of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: (slices, rows, columns) of neighbouring slices, spacing in mm, and what is drawn with: the slices changed.
Change = Callable[[NDArray[np.float32], float, np.random.Generator], NDArray[np.float32]]


def _motion(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Stretches of k-space lines acquired with the head turned, shifted, and out of its slice."""
    axis = int(rng.integers(1, 3))
    poses = int(rng.integers(2, 7))
    borders = np.sort(rng.uniform(0, 1, poses - 1))
    lines = slab.shape[axis]
    which = np.searchsorted(borders, np.arange(lines) / lines)
    which = np.roll(which, int(rng.integers(lines)))
    strength = rng.uniform(0.5, 1)
    moved = [slab]
    for _ in range(poses - 1):
        angle, shift = strength * rng.uniform(-12, 12), strength * rng.uniform(-12, 12, 2)
        through = np.roll(slab, int(rng.integers(-1, 2)), axis=0)
        turn = np.deg2rad(angle)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        centre = (np.array(slab.shape[1:]) - 1) / 2
        offset = centre - matrix @ centre + shift
        moved.append(np.stack([ndimage.affine_transform(image, matrix, offset, order=1) for image in through]))
    along = [1, 1, 1]
    along[axis] = lines
    spectrum = sum(
        np.fft.fft(pose, axis=axis) * np.fft.ifftshift((which == number).reshape(along), axes=axis)
        for number, pose in enumerate(moved)
    )
    return np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32)


def _ghosting(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Every so many lines of k-space are weaker or turned round, but for the middle."""
    axis, period = int(rng.integers(1, 3)), int(rng.integers(2, 11))
    lines = slab.shape[axis]
    factor = np.ones(lines, dtype=np.complex64)
    factor[int(rng.integers(period)) :: period] = 1 - rng.uniform(0.6, 2.0) * np.exp(1j * rng.normal(0, 0.5))
    frequency = np.abs(np.fft.fftfreq(lines))
    factor[frequency < rng.uniform(0.005, 0.03)] = 1
    along = [1, 1, 1]
    along[axis] = lines
    spectrum = np.fft.fft(slab, axis=axis) * factor.reshape(along)
    return np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32)


def _spike(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """One or two plane waves over everything."""
    _, rows, columns = np.meshgrid(*(np.arange(size) for size in slab.shape), indexing="ij")
    out = slab.astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.03, 0.5)
        wave = np.cos(2 * np.pi * frequency * (rows * np.cos(angle) + columns * np.sin(angle)) + rng.uniform(0, 6.28))
        out = out + rng.uniform(0.08, 0.5) * slab[slab > 0].mean() * wave
    return np.abs(out).astype(np.float32)


def _bias(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A strong field of reception, a polynomial of third order."""
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, size) for size in slab.shape[1:]), indexing="ij")
    strength = rng.uniform(0.3, 0.7)
    terms = [rows**i * columns**j for i in range(4) for j in range(4) if 0 < i + j < 4]
    field = sum(rng.uniform(-strength, strength) * term for term in terms)
    angle = rng.uniform(0, 2 * np.pi)
    field = field + rng.uniform(0.2, 0.8) * (rows * np.cos(angle) + columns * np.sin(angle))
    return (slab * np.exp(field)).astype(np.float32)


def _noise(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rician noise of 10 to 30 % of the median."""
    sigma = np.float32(rng.uniform(0.1, 0.3) * np.median(slab[slab > 0]))
    real, imaginary = sigma * rng.standard_normal((2, *slab.shape), dtype=np.float32)
    return np.hypot(slab + real, imaginary)


def _rotation(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Turned by 30 to 65 degrees, either way."""
    angle = rng.uniform(30, 65) * rng.choice([-1, 1])
    return np.stack([ndimage.rotate(image, angle, reshape=False, order=1) for image in slab]).astype(np.float32)


def _cropped(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A third to half of the head is missing on one side."""
    axis = int(rng.choice([1, 2], p=[0.2, 0.8]))
    along = np.moveaxis(slab, axis, 1).copy()
    filled = np.flatnonzero((along > 0).any(axis=(0, 2)))
    edge = int(rng.uniform(0.3, 0.52) * len(filled))
    if rng.random() < 0.5:
        along[:, : filled[0] + edge] = 0
    else:
        along[:, filled[-1] + 1 - edge :] = 0
    return np.moveaxis(along, 1, axis)


def _thick(slab: NDArray[np.float32], spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Slices of 8 to 14 mm, and of at least two of the given ones, brought to this grid."""
    thickness = max(rng.uniform(8, 14) / spacing, 2)
    sigma = thickness / 3.46  # the standard deviation of a box of that width
    return ndimage.gaussian_filter1d(slab, sigma, axis=0, mode="nearest")


#: What the network learns to tell, by name; the first is none of them.
NONE = "none"
CHANGES: dict[str, Change] = {
    "motion": _motion,
    "ghosting": _ghosting,
    "spike": _spike,
    "bias field": _bias,
    "noise": _noise,
    "rotation": _rotation,
    "cropped": _cropped,
    "thick slices": _thick,
}
#: Those after which brain extraction finds the head where it is; what lies outside becomes 0 again.
_OUTLINE = frozenset(CHANGES) - {"rotation", "cropped", "thick slices"}


def change(slab: NDArray[np.float32], kind: str, spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Neighbouring slices with an artefact, (slices, rows, columns), non-negative, 0 outside the head.

    Args:
        slab: Their intensities, 0 outside the head.
        kind: One of :data:`CHANGES`, or :data:`NONE`.
        spacing: Of the slices, in mm.
        rng: What it is drawn with.
    """
    if kind == NONE or not (slab > 0).any():
        return slab
    made = np.maximum(CHANGES[kind](slab, spacing, rng), 0)
    return np.where(slab > 0, made, 0).astype(np.float32) if kind in _OUTLINE else made
