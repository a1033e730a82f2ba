"""What an adaptation gave: a row for each pair, before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidgetItem, QWidget

from ..figure_table import FigureTable

#: Heading, key in a row of the command's table, digits, and what it means.
COLUMNS: tuple[tuple[str, str, int, str], ...] = (
    ("Pair", "pair", 0, ""),
    ("PSNR, dB", "psnr", 1, "Peak signal-to-noise ratio of the mean, in the brain; higher is better."),
    ("Gain", "gain", 2, "Of PSNR, in dB: half a dB shows, one dB is much."),
    ("SSIM", "ssim", 3, "Structural similarity of the mean, slice by slice, in the brain; 1 = equal."),
    ("std/RMSE", "std_over_rmse", 2, "Spread of the samples over the true error; 1 is right, below it is too sure."),
    (
        "in 90 %",
        "covered",
        2,
        "Share of voxels in the samples' central 90 % interval, corrected where that can be had of all pairs.",
    ),
)
#: Columns of models that draw samples.
SAMPLED = (4, 5)


class GainTable(FigureTable):
    """Figures on held-out slices, ``before → after``; the mean over the pairs last."""

    def __init__(self, parent: QWidget | None = None) -> None:
        columns = ((heading, meaning) for heading, _, _, meaning in COLUMNS)
        super().__init__(columns, "Figures before and after", parent)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header, side = self._header, self._side
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(20)
        for column in (0, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        side.setDefaultSectionSize(22)

    def show_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace all rows with those that the command told."""
        sampled = any(row["std_over_rmse"] for row in rows)
        for column in SAMPLED:
            self.setColumnHidden(column, not sampled)
        if all(row.get("corrected") for row in rows):
            rows = [{**row, "covered": row["corrected"]} for row in rows]
        shown = [*rows, *([_mean(rows)] if len(rows) > 1 else [])]
        self.setRowCount(len(shown))
        for number, row in enumerate(shown):
            for column, (_, key, digits, _) in enumerate(COLUMNS):
                item = QTableWidgetItem(_text(row, key, digits))
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                elif row.get("slices"):
                    item.setToolTip(f"{row['slices']} slices, people: {row['people']}")
                self.setItem(number, column, item)
        self.fit()


def gain(row: dict[str, Any]) -> float:
    """Of PSNR, in dB."""
    before, after = row["psnr"]
    return float(after - before)


def mean_gain(rows: Sequence[dict[str, Any]]) -> float:
    """Over the pairs; NaN of none."""
    return sum(map(gain, rows)) / len(rows) if rows else math.nan


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def over(key: str) -> list[float]:
        return [sum(row[key][side] for row in rows) / len(rows) for side in (0, 1)]

    return {"pair": "mean", "psnr": over("psnr"), "ssim": over("ssim")}


def _text(row: dict[str, Any], key: str, digits: int) -> str:
    if key == "pair":
        return str(row["pair"]).replace("->", "→")
    if key == "gain":
        return f"{gain(row):+.2f}"
    values = row.get(key)
    return " → ".join(f"{value:.{digits}f}" for value in values) if values else ""
