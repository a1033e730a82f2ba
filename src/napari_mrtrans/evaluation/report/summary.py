"""The report's means as one Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from ...wording import plural
from ..row import Row
from .results import Results, mean_of

#: Columns: heading, attribute of :class:`.Row`, digits.
COLUMNS = (
    ("SSIM3D", "ssim", 4),
    ("SSIM3D, volume", "ssim_volume", 4),
    ("PSNR (dB)", "psnr", 2),
    ("PSNR, volume (dB)", "psnr_volume", 2),
    ("PSNR, peak p99.5 (dB)", "psnr_p995", 2),
    ("PSNR, fitted (dB)", "psnr_fitted", 2),
    ("PSNR of one sample (dB)", "sample_psnr", 2),
    ("LPIPS", "lpips", 4),
    ("BSSIM, volume", "bssim_volume", 4),
    ("SCSSIM", "scssim", 4),
    ("mean std / RMSE", "std_over_rmse", 2),
    ("calibration error", "calibration_error", 3),
    ("fine detail", "fine_detail", 2),
    ("s per slice", "seconds_per_slice", 2),
)


def summary(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Means over subjects for each method, of all pairs together and of each, and how they were obtained."""
    results = Results(rows, about)
    alike = results.alike()
    methods, pairs = results.methods, results.pairs
    parts = []
    # A mean over pairs compares nothing unless every method was measured on the same ones.
    if len(pairs) > 1 and len({frozenset((r.pair, r.subject) for r in alike.where(m)) for m in methods}) == 1:
        parts.append(_table(["method, all pairs"], {(m,): alike.where(m) for m in methods}))
    groups = {(p, m): alike.where(m, p) for p in pairs for m in methods}
    parts.append(_table(["pair", "method"], {key: mine for key, mine in groups.items() if mine}))
    parts.append(obtained(results))
    parts += [f"- Left out: {line}" for line in about.get("left_out", [])]
    parts += [f"- Mind: {line}" for line in about.get("doubts", [])]
    return "\n\n".join(parts) + "\n"


def obtained(results: Results) -> str:
    """How the rows were obtained, in a few sentences."""
    about, subjects = results.about, len(results.subjects)
    others = dict.fromkeys(row.machine for row in results.rows if row.machine not in ("", about["machine"]))
    earlier = f" Rows of earlier runs: {'; '.join(others)}." if others else ""
    over = " A mean over pairs is the mean of their means." if len(results.pairs) > 1 else ""
    lacking = len(results.alike().rows) < len(results.rows)
    left = " What a checkpoint lacks of a pair is left out of the others' means of it, too." if lacking else ""
    slices = "all slices" if about["slab"] is None else f"{about['slab']} slices in the middle of the head"
    return (
        f"Means over {plural(subjects, 'held-out subject')}, inside the head (volume: with the background), "
        f"range [0, 1], {slices}, n = {about['n'] or 'default'}, seed {about['seed']}.{over}{left} "
        f"{about['date']}, {about['machine']}, torch {about['torch']}.{earlier}"
    )


def _table(names: list[str], groups: dict[tuple[str, ...], list[Row]]) -> str:
    """Means over people, a line for each group of rows; the key of a group fills the columns ``names``."""
    head = [*names, "volumes", *(heading for heading, _, _ in COLUMNS)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for key, rows in groups.items():
        cells = []
        for _, attribute, digits in COLUMNS:
            unknown = any(getattr(row, attribute) is None for row in rows)
            cells.append("–" if unknown else f"{mean_of(rows, attrgetter(attribute)):.{digits}f}")
        lines.append(f"| {' | '.join([*key, str(len(rows)), *cells])} |")
    return "\n".join(lines)
