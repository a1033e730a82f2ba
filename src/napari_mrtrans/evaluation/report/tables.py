"""The paper's Tables 1, 2, 4 and 5 and a table of the spread, each with how sure its means are."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from ...datasets.bids import data_set, subject_of
from ...metrics.coverage import LEVELS
from ...page.html import NONE, Cell, Table
from ..row import Row
from .results import CONSISTENCY, INSIDE, SIMILARITY, Metric, Results, mean_of, mean_of_known
from .significance import FEWEST, MANY, best, interval

_AVERAGED = "The mean of the pairs' means. "
_OF_ALL_PAIRS = "±, interval and test are of those people who have all pairs. "


def similarity(results: Results, metrics: Sequence[Metric] = SIMILARITY) -> list[Table]:
    """Table 1: one table for each metric, a row for each pair, a column for each method."""
    measured = [metric for metric in metrics if any(metric.of(row) is not None for row in results.rows)]
    return [_by_pair(results, metric) for metric in measured]


def inside(results: Results) -> list[Table]:
    """Table 1 inside the head."""
    return similarity(results, INSIDE)


def consistency(results: Results) -> list[Table]:
    """Table 5: consistency of neighbouring slices, by both readings of Eq. 12."""
    return similarity(results, CONSISTENCY)


def averages(results: Results) -> Table | None:
    """Table 4: means over the pairs that all methods have, of each data set; None for fewer than two of them."""
    every = results.pairs
    results = results.comparable(results.methods)
    if len(results.pairs) < 2:
        return None
    which = "all pairs" if results.pairs == every else ", ".join(results.pairs)
    rows, counts, note = [], [], ""
    for data in dict.fromkeys(data_set(subject) for subject in results.subjects):
        for metric in SIMILARITY:
            alike = results.alike(metric.attribute)
            known = [row for row in alike.rows if data_set(row.subject) == data and metric.of(row) is not None]
            if not known:
                continue
            values = {m: alike.values(metric, m, data=data) for m in results.methods}
            means = {m: mean for m in values if (mean := alike.mean(metric, m, data=data)) is not None}
            pairs, people = {row.pair for row in known}, {subject_of(row.subject) for row in known}
            counts.append(max(map(len, values.values())))
            of = ", ".join(pair for pair in results.pairs if pair in pairs) if len(pairs) < len(results.pairs) else ""
            some = f"{counts[-1]} with all pairs" if counts[-1] < len(people) else ""
            note = _OF_ALL_PAIRS if some else note
            named = [Cell(data, of), Cell(metric.heading), Cell(str(len(people)), some)]
            rows.append([*named, *_cells(alike, metric, values, means)])
    head = ["data set", "metric", "people", *results.methods]
    return Table(f"Averages over {which}", head, rows, f"{_AVERAGED}{note}{_significance(counts)}")


def other_data(results: Results) -> Table | None:
    """Table 2: subjects of data sets that a checkpoint was not trained on, and the change that makes.

    The change is against a checkpoint of the same family that was trained on that data set where there is one (the
    paper's), else against the same checkpoint on its own data sets. None where all subjects are of those.
    """
    rows = []
    for method, model in results.models.items():
        own = results.trained_on(method)
        for pair in dict.fromkeys(row.pair for row in results.where(method)):
            for data in dict.fromkeys(data_set(row.subject) for row in results.where(method, pair)):
                if data in own or not own:
                    continue
                twins = [m for m, f in results.models.items() if f == model and data in results.trained_on(m)]
                twin = min(twins, key=lambda m: len(results.trained_on(m)), default=None)
                both = results.comparable([method, twin]) if twin else results
                against = f"{twin} on {data}" if twin else f"itself on {', '.join(own)}"
                cells = []
                for metric in SIMILARITY:
                    here = list(both.values(metric, method, pair, data).values())
                    there = [
                        value
                        for home in ([data] if twin else own)
                        for value in both.values(metric, twin or method, pair, home).values()
                    ]
                    change = f" ({np.mean(here) - np.mean(there):+.{metric.digits}f})" if here and there else ""
                    cells.append(Cell(f"{np.mean(here):.{metric.digits}f}{change}" if here else NONE))
                rows.append([Cell(method), Cell(pair), Cell(data), Cell(against), *cells])
    head = ["trained elsewhere", "pair", "data set", "change against", *(metric.heading for metric in SIMILARITY)]
    return Table("Another data set", head, rows) if rows else None


def spread(results: Results) -> Table | None:
    """How wide the samples are, how normal, and what they cost; None without a checkpoint that samples."""
    levels, results = (0.5, 0.9, 0.95), results.alike()
    rows = []
    for method in results.models:
        for pair in results.pairs:
            mine = results.where(method, pair)
            covered = [row for row in mine if row.coverage is not None]
            if not covered and all(row.psnr_of_n is None for row in mine):
                continue
            curve = mean_of(covered, attrgetter("coverage")) if covered else None
            names = ("std_over_rmse", "calibration_error", "normal_share", "sample_psnr", "psnr", "seconds_per_slice")
            ratio, error, normal, one, mean, seconds = (_mean(mine, name) for name in names)
            texts = [
                ratio,
                *(NONE if curve is None else f"{curve[LEVELS.index(level)]:.2f}" for level in levels),
                error,
                normal,
                one,
                mean,
                seconds,
            ]
            rows.append([Cell(method), Cell(pair), *map(Cell, texts)])
    head = ["checkpoint", "pair", "mean std / RMSE", *(f"coverage of {level:.0%}" for level in levels),
            "calibration error", "normal voxels", "PSNR of one sample", "PSNR of the mean", "s per slice"]  # fmt: skip
    return Table("Spread of the samples, inside the head", head, rows) if rows else None


def _by_pair(results: Results, metric: Metric) -> Table:
    rows, counts, alike = [], [], results.alike(metric.attribute)
    for pair in results.pairs:
        values = {m: alike.values(metric, m, pair) for m in results.methods}
        counts.append(max(map(len, values.values())))
        means = {m: float(np.mean(list(mine.values()))) for m, mine in values.items() if mine}
        rows.append([Cell(pair), Cell(str(counts[-1])), *_cells(alike, metric, values, means, pair)])
    return Table(metric.heading, ["pair", "subjects", *results.methods], rows, _significance(counts))


def _cells(
    alike: Results,
    metric: Metric,
    values: dict[str, dict[str, float]],
    means: dict[str, float],
    pair: str | None = None,
) -> list[Cell]:
    """Mean, and standard deviation and interval over people, of each method, of one pair or of all.

    Checkpoints compete for the best, if there are visits that all of them answered (:meth:`.Results.alike`).
    """
    rivals = {name: mine for name, mine in values.items() if name in alike.models and mine}
    compared = all(alike.shared(one, metric.attribute) for one in ([pair] if pair else alike.pairs))
    shared = sorted(set.intersection(*(set(mine) for mine in rivals.values()))) if rivals and compared else []
    winners = best({name: [mine[s] for s in shared] for name, mine in rivals.items()}, smaller=metric.smaller)
    leader = (min if metric.smaller else max)(rivals, key=means.__getitem__) if shared and len(rivals) > 1 else None
    cells = []
    for name, mine in values.items():
        found = list(mine.values())
        if name not in means:
            cells.append(Cell(NONE))
            continue
        text = f"{means[name]:.{metric.digits}f}"
        text += f" ± {np.std(found, ddof=1):.{metric.digits}f}" if len(found) > 1 else ""
        limits = interval(found)
        small = "" if limits is None else f"{limits[0]:.{metric.digits}f} to {limits[1]:.{metric.digits}f}"
        cells.append(Cell(text, small, name in winners, not winners and name == leader))
    return cells


def _significance(counts: Sequence[int]) -> str:
    """How to read the cells, by the numbers of subjects of the rows."""
    fewest, most = min(counts), max(counts)
    if most == 0:
        return "Nobody has all of them: neither an interval nor a test is possible."
    if most == 1:
        return "One subject: neither an interval nor a test is possible. The best value is underlined."
    note = f"Second line: 95 % interval of the mean over subjects (Student's t; from {MANY} subjects on, bootstrap). "
    if most >= FEWEST:
        note += (
            "Bold: no other checkpoint is better by the pairwise one-sided Wilcoxon signed-rank test (p < 0.05, "
            "uncorrected); several may be. "
        )
    if fewest < FEWEST:
        note += (
            f"With {fewest} subjects the smallest possible p of the signed-rank test is {0.5**fewest:.3g}, so no "
            "difference can be significant; the best mean is underlined."
        )
    return note.strip()


def _mean(rows: Sequence[Row], attribute: str) -> str:
    mean = mean_of_known(rows, attrgetter(attribute))
    return NONE if mean is None else f"{mean:.2f}"
