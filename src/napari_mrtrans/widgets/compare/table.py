"""One row for each model of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidgetItem, QWidget

from ...metrics.comparison import ModelRow
from ..figure_table import FigureTable

#: Heading and what it means.
COLUMNS = {
    "Model": "",
    "σ̂": "How far the samples differ from one another, averaged over the head.",
    "P(OOD)": "Probability that the image is unlike those the model was trained on, so that its answer may be wrong.",
    "SSIM": "Structural similarity to the reference inside the head, 1 = equal; below 11 slices slice by slice.",
    "PSNR": "Peak signal-to-noise ratio against the reference inside the head, in dB.",
    "s": "Seconds for the slices of this model.",
}
#: Columns that need a reference.
MEASURED = (3, 4)


class CompareTable(FigureTable):
    """Figures of the models; where one failed, its row says why."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(COLUMNS.items(), "Figures of the models", parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(True)
        header = self._header
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)

    def show_rows(self, rows: Sequence[ModelRow], measured: bool) -> None:
        """Replace all rows; ``measured``: there is a reference."""
        for column in MEASURED:
            self.setColumnHidden(column, not measured)
        self.clearSpans()
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(_cells(row)):
                item = QTableWidgetItem(text)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                against = f", against '{row.reference}'" if row.reference else ""
                item.setToolTip(f"{row.checkpoint}: {row.slices} slices, n = {row.n}, seed {row.seed}{against}")
                self.setItem(number, column, item)
            if row.error:
                self._show_error(number, row.error)
        self.resizeRowsToContents()
        self.fit()

    def _show_error(self, number: int, error: str) -> None:
        item = QTableWidgetItem(error)
        item.setToolTip(error)
        self.setItem(number, 1, item)
        self.setSpan(number, 1, 1, len(COLUMNS) - 1)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Lines wrap anew."""
        super().resizeEvent(event)
        self.resizeRowsToContents()
        self.fit()


def _cells(row: ModelRow) -> tuple[str, ...]:
    return (
        row.model,
        _number(row.sigma_hat, 4),
        _number(row.p_ood, 2),
        _number(row.ssim, 3),
        _number(row.psnr, 2),
        _number(row.seconds, 1),
    )


def _number(value: float | None, digits: int) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"
