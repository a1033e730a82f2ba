"""What a training step sees. Item ``i`` is a pure function of (seed, i): order, workers and restarts change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset

from ...contrasts import Contrast, Pair
from ...errors import MrtransError, RecipeError
from ...intensity import HEADROOM
from ...models.base import Batch, contrast_index
from ..recipe import Augmentation, Recipe, Stage
from .phantom import Phantom
from .store import Decoded, Readable, decode

Item = tuple[NDArray[np.float32], NDArray[np.float32], int, int, int]


@dataclass(frozen=True)
class Source:
    """Sessions and how they are read; small enough to send to a worker process, which decodes on first use."""

    sessions: tuple[Readable, ...]
    spacing: float
    cache: Path

    def __getitem__(self, index: int) -> Decoded:
        return _open(self.sessions[index], self.spacing, self.cache)

    def scans(self) -> Source:
        """The same without phantoms."""
        return replace(self, sessions=tuple(s for s in self.sessions if not isinstance(s, Phantom)))


_open = lru_cache(maxsize=4096)(decode)


class TrainingSlices(Dataset[Item]):
    """Random augmented slice pairs of a stage; its length is that of the stage."""

    def __init__(self, source: Source, recipe: Recipe, stage: Stage, offset: int) -> None:
        self.source = source
        self.recipe = recipe
        self.stage = stage
        self.offset = offset
        usable = [
            (index, pairs)
            for index, session in enumerate(source.sessions)
            if (pairs := tuple(p for p in recipe.pairs if {*p} <= {*session.contrasts}))
        ]
        self.phantoms = [entry for entry in usable if isinstance(source.sessions[entry[0]], Phantom)]
        self.scanned = [entry for entry in usable if entry not in self.phantoms]

    def __len__(self) -> int:
        return self.stage.steps * self.stage.batch

    def __getitem__(self, i: int) -> Item:
        rng = np.random.default_rng([self.recipe.seed, self.offset + i])
        usable = self.scanned or self.phantoms
        options = self.recipe.data.phantom
        if options and self.scanned and self.phantoms and rng.random() < options.share:
            usable = self.phantoms
        index, pairs = usable[int(rng.integers(len(usable)))]
        pair = pairs[int(rng.integers(len(pairs)))]
        decoded = self.source[index]
        allowed = slice_weights(decoded, self.recipe)
        z = int(rng.choice(len(allowed), p=allowed))
        order = [decoded.contrasts.index(pair.source), decoded.contrasts.index(pair.target)]
        images = np.asarray(decoded.images[order, z], dtype=np.float32)
        cropped = random_crop(images, self.stage, self.recipe.augmentation, rng)
        source = change_source(cropped[0], pair.source, self.recipe.augmentation, rng)
        target = change_gamma(
            cropped[1],
            pair.target,
            self.recipe.augmentation.target_gamma,
            self.recipe.augmentation.target_gain,
            rng,
        )
        return source, target, contrast_index(pair.source), contrast_index(pair.target), index


def slice_weights(decoded: Decoded, recipe: Recipe) -> NDArray[np.float64]:
    """Probability of each slice: proportional to the head's area, 0 where it is too small or (option) marked."""
    pixels = decoded.images.shape[2] * decoded.images.shape[3]
    weights = np.where(decoded.area >= recipe.data.min_area * pixels, decoded.area, 0).astype(np.float64)
    if recipe.data.exclude_masked and weights[~decoded.marked].sum() > 0:
        weights[decoded.marked] = 0
    if not weights.any():
        raise RecipeError("data.min_area leaves no slice to train on; lower it.")
    return weights / weights.sum()


