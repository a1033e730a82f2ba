"""Fits the correction of a checkpoint's spread to measured errors, and tells what its intervals hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..checkpoints.correction import Z90, SpreadCorrection, Voxels
from ..metrics.uncertainty import rank_correlation, rank_of_intensity
from ..scan.contrasts import Pair
from .ensemble_figures import known as finite
from .ood_study import Measurement
from .scans import person

#: Of validation subjects, below which they say too little of people to narrow a spread, or to mend one pair's alone.
FEW_PEOPLE = 3


def fit_spread(
    rows: Iterable[Measurement], known: Mapping[str, SpreadCorrection] | None = None
) -> dict[str, SpreadCorrection]:
    """A correction for each pair that a validation subject has.

    Its curves over the intensities, which take many people, are those of ``known``, or fitted to training and
    validation subjects: the network's errors on those whom it knows are smaller, but at the same places. Floor and
    factor are fitted to validation subjects.

    Pairs with fewer than :data:`FEW_PEOPLE` share floor and factor, for what a contrast of one or two people needed
    says less of the next person than what all their contrasts needed does; where it needed more, it gets more. It only
    ever widens. All are widened further by how much people differ (:func:`person_variation`), so that the interval
    holds for the next one.
    """
    rows = [row for row in rows if row.kept]
    gathered: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.role == "validation":
            gathered.setdefault(row.pair, []).append(row)
    people = {pair: len({person(row.subject) for row in mine}) for pair, mine in gathered.items()}
    few = [pair for pair in gathered if people[pair] < FEW_PEOPLE]
    voxels = {pair: _voxels(mine) for pair, mine in gathered.items()}
    shape = {pair: (known or {}).get(pair) or _shape([row for row in rows if row.pair == pair]) for pair in gathered}
    fitted: dict[str, SpreadCorrection] = {}
    for group in filter(None, [few, *([pair] for pair in gathered if pair not in few)]):
        fitted |= zip(group, SpreadCorrection.refitted([(shape[pair], voxels[pair]) for pair in group]), strict=True)
    for pair in few:
        fitted[pair] = fitted[pair].scaled(max(1.0, _needed(voxels[pair], fitted[pair]) / Z90))
    variation = person_variation(rows, fitted)
    out = {}
    for pair, correction in fitted.items():
        widened = correction.scaled(widening(variation[target_of(pair)], people[pair]))
        out[pair] = widened.not_narrower(voxels[pair]) if pair in few else widened
    return out


def _shape(rows: Sequence[Measurement]) -> SpreadCorrection:
    """The curves that errors of training and validation people tell; none where they are few."""
    rows = [row for row in rows if row.role != "test"]
    enough = len({person(row.subject) for row in rows}) >= FEW_PEOPLE
    return SpreadCorrection.shaped(_voxels(rows)) if enough else SpreadCorrection(floor=0.0, factor=1.0)


def person_variation(rows: Iterable[Measurement], fitted: Mapping[str, SpreadCorrection]) -> dict[str, float]:
    """How much people differ in the width of their errors, for each target contrast: the standard deviation, over
    training and validation people and the pairs with that target, of the log of the factor by which the corrected
    spread would still have to be scaled to cover 90 %. Scanners differ in T1 more than in T2.

    The network knows the training people, so their errors are too small; that they differ less than those of others is
    not to be expected. 0 with fewer than :data:`FEW_PEOPLE`.
    """
    of: dict[str, dict[tuple[str, str], list[Measurement]]] = {target_of(pair): {} for pair in fitted}
    for row in rows:
        if row.role != "test" and row.pair in fitted:
            of[target_of(row.pair)].setdefault((person(row.subject), row.pair), []).append(row)
    out = dict.fromkeys(of, 0.0)
    for target, scans in of.items():
        if len({who for who, _ in scans}) >= FEW_PEOPLE:
            needed = [_needed(_voxels(mine), fitted[pair]) for (_, pair), mine in scans.items()]
            out[target] = float(np.std(np.log(needed), ddof=1))
    return out


def target_of(pair: str) -> str:
    """``T2`` of ``T1->T2``."""
    return Pair.parse(pair).target.value


def _needed(voxels: Voxels, correction: SpreadCorrection) -> float:
    """How many corrected standard deviations hold 90 % of their errors; :data:`Z90` were it right."""
    return float(np.quantile(np.abs(voxels.error) / correction.of(voxels), 0.9))


def widening(variation: float, people: int) -> float:
    """What a spread fitted to ``people`` is to be multiplied with to cover 90 % of the next person's voxels.

    The log of what the next person needs differs from theirs by a normal error of variance (1 + 1/people) variation²;
    the mean coverage over it is to be 90 %.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    needed = np.exp(np.sqrt(1 + 1 / people) * variation * nodes)

    def missing(factor: float) -> float:
        return float(weights @ (2 * ndtr(Z90 * factor / needed) - 1) / weights.sum()) - 0.9

    return float(brentq(missing, 0.5, 1e3))


def _voxels(rows: Iterable[Measurement]) -> Voxels:
    """All that were kept of them."""
    return Voxels.joined(row.answered for row in rows)


def coverage(rows: Iterable[Measurement], spread: Mapping[str, SpreadCorrection]) -> list[dict[str, Any]]:
    """Of each test scan, before and after: the share of voxels within the central 90 % interval of a normal law, and
    the rank correlation of the standard deviation with the size of the error, beside that of plain intensity (of the
    answer or of the source, whichever is the closer, either sign). None where a map is constant."""
    out = []
    for row in rows:
        if row.kept and row.pair in spread:
            voxels = row.answered
            stds = voxels.std, spread[row.pair].of(voxels)
            held = (float((np.abs(voxels.error) <= Z90 * std).mean()) for std in stds)
            ranks = (rank_correlation(std, voxels.error) for std in stds)
            figures = (*held, *ranks, rank_of_intensity(voxels.answer, voxels.source, voxels.error))
            names = ("before", "after", "rank_before", "rank_after", "rank_intensity")
            found = {name: finite(round(figure, 4)) for name, figure in zip(names, figures, strict=True)}
            out.append({"pair": row.pair, "subject": row.subject, **found})
    return out
