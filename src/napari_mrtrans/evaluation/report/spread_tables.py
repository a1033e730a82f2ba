"""Tables of what a spread is worth, of lesions, and of what training took."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter

import numpy as np

from ...datasets.bids import data_set, subject_of
from ...metrics.spectrum import BANDS
from ..lesion_sums import pearson
from ..row import COUNTS, Row
from .results import Results, mean_of_known
from .tables import NONE, Cell, Table

#: Heading and attribute of :class:`.Row`.
_MAPS = (
    ("std", "rank_std"),
    ("calibrated std", "rank_calibrated"),
    ("intensity", "rank_intensity"),
    ("gradient", "rank_gradient"),
)


def errors(results: Results) -> Table | None:
    """How well spreads tell where the errors are; None without a checkpoint. The best of the maps is bold."""
    rows, results = [], results.alike()
    direct = results.checkpoint_of("direct")
    for method in results.models:
        for pair in results.pairs:
            mine = results.where(method, pair)
            if not mine:
                continue
            ranks = [_mean(mine, attribute) for _, attribute in _MAPS]
            best = max((rank for rank in ranks if rank is not None), default=None)
            bands = [mean_of_known(mine, partial(_band_ratio, i)) for i in range(len(BANDS))]
            rows.append(
                [
                    Cell(method),
                    Cell(pair),
                    *(Cell(_text(rank, 3), best=rank is not None and rank == best) for rank in ranks),
                    Cell(_text(_mean(mine, "sparsification"), 3)),
                    *(Cell(_text(_mean(mine, name), 4)) for name in ("crps", "mae")),
                    Cell(_text(_mean(results.where(direct, pair), "mae") if direct else None, 4)),
                    *(Cell(_text(band, 2)) for band in bands),
                    Cell(_text(_mean(mine, "two_sample"), 3)),
                ]
            )
    bands_of = [_band(low, high) for low, high in BANDS]
    head = [
        "checkpoint", "pair", *(f"{name} ~ |error|" for name, _ in _MAPS), "sparsification error", "CRPS",
        "MAE of the mean", "MAE of direct", *(f"power, {band}" for band in bands_of), "told apart (AUC)",
    ]  # fmt: skip
    return Table("Spread and errors, inside the head", head, rows) if rows else None


def cumulants(results: Results) -> Table | None:
    """κ1 to κ4 of the most samples that there are; None without samples."""
    rows, results = [], results.with_samples()
    for method in results.models:
        curves = [results.curve(f"kappa{order}_of_n", method) for order in (1, 2, 3, 4)]
        if curves[0]:
            values = [Cell(NONE if np.isnan(curve[-1]) else f"{curve[-1]:.3g}") for curve in curves]
            rows.append([Cell(method), Cell(str(COUNTS[len(curves[0]) - 1])), *values])
    return Table("Cumulants of the samples, mean over the head", ["checkpoint", "samples", "κ1", "κ2", "κ3", "κ4"],
                 rows) if rows else None  # fmt: skip


def effect_of_n(results: Results) -> Table | None:
    """PSNR and SSIM of the mean of the first n samples; None without samples."""
    rows, results = [], results.with_samples()
    for method in results.models:
        found = results.curve("psnr_of_n", method), results.curve("ssim_of_n", method)
        texts = [f"{psnr:.2f} / {100 * ssim:.2f}" for psnr, ssim in zip(*found, strict=True)]
        if texts:
            rows.append([Cell(method), *map(Cell, [*texts, *[NONE] * (len(COUNTS) - len(texts))])])
    head = ["checkpoint", *(f"n = {count}" for count in COUNTS)]
    return Table("Mean of n samples, inside the head: PSNR (dB) / SSIM (%)", head, rows) if rows else None


def lesions(results: Results) -> Table | None:
    """r inside expert masks, pooled over people: of each data set and, of several, of all; None without masks."""
    rows, slab, results = [], results.about["slab"], results.alike("lesion_sums")
    for method in results.methods:
        for pair in results.pairs:
            mine = [row for row in results.where(method, pair) if row.lesion_sums is not None]
            sets = list(dict.fromkeys(data_set(row.subject) for row in mine))
            groups = {name: [row for row in mine if data_set(row.subject) == name] for name in sets}
            if len(sets) > 1:
                groups["all"] = mine
            for name, visits in groups.items():
                pooled = pearson([row.lesion_sums for row in visits if row.lesion_sums is not None])
                voxels = sum(row.lesion_sums[0] for row in visits if row.lesion_sums is not None)
                people = dict.fromkeys(subject_of(row.subject) for row in visits)
                numbers = [_text(pooled, 3), _text(_mean(visits, "lesion_r"), 3)]
                rows.append([Cell(text) for text in (method, pair, name, str(len(people)), f"{voxels:.0f}", *numbers)])
    head = ["method", "pair", "data set", "people", "voxels", "r, pooled", "r, mean of people"]
    note = "" if slab is None else f"Of the masks what lies in the {slab} slices in the middle of the head."
    return Table("Inside expert masks", head, rows, note) if rows else None


def training(results: Results) -> Table | None:
    """Hours, slices and memory from the cards; None where no card tells."""
    rows = []
    for card in results.about["checkpoints"]:
        took = card.get("training")
        if took:
            slices = NONE if took.get("slices") is None else f"{took['slices']:,}"
            hours, memory = (f"{took.get(name) or 0:.1f}" for name in ("hours", "peak_memory_gib"))
            data = ", ".join(card.get("trained_on") or ()) or NONE
            shares = ", ".join(card.get("shares") or ()) or NONE
            texts = (card["name"], slices, hours, memory, took.get("device") or NONE, data, shares)
            rows.append([Cell(text) for text in texts])
    head = ["checkpoint", "slices", "hours", "peak memory (GiB)", "on", "data sets", "shares weights with"]
    return Table("Training, from the cards", head, rows) if rows else None


def _band(low: float, high: float) -> str:
    if np.isinf(high):
        return f"> {low:g} mm"
    return f"{low:g} to {high:g} mm" if low else f"< {high:g} mm"


def _band_ratio(index: int, row: Row) -> float | None:
    return None if row.band_ratios is None else row.band_ratios[index]


def _mean(rows: Sequence[Row], attribute: str) -> float | None:
    return mean_of_known(rows, attrgetter(attribute))


def _text(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
