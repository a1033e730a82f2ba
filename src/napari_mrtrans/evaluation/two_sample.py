"""A two-sample test: can a small network, trained on training people, tell samples from targets on others?

Its area under the ROC curve on held-out people (Lopez-Paz & Oquab 2017) is 0.5 where samples look as targets do for the
same source, and 1 where each can be told. It sees patches of source and image side by side, so that an answer that
would fit another source is told, too. It is blind to what is larger than a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.pool import whole_round
from ..datasets.bids import Session
from ..errors import VolumeError
from ..metrics.detection import auc
from ..scan.contrasts import Pair
from ..scan.prepared import PreparedVolume
from ..transformation.job import evenly_spread
from ..transformation.whole_volume import transform
from .ensemble_figures import one_of_each
from .held_out import NotMeasured, PairedVolumes
from .measure import Sampling

if TYPE_CHECKING:
    from torch import nn

#: Side of a patch in pixels, and how much of it must be head.
SIDE, FILLED = 32, 0.75
#: Training people and slices of each that are sampled, patches drawn from each slice.
PEOPLE, SLICES, PATCHES = 8, 6, 24
STEPS, BATCH = 300, 64


@dataclass(frozen=True)
class Patches:
    """(n, 2, SIDE, SIDE) patches of source and image, float32 in [0, 1], and which of them are answers."""

    images: NDArray[np.float32]
    answers: NDArray[np.bool_]


def patches(
    images: tuple[NDArray, NDArray, NDArray, NDArray], axis: int, rng: np.random.Generator, slices: Sequence[int]
) -> Patches:
    """Patches at random places of some slices, each once with the answer and once with the target.

    Args:
        images: Source, answer, target, and the head of all; 3-D.
        axis: Across the slices.
        rng: Of the places.
        slices: Indices along ``axis``.
    """
    source, answer, target, head = (np.moveaxis(image, axis, 0) for image in images)
    drawn, labels = [], []
    for index in slices:
        inside = head[index]
        if min(inside.shape) < SIDE:
            continue
        filled = np.lib.stride_tricks.sliding_window_view(inside, (SIDE, SIDE)).mean(axis=(2, 3)) >= FILLED
        places = np.argwhere(filled)
        for row, column in places[rng.permutation(len(places))[:PATCHES]]:
            where = (index, slice(row, row + SIDE), slice(column, column + SIDE))
            mask = inside[where[1:]]
            for image, label in ((answer, True), (target, False)):
                drawn.append(np.stack([source[where] * mask, image[where] * mask]))
                labels.append(label)
    shape = (len(drawn), 2, SIDE, SIDE)
    return Patches(np.asarray(drawn, dtype=np.float32).reshape(shape), np.asarray(labels, dtype=bool))


class Classifier:
    """A convolutional network of 24,000 weights that gives the log odds of a patch being an answer.

    Args:
        training: Of both classes.
        seed: Of weights and batches.

    Raises:
        NotMeasured: there are no patches, or of one class only.
    """

    def __init__(self, training: Patches, seed: int = 0) -> None:
        if training.answers.all() or not training.answers.any():
            raise NotMeasured(
                "The two-sample test needs samples and targets of training people; one of them is missing."
            )
        import torch
        from torch import nn
        from torch.nn.functional import binary_cross_entropy_with_logits

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = (2, 16, 32, 64)
            layers: list[nn.Module] = []
            for low, high in pairwise(widths):
                layers += [nn.Conv2d(low, high, 3, stride=2, padding=1), nn.GroupNorm(4, high), nn.SiLU()]
            self.network: nn.Module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
        rng = np.random.default_rng(seed)
        x, y = torch.from_numpy(training.images), torch.from_numpy(training.answers).float()
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            chosen = torch.from_numpy(rng.integers(len(y), size=min(BATCH, len(y))))
            loss = binary_cross_entropy_with_logits(self.network(x[chosen])[:, 0], y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def auc(self, held_out: Patches) -> float | None:
        """Of patches of people it has not seen; None where there are none."""
        import torch

        if not len(held_out.answers):
            return None
        with torch.inference_mode():
            scores = self.network(torch.from_numpy(held_out.images))[:, 0].numpy()
        return auc(held_out.answers, scores)


class TwoSampleTest:
    """The test of one checkpoint and pair; the classifier is trained when it is first asked.

    Args:
        sessions: Training people of the checkpoint with both contrasts, the first :data:`PEOPLE` of which that can be
            read are sampled.
        pair: Which pair.
        checkpoint: Whose answers; of one that samples, single samples.
        sampling: How they are made.
    """

    def __init__(self, sessions: Sequence[Session], pair: Pair, checkpoint: Checkpoint, sampling: Sampling) -> None:
        self.sessions = sessions
        self.pair, self.checkpoint, self.sampling = pair, checkpoint, sampling
        self._classifier: Classifier | None = None

    def __call__(self, source: NDArray, answer: NDArray, target: NDArray, head: NDArray, axis: int) -> float | None:
        """AUC on one held-out person; None where no slice is wide enough for a patch.

        Raises:
            NotMeasured: no training person can be sampled.
        """
        if self._classifier is None:
            self._classifier = Classifier(self._training(), self.sampling.seed)
        rng = np.random.default_rng(self.sampling.seed)
        chosen = np.linspace(0, head.shape[axis] - 1, min(3 * SLICES, head.shape[axis])).round().astype(int)
        return self._classifier.auc(patches((source, answer, target, head), axis, rng, chosen.tolist()))

    def _training(self) -> Patches:
        found: list[Patches] = []
        rng = np.random.default_rng([self.sampling.seed, 1])
        asked, count = self.sampling, whole_round(self.checkpoint)
        for session in self.sessions:
            if len(found) == PEOPLE:
                break
            try:
                opened = PairedVolumes.open(session, self.pair)
            except (VolumeError, NotMeasured):
                continue
            turn = (prepared := PreparedVolume.of(opened.volume)).orientation
            slices = evenly_spread(prepared, SLICES)
            ensemble = transform(
                opened.volume, self.checkpoint, target=self.pair.target, source=self.pair.source, n=count,
                steps=asked.steps, seed=asked.seed + 1, device=asked.device, slices=slices, prepare=False,
                keep_samples=count > 1,
            )  # fmt: skip
            answer, samples = ensemble.mean, ensemble.samples
            if count > 1 and samples is not None:
                answer = one_of_each(samples, opened.volume.axial_axis, True)
            source, made, target, head = map(turn.to_canonical, (opened.source, answer, opened.target, opened.both))
            canonical = [turn.slice_index(index, opened.volume.n_slices) for index in slices]
            found.append(patches((source, made, target, head), 0, rng, canonical))
        if not found:
            return Patches(np.zeros((0, 2, SIDE, SIDE), np.float32), np.zeros(0, bool))
        return Patches(np.concatenate([p.images for p in found]), np.concatenate([p.answers for p in found]))
