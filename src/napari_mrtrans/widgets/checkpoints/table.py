"""The installed checkpoints, one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidgetItem, QWidget

from ...checkpoints.library import is_shipped
from ..figure_table import FigureTable

if TYPE_CHECKING:
    from ...checkpoints.checkpoint import Checkpoint

HEADINGS = ("Name", "Model", "Pairs", "Size", "From", "Calibrated")


class CheckpointTable(FigureTable):
    """Name, model, pairs, size on disk, origin and calibration; one row is chosen while there is one.

    Signals:
        chosen: Another row is chosen, or none is left.
    """

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(((heading, "") for heading in HEADINGS), "Installed checkpoints", parent)
        self._checkpoints: list[Checkpoint] = []
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header, side = self._header, self._side
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(HEADINGS.index("Name"), QHeaderView.ResizeMode.Stretch)
        side.setDefaultSectionSize(24)
        self.itemSelectionChanged.connect(self.chosen)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The chosen one."""
        row = self.currentRow()
        return self._checkpoints[row] if 0 <= row < len(self._checkpoints) else None

    def show_checkpoints(self, checkpoints: list[Checkpoint], choose: str | None = None) -> None:
        """Replace all rows; choose the one of that name, else the one chosen before, else the first."""
        wanted = choose or (self.checkpoint.name if self.checkpoint else "")
        self.blockSignals(True)
        self._checkpoints = checkpoints
        self.setRowCount(len(checkpoints))
        for row, checkpoint in enumerate(checkpoints):
            for column, (text, tip) in enumerate(_cells(checkpoint)):
                item = QTableWidgetItem(text)
                item.setToolTip(tip)
                if HEADINGS[column] == "Size":
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, column, item)
        names = [checkpoint.name for checkpoint in checkpoints]
        self.clearSelection()
        if names:
            self.selectRow(names.index(wanted) if wanted in names else 0)
        self.blockSignals(False)
        self.chosen.emit()


def _cells(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Text and tooltip of each column."""
    pairs = [str(pair) for pair in checkpoint.pairs]
    calibration = checkpoint.calibration
    fitted = []
    if calibration is not None and calibration.spread:
        made = calibration.on_computed
        of_made = f", {made} of them on computed images" if made else ""
        fitted.append(f"Std was compared with true errors for {len(calibration.spread)} pairs{of_made}.")
    if calibration is not None and calibration.ood:
        fitted.append("P(OOD) was fitted on people kept for that.")
    origin = "plugin" if is_shipped(checkpoint) else "you"
    return [
        (checkpoint.name, str(checkpoint.path)),
        (checkpoint.card.model, ""),
        (pairs[0] if len(pairs) == 1 else str(len(pairs)), ", ".join(pairs)),
        (_size(checkpoint.size_bytes), ""),
        (origin, "It comes with the plugin." if origin == "plugin" else "From your own folder."),
        ("yes" if fitted else "no", " ".join(fitted) or "No P(OOD), and std is the plain spread of the samples."),
    ]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 50_000 else f"{count / 1e3:.1f} kB"
