"""Rows as the tables and figures ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.bids import data_set, subject_of
from ..row import Row


@dataclass(frozen=True)
class Metric:
    """A figure of :class:`.Row`: its attribute, heading, the factor it is shown with, digits, and what is better."""

    attribute: str
    heading: str
    factor: float = 1
    digits: int = 2
    smaller: bool = False

    def of(self, row: Row) -> float | None:
        """As it is shown."""
        value = getattr(row, self.attribute)
        return None if value is None else self.factor * value


#: Whole volume, as the paper's Tables 1, 2 and 4.
SIMILARITY = (
    Metric("ssim_volume", "SSIM (%)", 100),
    Metric("psnr_volume", "PSNR (dB)"),
    Metric("lpips", "LPIPS", digits=4, smaller=True),
    Metric("bssim_volume", "BSSIM (%)", 100),
)
#: The same inside the head.
INSIDE = (Metric("ssim", "SSIM (%)", 100), Metric("psnr", "PSNR (dB)"), Metric("bssim", "BSSIM (%)", 100))
#: Table 5.
CONSISTENCY = (Metric("scssim", "SCSSIM (%)", 100), Metric("scssim_difference", "SCSSIM of differences (%)", 100))


def mean_of(rows: Iterable[Row], of: Callable[[Row], Any]) -> NDArray[np.float64]:
    """Mean of a figure over people, each of whom counts once; of several pairs, the mean of the pairs' means.

    Args:
        rows: Not empty; visits of a person are averaged first.
        of: The figure, or a list of some, of a row.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        found.setdefault(row.pair, {}).setdefault(subject_of(row.subject), []).append(of(row))
    means = [np.mean([np.mean(visits, axis=0) for visits in people.values()], axis=0) for people in found.values()]
    return np.asarray(np.mean(means, axis=0), dtype=np.float64)


def mean_of_known(rows: Iterable[Row], of: Callable[[Row], Any]) -> float | None:
    """By :func:`mean_of`, of whoever has the figure; None where nobody has it."""
    known = [row for row in rows if of(row) is not None]
    return float(mean_of(known, of)) if known else None


@dataclass(frozen=True)
class Results:
    """Rows of :func:`napari_mrtrans.evaluation.evaluate.evaluate` and how they were obtained."""

    rows: Sequence[Row]
    about: dict[str, Any]

    @property
    def methods(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def pairs(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(row.pair for row in self.rows))

    def comparable(self, methods: Sequence[str]) -> Results:
        """The rows of ``methods`` of the pairs and subjects that all of them have: means over others would compare
        nothing."""
        theirs = [{(row.pair, row.subject) for row in self.where(method)} for method in methods]
        shared = set.intersection(*theirs) if theirs else set()
        return replace(
            self, rows=[row for row in self.rows if row.method in methods and (row.pair, row.subject) in shared]
        )

    def shared(self, pair: str, attribute: str | None = None) -> set[str]:
        """Visits of a pair that all checkpoints answered; with ``attribute``, that have this figure of all who have it
        of any."""
        models, theirs = self.models, dict[str, set[str]]()
        for row in self.rows:
            known = attribute is None or getattr(row, attribute) is not None
            if row.pair == pair and row.method in models and known:
                theirs.setdefault(row.method, set()).add(row.subject)
        return set.intersection(*theirs.values()) if theirs else set()

    def alike(self, attribute: str | None = None) -> Results:
        """The rows of the visits of each pair that all checkpoints answered (:meth:`shared`), and all of a pair that
        has none: means over others would compare different people."""
        shared = {pair: self.shared(pair, attribute) for pair in self.pairs}
        return replace(self, rows=[row for row in self.rows if not shared[row.pair] or row.subject in shared[row.pair]])

    @property
    def subjects(self) -> list[str]:
        """People, in order of appearance."""
        return list(dict.fromkeys(subject_of(row.subject) for row in self.rows))

    @property
    def models(self) -> dict[str, str]:
        """Model family of each checkpoint that has rows."""
        names = self.methods
        return {c["name"]: c["model"] for c in self.about["checkpoints"] if c["name"] in names}

    def checkpoint_of(self, model: str) -> str | None:
        """The first checkpoint of a family."""
        return next((name for name, family in self.models.items() if family == model), None)

    def trained_on(self, method: str) -> list[str]:
        """Data sets of a checkpoint."""
        return next((c["trained_on"] for c in self.about["checkpoints"] if c["name"] == method), [])

    def where(self, method: str, pair: str | None = None, data: str | None = None) -> list[Row]:
        """Rows of a method, of one pair, of subjects of one data set."""
        return [
            row
            for row in self.rows
            if row.method == method and pair in (None, row.pair) and data in (None, data_set(row.subject))
        ]

    def values(self, metric: Metric, method: str, pair: str | None = None, data: str | None = None) -> dict[str, float]:
        """By person; the mean over visits, then, of several, over pairs, of people who have them all."""
        rows = self.where(method, pair, data)
        pairs = {row.pair for row in rows}
        found: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            if (value := metric.of(row)) is not None:
                found.setdefault(subject_of(row.subject), {}).setdefault(row.pair, []).append(value)
        return {
            person: float(np.mean([np.mean(visits) for visits in mine.values()]))
            for person, mine in found.items()
            if len(mine) == len(pairs)
        }

    def mean(self, metric: Metric, method: str, pair: str | None = None, data: str | None = None) -> float | None:
        """By :func:`mean_of_known`."""
        return mean_of_known(self.where(method, pair, data), metric.of)

    def curve(self, attribute: str, method: str) -> list[float]:
        """Mean over people of a figure that is a list, as far as all have it; NaN where an item of it is unknown; empty
        where none has."""
        rows = [row for row in self.where(method) if getattr(row, attribute) is not None]
        shortest = min((len(getattr(row, attribute)) for row in rows), default=0)
        if not shortest:
            return []
        return mean_of(rows, lambda row: np.array(getattr(row, attribute)[:shortest], dtype=np.float64)).tolist()

    def with_samples(self) -> Results:
        """The rows of checkpoints that sample, of the pairs that all of these have; all, if there is no such pair."""
        sampling = [name for name in self.models if self.curve("psnr_of_n", name)]
        return shared if (shared := self.comparable(sampling)).rows else self

    def sharing(self, methods: Sequence[str]) -> set[str]:
        """Those of ``methods`` that have weights in common with another of them."""
        shares = {c["name"]: set(c.get("shares", ())) for c in self.about["checkpoints"]}
        return {name for name in methods if shares.get(name, set()) & set(methods)}
