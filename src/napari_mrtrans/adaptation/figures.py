"""How well a network does on slices that it was not trained on, before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import metrics
from ..checkpoints.card import SamplerDefaults
from ..checkpoints.correction import Z90, SpreadCorrection, Voxels
from ..metrics.coverage import coverage, pit
from ..models import Model
from ..scan.contrasts import Pair
from ..training.validation import FixedSlice, draw
from .held_error import autocast, head_of
from .own_voxels import OwnVoxels

#: Samples of a slice, at most: twice as many cost twice the time and give a tenth of a dB to all models alike.
SAMPLES = 10
#: Voxels kept of each slice, to fit the spread to.
VOXELS = 400


@dataclass(frozen=True)
class Judged:
    """One held-out slice, answered, on the scan's own voxels.

    Attributes:
        pair: ``T1->T2``.
        person: Number, from 1.
        voxels: In the head of source and target.
        square: Mean squared error there.
        ssim: In plane, there.
        mean_std: Standard deviation of the samples there; None for models with one answer.
        covered: Share of voxels within the samples' central 90 % interval; None likewise, and of a single independent
            sample, whose rank is uniform whatever the model.
        kept: :class:`~napari_mrtrans.checkpoints.correction.Voxels`, some of them; empty for models with one answer.
    """

    pair: str
    person: int
    voxels: int
    square: float
    ssim: float
    mean_std: float | None
    covered: float | None
    kept: dict[str, list[float]]

    @property
    def answered(self) -> Voxels:
        """What was kept."""
        return Voxels.read(self.kept)


@dataclass(frozen=True)
class Answer:
    """What a picture is made of; (row, column) in [0, 1]."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32] | None


@dataclass(frozen=True)
class Judge:
    """Asks networks about slices.

    Attributes:
        device: Where they are.
        sampler: How they are sampled.
        seed: Of the voxels that are kept.
    """

    device: torch.device
    sampler: SamplerDefaults
    seed: int = 0

    def samples(self, model: Model) -> int:
        """How many are drawn."""
        return 1 if model.deterministic else min(SAMPLES, self.sampler.n)

    @torch.no_grad()
    def answer(self, model: Model, one: FixedSlice) -> NDArray[np.float32]:
        """(sample, row, column)."""
        model.eval()
        with autocast(self.device):
            drawn = draw(model, one, range(self.samples(model)), self.device, self.sampler)[:, 0]
        return np.asarray(drawn.float().cpu())

    def judge(self, model: Model, one: FixedSlice, own: OwnVoxels, person: int) -> tuple[Judged, Answer]:
        """All figures of one slice, on ``own`` voxels; and the answer on the model's pixels."""
        answer = self.answer(model, one)
        samples = own.delivered(answer, one)
        mean, std = samples.mean(axis=0), samples.std(axis=0)
        heads = head_of(own.source), head_of(own.source) & head_of(own.target)
        inside = heads[1]
        rng = np.random.default_rng([self.seed, person])
        single = len(samples) == 1
        apart = samples[::2]  # of pairs of opposite noise one each
        ranks = pit(apart[:, inside], own.target[inside], rng) if len(apart) > 1 else None
        voxels = Voxels.of_slice(std, mean, own.source, own.target, heads, own.spacing)
        judged = Judged(
            pair=one.pair.key,
            person=person,
            voxels=int(inside.sum()),
            square=float(np.square(voxels.error, dtype=np.float64).mean()),
            ssim=metrics.ssim(np.where(inside, mean, 0), np.where(inside, own.target, 0), inside),
            mean_std=None if single else float(std[inside].mean(dtype=np.float64)),
            covered=None if ranks is None else coverage(ranks, [0.9])[0],
            kept={} if single else voxels.lists(rng, VOXELS),
        )
        return judged, Answer(answer.mean(axis=0), None if single else answer.std(axis=0))


def digest(model: Model) -> str:
    """Of a network's weights."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class Line:
    """One pair of the table, before and after.

    Figures are means over people; those of people left out, where there were any.
    """

    pair: str
    people: int
    slices: int
    psnr: tuple[float, float]
    ssim: tuple[float, float]
    std_over_rmse: tuple[float, float] | None
    covered: tuple[float, float] | None
    corrected: tuple[float, float] | None = None

    @property
    def gain(self) -> float:
        """Of PSNR, in dB."""
        return self.psnr[1] - self.psnr[0]


def lines(before: Sequence[Judged], after: Sequence[Judged]) -> list[Line]:
    """The table: both hold the same slices in the same order."""
    out = []
    for pair in dict.fromkeys(row.pair for row in before):
        both = [[row for row in rows if row.pair == pair] for rows in (before, after)]
        people = sorted({row.person for row in both[0]})
        out.append(
            Line(
                pair=pair,
                people=len(people),
                slices=len(both[0]),
                psnr=_two(both, people, lambda rows: -10 * np.log10(_mean(rows, "square") + 1e-12)),
                ssim=_two(both, people, lambda rows: np.mean([row.ssim for row in rows])),
                std_over_rmse=_two(both, people, _std_over_rmse) if _known(both, "mean_std") else None,
                covered=_two(both, people, partial(_mean, of="covered")) if _known(both, "covered") else None,
            )
        )
    return out


def _two(both: list[list[Judged]], people: Sequence[int], figure: Callable[[list[Judged]], Any]) -> tuple[float, float]:
    """A figure before and after, each the mean over people."""
    first, second = (
        float(np.mean([figure([row for row in rows if row.person == one]) for one in people])) for rows in both
    )
    return first, second


def _known(both: list[list[Judged]], of: str) -> bool:
    return all(getattr(row, of) is not None for rows in both for row in rows)


def _mean(rows: Sequence[Judged], of: str) -> float:
    """Of a figure over all voxels."""
    return float(np.average([getattr(row, of) for row in rows], weights=[row.voxels for row in rows]))


def _std_over_rmse(rows: Sequence[Judged]) -> float:
    return _mean(rows, "mean_std") / max(_mean(rows, "square") ** 0.5, 1e-9)


def within(rows: Sequence[Judged], correction: SpreadCorrection) -> float:
    """Share of voxels within 1.645 corrected standard deviations."""
    voxels = Voxels.joined(row.answered for row in rows)
    return float(np.mean(np.abs(voxels.error) <= Z90 * correction.of(voxels)))


def gain(table: Sequence[Line]) -> float:
    """Mean over the pairs, in dB."""
    return float(np.mean([line.gain for line in table]))


def pair_of(line: Line) -> Pair:
    """The pair of a line."""
    return Pair.parse(line.pair)