def random_crop(
    images: NDArray[np.float32], stage: Stage, options: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Rotate, zoom, flip and crop (channel, row, column) images together, linearly interpolated, averaged down last."""
    size = np.asarray(stage.crop) * stage.downsample
    inside = np.argwhere(images.max(axis=0) > 0)
    low, high = (
        (inside.min(axis=0), inside.max(axis=0)) if len(inside) else (np.zeros(2), np.asarray(images.shape[1:]) - 1)
    )
    slack = np.maximum(high - low + 1 - size, 0) / 2 + 4
    centre = (low + high) / 2 + rng.uniform(-1, 1, 2) * slack
    warped = options.warp == 1 or rng.random() < options.warp
    angle = np.deg2rad(rng.uniform(-1, 1) * options.rotate_deg) * warped
    zoom = np.exp(rng.normal(0, options.scale, 2) * warped)
    flip = -1.0 if rng.random() < options.flip else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([1 / zoom[0], flip / zoom[1]])
    offset = centre - matrix @ ((size - 1) / 2)
    if not warped:  # whole pixels: a sharp copy
        offset = np.round(offset)
    out = np.stack(
        [ndimage.affine_transform(image, matrix, offset, tuple(size), order=1, mode="constant") for image in images]
    )
    d = stage.downsample
    return out.reshape(len(out), stage.crop[0], d, stage.crop[1], d).mean(axis=(2, 4)) if d > 1 else out


def change_gamma(
    image: NDArray[np.float32], contrast: Contrast, gamma: float, gain: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random gamma about the brain's median (which stays where normalisation put it), random gain, clipped."""
    middle = 1.0 / HEADROOM[contrast]
    power, factor = np.exp(rng.normal(0, gamma)), np.exp(rng.normal(0, gain))
    return np.clip(factor * middle * (image / middle) ** power, 0, 1).astype(np.float32)


def change_source(
    image: NDArray[np.float32], contrast: Contrast, options: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Another scanner's look: blur, bias field, gamma, gain and noise, inside the head only."""
    head = image > 0
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0, options.source_blur, 2) * (rng.random(2) < 0.7))
    if rng.random() < 0.5:
        image = image * np.exp(options.source_bias * smooth_field(image.shape, rng))
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


def collate(items: list[Item]) -> Batch:
    """Stack items into a :class:`Batch` of CPU tensors."""
    source, target, first, second, session = zip(*items, strict=True)
    return Batch(
        torch.from_numpy(np.stack(source))[:, None],
        torch.from_numpy(np.stack(target))[:, None],
        torch.tensor(first, dtype=torch.int64),
        torch.tensor(second, dtype=torch.int64),
        torch.tensor(session, dtype=torch.int64),
    )


def batches(dataset: TrainingSlices, first_step: int, workers: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Batches of a stage from step ``first_step`` on, decoded and augmented in background processes.

    Of every global batch, process ``rank`` of ``world`` takes items ``rank``, ``rank + world``, …

    Raises:
        MrtransError: a session cannot be decoded.
    """
    order = range(first_step * dataset.stage.batch + rank, len(dataset), world)
    options: dict[str, Any] = {"prefetch_factor": 4} if workers else {}
    loader: DataLoader[Item] = DataLoader(
        dataset, dataset.stage.batch // world, sampler=order, num_workers=workers, collate_fn=collate, **options
    )
    try:
        yield from loader
    except MrtransError as error:  # that of a background process comes as a traceback; its last line is ours
        line = str(error).rstrip().splitlines()[-1]
        raise type(error)(line.removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")) from None


def fixed_slices(source: Source, pairs: tuple[Pair, ...], count: int, multiple: int) -> list[tuple[Pair, Item]]:
    """``count`` evenly spread, unaugmented slice pairs, padded to the network's multiple, for validation."""
    out: list[tuple[Pair, Item]] = []
    if not source.sessions:
        return out
    for i in range(count):
        index = i % len(source.sessions)
        usable = [p for p in pairs if {*p} <= {*source.sessions[index].contrasts}]
        if not usable:
            continue
        pair = usable[i % len(usable)]
        decoded = source[index]
        thick = np.flatnonzero(decoded.area > 0.4 * decoded.area.max())
        z = int(thick[round((i + 0.5) / count * (len(thick) - 1))])
        first, second = (
            _pad(np.asarray(decoded.images[decoded.contrasts.index(c), z], dtype=np.float32), multiple) for c in pair
        )
        out.append((pair, (first, second, contrast_index(pair.source), contrast_index(pair.target), index)))
    return out


def _pad(image: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    return np.pad(image, [(0, -n % multiple) for n in image.shape])
