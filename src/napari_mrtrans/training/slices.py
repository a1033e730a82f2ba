"""What a training step sees. Item ``i`` is a pure function of (seed, i): order, workers and restarts change nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ..datasets.store import Decoded, Source
from ..datasets.turned import TurnedSession
from ..errors import MrtransError, RecipeError
from ..models.base import Batch, contrast_index
from ..scan.contrasts import Pair
from ..scan.neighbours import seen
from .augment import change_gamma, change_source, random_crop, slab_weights
from .recipe import Recipe
from .recipe_parts import Stage
from .stopping import deaf

#: How often a network that sees neighbours is trained as if there were none.
ALONE = 0.1
#: Bytes of the path of the temporary files' folder with which sockets below it still have paths that Linux takes (107).
LONGEST_TEMPORARY = 70

Item = tuple[NDArray[np.float32], NDArray[np.float32], int, int, int]


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
            if (pairs := tuple(p for p in recipe.trained_pairs if {*p} <= {*session.contrasts}))
        ]
        self.phantoms = [entry for entry in usable if source.sessions[entry[0]].simulated]
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
        allowed = slice_weights(decoded, self.recipe, pair)
        z = int(rng.choice(len(allowed), p=allowed))
        first, second = (decoded.contrasts.index(contrast) for contrast in pair)
        numbers = seen(z, len(decoded.area), decoded.spacing, self.recipe.neighbours_mm)
        if len(numbers) > 1 and rng.random() < ALONE:
            numbers = [z] * len(numbers)
        images = [np.asarray(decoded.images[second, z], np.float32), *self._source(decoded, first, numbers, rng)]
        sideways = isinstance(session := self.source.sessions[index], TurnedSession) and session.plane == "sagittal"
        cropped = random_crop(
            np.stack(images), self.stage, self.recipe.augmentation, rng, leading=2, flipped=not sideways
        )
        source = change_source(cropped[1:], pair.source, self.recipe.augmentation, rng)
        target = change_gamma(
            cropped[0],
            pair.target,
            self.recipe.augmentation.target_gamma,
            self.recipe.augmentation.target_gain,
            rng,
        )
        return source, target, contrast_index(pair.source), contrast_index(pair.target), index

    def _source(
        self, decoded: Decoded, contrast: int, numbers: Sequence[int], rng: np.random.Generator
    ) -> list[NDArray[np.float32]]:
        """Slices of the source; sometimes as thick slices would show them."""
        thickest = self.recipe.augmentation.source_slab_mm
        weights = np.ones(1)
        if thickest and rng.random() <= 0.3:
            weights = slab_weights(rng.uniform(0, thickest), decoded.spacing)
        reach, slices = len(weights) // 2, decoded.images[contrast]
        out = []
        for z in numbers:
            image = np.asarray(slices[z], dtype=np.float32)
            if reach:
                near = np.clip(np.arange(z - reach, z + reach + 1), 0, len(slices) - 1)
                slab = np.tensordot(weights.astype(np.float32), np.asarray(slices[near], dtype=np.float32), 1)
                image = np.where(image > 0, slab, np.float32(0))
            out.append(image)
        return out


def slice_weights(decoded: Decoded, recipe: Recipe, pair: Pair) -> NDArray[np.float64]:
    """Probability of each slice: proportional to the head's area, 0 where it is too small or (option) marked.

    Slices that only one contrast of the pair shows count where there are no others.
    """
    pixels = decoded.images.shape[2] * decoded.images.shape[3]
    weights = np.where(decoded.area >= recipe.data.min_area * pixels, decoded.area, 0).astype(np.float64)
    if not weights.any():
        raise RecipeError("data.min_area leaves no slice to train on; lower it.")
    unmarked = ~decoded.marked if recipe.data.exclude_masked else np.ones_like(decoded.marked)
    for preferred in (decoded.shown(pair), unmarked):
        if weights[preferred].any():
            weights[~preferred] = 0
    return weights / weights.sum()


def collate(items: list[Item]) -> Batch:
    """Stack items into a :class:`Batch` of CPU tensors."""
    source, target, first, second, session = zip(*items, strict=True)
    return Batch(
        torch.from_numpy(np.stack(source)),
        torch.from_numpy(np.stack(target))[:, None],
        torch.tensor(first, dtype=torch.int64),
        torch.tensor(second, dtype=torch.int64),
        torch.tensor(session, dtype=torch.int64),
    )


def sockets_in_short_paths() -> None:
    """Background processes hand over their work through sockets in the folder of temporary files, whose paths a system
    cuts at about a hundred characters: where that folder's is long, they would wait for one another for ever."""
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMPORARY and os.path.isdir("/tmp"):  # noqa: PTH112
        tempfile.tempdir = "/tmp"


def batches(dataset: TrainingSlices, first_step: int, workers: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Batches of a stage from step ``first_step`` on, decoded and augmented in background processes.

    Of every global batch, process ``rank`` of ``world`` takes items ``rank``, ``rank + world``, …

    Raises:
        MrtransError: a session cannot be decoded.
    """
    if workers:
        sockets_in_short_paths()
    order = range(first_step * dataset.stage.batch + rank, len(dataset), world)
    options: dict[str, Any] = {"prefetch_factor": 4} if workers else {}
    loader: DataLoader[Item] = DataLoader(
        dataset, dataset.stage.batch // world, sampler=order, num_workers=workers, collate_fn=collate,
        worker_init_fn=deaf, **options
    )  # fmt: skip
    try:
        yield from loader
    except MrtransError as error:  # that of a background process comes as a traceback; its last line is ours
        line = str(error.args[0]).rstrip().split("\n")[-1]
        raise type(error)(line.removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")) from None
