"""What speaks against a source slice, as numbers that can be averaged over slices, and in words.

Three things: its *novelty* (:class:`.score.Novelty`), whatever is unlike the training scans; an *artefact*; and another
*contrast* than the scan is said to be. The latter two come from a network that has learned them
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
        told: Log probability of each contrast, then of each kind of artefact, as the network's card names them.
    """

    novelty: float = float("nan")
    artefact: float = float("nan")
    contrast: float = float("nan")
    told: tuple[float, ...] = ()


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
        artefact: Log odds of any artefact, over usual scans.
        contrast: Log odds of another contrast, over usual scans.
    """

    model_config = ConfigDict(extra="forbid")

    contrasts: list[Contrast]
    kinds: list[str] = Field(min_length=2)
    artefact: Standard = Standard()
    contrast: Standard = Standard()

    @property
    def size(self) -> int:
        """How many numbers."""
        return len(self.contrasts) + len(self.kinds)

    def log_odds(self, told: NDArray[np.floating], source: Contrast) -> NDArray[np.float64]:
        """(slices, size) log probabilities to (slices, 2): of any artefact, and of a contrast other than ``source``."""
        told = np.atleast_2d(np.asarray(told, dtype=np.float64))
        kinds = told[:, len(self.contrasts) :]
        artefact = np.logaddexp.reduce(kinds[:, 1:], axis=1) - kinds[:, 0]
        if source in self.contrasts and len(self.contrasts) > 1:
            mine = self.contrasts.index(source)
            others = np.delete(told[:, : len(self.contrasts)], mine, axis=1)
            wrong = np.logaddexp.reduce(others, axis=1) - told[:, mine]
        else:
            wrong = np.full(len(told), np.nan)
        return np.clip(np.stack([artefact, wrong], axis=1), -LIMIT, LIMIT)

    def standardised(self, told: NDArray[np.floating], source: Contrast) -> NDArray[np.float64]:
        """:meth:`log_odds` in standard deviations of usual scans."""
        artefact, wrong = self.log_odds(told, source).T
        return np.stack([self.artefact(artefact), self.contrast(wrong)], axis=1)

    def words(self, signs: Iterable[Signs], source: Contrast, leading: str) -> str:
        """What is seen, such as ``looks like FLAIR, not T1``, ``motion`` or ``unlike the training scans``.

        Args:
            signs: Of the slices.
            source: The contrast that it is said to be.
            leading: Which of ``novelty``, ``artefact`` and ``contrast`` speaks loudest.
        """
        told = np.array([s.told for s in signs if len(s.told) == self.size])
        if leading == "novelty" or not len(told):
            return "unlike the training scans"
        mean = np.clip(told, -LIMIT, 0).mean(axis=0)
        if leading == "contrast":
            likely = [c for c in self.contrasts if c != source]
            best = max(likely, key=lambda c: mean[self.contrasts.index(c)])
            return f"looks like {best}, not {source}"
        return self.kinds[1 + int(np.argmax(mean[len(self.contrasts) + 1 :]))]
