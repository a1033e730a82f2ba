"""Random changes of a training slice: geometry of source and target together, intensities each its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..scan.contrasts import Contrast
from ..scan.framing import extent
from ..scan.intensity import HEADROOM
from .recipe_parts import Augmentation, Stage

#: Training frames lie up to this many pixels beside where the engine's would, and wherever larger heads allow.
JITTER = 4


def random_crop(
    images: NDArray[np.float32],
    stage: Stage,
    options: Augmentation,
    rng: np.random.Generator,
    leading: int | None = None,
    flipped: bool = True,
) -> NDArray[np.float32]:
    """Rotate, zoom, flip and crop (image, row, column) together, linearly interpolated, averaged down last.

    The ``leading`` ones of them say where the head is; None = all. Without ``flipped`` none is flipped: what runs from
    back to front has no mirror image among heads.
    """
    size = np.asarray(stage.crop) * stage.downsample
    low, high = np.transpose(extent(images[:leading].max(axis=0)))
    slack = np.maximum(high - low - size, 0) / 2 + JITTER
    centre = (low + high - 1) / 2 + rng.uniform(-1, 1, 2) * slack
    warped = options.warp == 1 or rng.random() < options.warp
    flip = -1.0 if rng.random() < options.flip and flipped else 1.0
    if warped:
        angle = np.deg2rad(rng.uniform(-1, 1) * options.rotate_deg)
        zoom = np.exp(rng.normal(0, options.scale, 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag([1 / zoom[0], flip / zoom[1]])
        offset = centre - matrix @ ((size - 1) / 2)
        shape = (int(size[0]), int(size[1]))
        out = np.stack(
            [ndimage.affine_transform(image, matrix, offset, shape, order=1, mode="constant") for image in images]
        )
    else:  # whole pixels: a sharp copy
        out = _window(images, np.round(centre - (size - 1) / 2).astype(int), size)[..., :: int(flip)]
    d = stage.downsample
    return out.reshape(len(out), stage.crop[0], d, stage.crop[1], d).mean(axis=(2, 4)) if d > 1 else out


def _window(images: NDArray[np.float32], start: NDArray[np.int_], size: NDArray[np.int_]) -> NDArray[np.float32]:
    """(channel, row, column) from ``start`` on, black where there is no image."""
    out = np.zeros((len(images), *size), dtype=images.dtype)
    low, high = np.maximum(start, 0), np.minimum(start + size, images.shape[1:])
    if (high > low).all():
        there, here = (tuple(slice(a, b) for a, b in zip(low - o, high - o, strict=True)) for o in (start, 0 * start))
        out[(slice(None), *there)] = images[(slice(None), *here)]
    return out


def change_gamma(
    image: NDArray[np.float32], contrast: Contrast, gamma: float, gain: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random gamma about the brain's median (which stays where normalisation put it), random gain, clipped."""
    middle = np.float32(1.0 / HEADROOM[contrast])
    power, factor = (np.float32(np.exp(rng.normal(0, size))) for size in (gamma, gain))
    return np.clip(factor * middle * (image / middle) ** power, 0, 1).astype(np.float32)


def change_curve(
    image: NDArray[np.float32], contrast: Contrast, size: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A smooth random curve of the intensity, not always rising, that leaves the brain's median where it is.

    f(x) = x + size Σ a_k sin(π k x) / k,  k = 1 … 4,  a_k ~ N(0, 1),  times m / f(m)
    """
    weights = size * rng.normal(0, 1, 4) / np.arange(1, 5)
    grid = np.linspace(0, 1, 257)
    curve = grid + sum(weight * np.sin(np.pi * k * grid) for k, weight in enumerate(weights, 1))
    middle = 1.0 / HEADROOM[contrast]
    scale = middle / max(float(np.interp(middle, grid, curve)), middle / 8)
    return np.interp(image, grid, np.clip(scale * curve, 0, 1)).astype(np.float32)


def slab_weights(thickness: float, spacing: float) -> NDArray[np.float64]:
    """What slices ``spacing`` mm apart contribute to one ``thickness`` mm thick: an odd number of weights, sum 1."""
    reach = int(np.ceil(max(thickness / spacing - 1, 0) / 2))
    edges = np.abs(np.arange(-reach, reach + 1)) * spacing
    covered = np.clip(thickness / 2 - edges + spacing / 2, 0, spacing)
    return covered / covered.sum()


def change_source(
    image: NDArray[np.float32], contrast: Contrast, options: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Another scanner's look: blur, bias field, gamma, gain and noise, inside the head only; (plane, row, column)."""
    head = image > 0
    if rng.random() < 0.3:
        widths = rng.uniform(0, options.source_blur, 2) * (rng.random(2) < 0.7)
        image = ndimage.gaussian_filter(image, (0, *widths))
    if options.source_curve and rng.random() < 0.3:
        image = change_curve(image, contrast, options.source_curve, rng)
    if rng.random() < 0.5:
        image = image * np.exp(options.source_bias * smooth_field(image.shape[1:], rng)).astype(np.float32)
    image = change_gamma(image, contrast, options.source_gamma, options.source_gain, rng)
    if rng.random() < 0.3:
        image = np.abs(image + rng.normal(0, rng.uniform(0, options.source_noise), image.shape))
    return np.where(head, np.clip(image, 0, 1), 0).astype(np.float32)


def smooth_field(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """A random low-order cosine field of unit standard deviation, shape (row, column)."""
    row, column = (np.linspace(0, np.pi, n) for n in shape)
    field = sum(
        rng.normal() * np.outer(np.cos(i * row), np.cos(j * column))
        for i in range(3)
        for j in range(3)
        if 0 < i + j < 4
    )
    return np.asarray(field - np.mean(field)) / (np.std(field) + 1e-9)
