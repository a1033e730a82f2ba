"""What speaks against a source slice, as numbers that can be averaged over slices, and in words.

Three things: its *novelty* (:class:`.score.Novelty`), whatever is unlike the training scans; an *artefact*
(:class:`.detector.Detector`); and another *contrast* than the scan is said to be, which a network tells
(:class:`napari_mrtrans.networks.judge.SliceJudge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..scan.contrasts import Contrast

#: Log odds are kept within this: one slice alone does not decide a volume.
LIMIT = 12.0


class Signs(NamedTuple):
    """Of one slice; NaN where unknown.

    Attributes:
        novelty: In standard deviations of usual scans, as ``artefact`` and ``contrast``.
        artefact: Log odds of any artefact.
        contrast: Log odds of another contrast than it is said to be.
        contrasts: Log probability of each contrast.
        kinds: Log odds of each kind of artefact.
    """

    novelty: float = float("nan")
    artefact: float = float("nan")
    contrast: float = float("nan")
    contrasts: tuple[float, ...] = ()
    kinds: tuple[float, ...] = ()

    def to_array(self) -> NDArray[np.float64]:
        """All of it in one row, for a file."""
        return np.array([*self[:3], len(self.contrasts), *self.contrasts, *self.kinds])

    @classmethod
    def from_array(cls, row: NDArray[np.floating]) -> Signs:
        """Undoes :meth:`to_array`."""
        novelty, artefact, contrast, count, *told = map(float, row)
        return cls(novelty, artefact, contrast, tuple(told[: int(count)]), tuple(told[int(count) :]))


#: Of a slice of which nothing is known.
UNKNOWN = Signs()


class Standard(BaseModel):
    """A score in standard deviations above usual scans of people whom nothing was fitted to."""

    model_config = ConfigDict(extra="forbid")

    centre: float = 0.0
    spread: float = Field(1.0, gt=0)

    @classmethod
    def of(cls, usual: Sequence[float] | NDArray[np.floating]) -> Standard:
        """From the scores of usual scans, at least two."""
        values = np.asarray(usual, dtype=np.float64)
        return cls(centre=float(values.mean()), spread=max(float(values.std(ddof=1)), 1e-6))

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray((np.asarray(scores, dtype=np.float64) - self.centre) / self.spread)


class Looks(BaseModel):
    """What the network's numbers are, and how they come out for usual scans.

    Attributes:
        contrasts: Which its first numbers are about.
        kinds: Of artefacts, ``none`` first, which the rest are about.
        contrast: Log odds of another contrast, over usual scans.
    """

    model_config = ConfigDict(extra="forbid")

    contrasts: list[Contrast]
    kinds: list[str]
    contrast: Standard = Standard()

    @property
    def size(self) -> int:
        """How many numbers."""
        return len(self.contrasts) + len(self.kinds)

    def log_odds(self, told: NDArray[np.floating], source: Contrast) -> NDArray[np.float64]:
        """(slices, size) log probabilities to (slices,): of a contrast other than ``source``; NaN if it is unknown."""
        told = np.atleast_2d(np.asarray(told, dtype=np.float64))[:, : len(self.contrasts)]
        if source not in self.contrasts or len(self.contrasts) < 2:
            return np.full(len(told), np.nan)
        mine = self.contrasts.index(source)
        wrong = np.logaddexp.reduce(np.delete(told, mine, axis=1), axis=1) - told[:, mine]
        return np.clip(wrong, -LIMIT, LIMIT)

    def likeliest_other(self, signs: Iterable[Signs], source: Contrast) -> Contrast | None:
        """The contrast that the slices show, if it is not ``source``; None where nothing is known."""
        told = np.array([s.contrasts for s in signs if len(s.contrasts) == len(self.contrasts)])
        others = [contrast for contrast in self.contrasts if contrast != source]
        if not len(told) or not others:
            return None
        mean = np.clip(told, -LIMIT, 0).mean(axis=0)
        return max(others, key=lambda contrast: float(mean[self.contrasts.index(contrast)]))
