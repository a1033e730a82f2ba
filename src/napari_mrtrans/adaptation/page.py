"""What an adaptation gave, as lines for a terminal and as a page with pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..evaluation.report.montage import grid
from ..page.html import NONE, Cell, Picture, Section, Table, page
from ..page.panels import Panel
from ..training.validation import FixedSlice
from ..wording import plural
from .figures import Answer, Line, gain, pair_of

#: Columns of the table, each before and after.
_COLUMNS = ("PSNR, dB", "SSIM", "std / RMSE", "in 90 %", "in 90 % corrected")


@dataclass(frozen=True)
class Shown:
    """One slice of a pair before and after."""

    pair: str
    slice: FixedSlice
    before: Answer
    after: Answer


@dataclass(frozen=True)
class Report:
    """All that is told in the end.

    Attributes:
        title: Of the page.
        about: What was done, in sentences.
        warnings: What to beware of.
        judged_on: On what the figures are, in words.
        table: By pair.
        curves: Seconds and relative held-out error of each run, by its name.
        shown: Slices for the pictures; they show scans of the site.
    """

    title: str
    about: str
    warnings: Sequence[str]
    judged_on: str
    table: Sequence[Line]
    curves: dict[str, list[tuple[float, float]]]
    shown: Sequence[Shown] = ()


def text_table(table: Sequence[Line]) -> list[str]:
    """For a terminal: a line for each pair, and their mean."""
    head = ["pair", "PSNR before", "after", "gain", "SSIM before", "after"]
    samples = any(line.std_over_rmse for line in table)
    corrected = all(line.corrected for line in table)
    if samples:
        head += ["std/RMSE", "after", "in 90 % corrected" if corrected else "in 90 %", "after"]
    rows = [head]
    for line in table:
        row = [str(pair_of(line)), *(f"{value:.2f}" for value in line.psnr), f"{line.gain:+.2f}"]
        row += [f"{value:.3f}" for value in line.ssim]
        if samples:
            for values in (line.std_over_rmse, line.corrected if corrected else line.covered):
                row += [NONE, NONE] if values is None else [f"{value:.2f}" for value in values]
        rows.append(row)
    if len(table) > 1:
        before, after = (np.mean([line.psnr[i] for line in table]) for i in (0, 1))
        ssim = [np.mean([line.ssim[i] for line in table]) for i in (0, 1)]
        rows.append(["mean", f"{before:.2f}", f"{after:.2f}", f"{gain(table):+.2f}", *(f"{v:.3f}" for v in ssim)])
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(head))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]


def html(report: Report, pictures: Path | None) -> str:
    """The whole document; ``pictures`` is a PNG file of slices."""
    rows = []
    for line in report.table:
        judged_on = f"{plural(line.slices, 'slice')} of {plural(line.people, 'person', 'people')}"
        cells = [Cell(str(pair_of(line)), judged_on)]
        cells += [_both(line.psnr, 2), Cell(f"{line.gain:+.2f}", best=line.gain > 0), _both(line.ssim, 3)]
        cells += [_both(values, 2) for values in (line.std_over_rmse, line.covered, line.corrected)]
        rows.append(cells)
    head = ["pair", _COLUMNS[0], "gain", *_COLUMNS[1:]]
    note = (
        "Before → after, in the brain, on slices that the network was not trained on; PSNR and SSIM of the mean (data "
        "range 1; SSIM of each slice in its plane). 'in 90 %': share of voxels within the central 90 % interval of the "
        "samples, and within that of the corrected standard deviation, whose correction is fitted to other slices. "
        "All on the scan's own voxels: what a finer one shows beyond the model's pixels of 1 mm no answer has."
    )
    table = Table(f"Judged on {report.judged_on}", head, rows, note)
    sections = [
        Section("What was done", report.about, warnings=list(report.warnings)),
        Section("Before and after", tables=[table]),
    ]
    if pictures is not None:
        caption = (
            "Slices that were held out: source, answer before, answer now, target, and errors. They show your scans."
        )
        sections.append(Section("Pictures", pictures=[Picture(pictures.read_bytes(), "png", caption)]))
    if report.curves:
        caption = "Error on held-out slices over that of the checkpoint it started from; the best weights are kept."
        sections.append(Section("While it ran", pictures=[Picture(_curves(report.curves), "svg+xml", caption)]))
    return page(report.title, sections)


def _both(values: tuple[float, float] | None, digits: int) -> Cell:
    return Cell(NONE) if values is None else Cell(" → ".join(f"{value:.{digits}f}" for value in values))


def draw(shown: Sequence[Shown], path: Path) -> Path | None:
    """A PNG file with a row for each pair; None where nothing is shown."""
    rows = []
    for one in shown:

        def up(image: np.ndarray) -> np.ndarray:
            return image[one.slice.source[0].any(axis=1)][:, one.slice.source[0].any(axis=0)]  # noqa: B023

        target = one.slice.target
        panels = [
            Panel("source", up(one.slice.source[0])),
            Panel("before", up(one.before.mean)),
            Panel("now", up(one.after.mean)),
            Panel("target", up(target)),
            Panel("before: |error|", up(np.abs(one.before.mean - target))),
            Panel("now: |error|", up(np.abs(one.after.mean - target))),
        ]
        if one.after.std is not None:
            panels.append(Panel("now: std", up(one.after.std)))
        rows.append((one.pair.replace("->", "→"), panels))
    if not rows:
        return None
    grid(path, rows, 1.0)
    return path


def _curves(curves: dict[str, list[tuple[float, float]]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        minutes, errors = zip(*((seconds / 60, error) for seconds, error in curve), strict=True)
        axes.plot(minutes, errors, marker=".", label=name)
    axes.axhline(1, color="#888", linewidth=0.8)
    axes.set(xlabel="minutes of that run", ylabel="held-out error / parent's")
    axes.legend(fontsize=7)
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    return out.getvalue()
