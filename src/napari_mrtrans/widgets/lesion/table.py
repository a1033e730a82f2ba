"""One row for all lesions together and one for each of them."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidgetItem, QWidget

from ...lesion.report import LesionReport
from ..figure_table import FigureTable

HEADINGS = ("Lesion", "Voxels", "r", "95 %")
#: So many rows show without scrolling.
ROWS = 5


class LesionTable(FigureTable):
    """Number, size, correlation and its interval of the lesions, largest first.

    Signals:
        lesion_clicked: Voxel index of the middle of a lesion that was clicked or chosen by key, as an array.
    """

    lesion_clicked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(((heading, "") for heading in HEADINGS), "Correlation for each lesion", parent)
        self._report: LesionReport | None = None
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setToolTip(
            "Click a lesion to see where it lies. 95 %: interval of r; a dash where it cannot be told. Neighbours are "
            "alike: the interval knows how many independent voxels a lesion is worth, and there is no p over voxels."
        )
        header, side = self._header, self._side
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(HEADINGS.index("95 %"), QHeaderView.ResizeMode.ResizeToContents)  # or it is cut
        side.setDefaultSectionSize(24)
        self.cellClicked.connect(self._on_choice)
        self.currentCellChanged.connect(self._on_choice)

    def show_report(self, report: LesionReport) -> None:
        """Replace all rows."""
        self._report = report
        rows = report.rows()
        self.blockSignals(True)  # a row that goes is no choice of another
        self.setRowCount(len(rows))
        self.blockSignals(False)
        for number, row in enumerate(rows):
            r = "–" if row["r"] is None else f"{row['r']:.3f}"
            span = "–" if row["r_low"] is None else f"{row['r_low']:.2f} to {row['r_high']:.2f}"
            for column, text in enumerate((str(row["lesion"]), str(row["n_voxels"]), r, span)):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.setItem(number, column, item)
        self.fit(ROWS)

    def _on_choice(self, row: int, *_: int) -> None:
        if self._report is not None and row > 0:
            self.lesion_clicked.emit(np.array(self._report.components[row - 1].centre))
