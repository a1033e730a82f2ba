"""The installed checkpoints that serve a pair, each with a box to tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from . import choices

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint
    from ..scan.contrasts import Pair

#: So many rows show without scrolling.
ROWS = 6
#: Room for a box that is easy to hit.
ROW_HEIGHT = 22


class ModelList(QListWidget):
    """A checklist of models; what was ticked stays so while the pair changes.

    Args:
        first: Name of the checkpoint that is ticked at first; where it serves no pair yet, the first one is.
        parent: The widget around it.

    Signals:
        changed: Other models are ticked or listed.
    """

    changed = Signal()

    def __init__(self, first: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._named: list[tuple[str, Checkpoint]] = []
        self._ticked: set[str] | None = None
        self._first = first
        self.setAccessibleName("Models to compare")
        self.itemChanged.connect(self._on_tick)

    @property
    def chosen(self) -> list[tuple[str, Checkpoint]]:
        """Name and checkpoint of each ticked model; its family's name, or its own where there are several of them."""
        return [named for named in self._named if named[1].name in (self._ticked or ())]

    def show_pair(self, pair: Pair | None) -> None:
        """List what serves ``pair``; the first time, one of them is ticked."""
        self._named = choices.named_models(pair) if pair is not None else []
        if self._ticked is None and self._named:
            names = [checkpoint.name for _, checkpoint in self._named]
            self._ticked = {self._first if self._first in names else names[0]}
        self.blockSignals(True)
        self.clear()
        for name, checkpoint in self._named:
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
            on = checkpoint.name in (self._ticked or ())
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            item.setSizeHint(QSize(0, ROW_HEIGHT))
            item.setToolTip(choices.card_summary(checkpoint))
            self.addItem(item)
        self.blockSignals(False)
        rows = min(max(len(self._named), 1), ROWS)
        self.setFixedHeight(rows * ROW_HEIGHT + 2 * self.frameWidth() + 4)
        self.changed.emit()

    def _on_tick(self, item: QListWidgetItem) -> None:
        _, checkpoint = self._named[self.row(item)]
        ticked = self._ticked = self._ticked or set()
        if item.checkState() == Qt.CheckState.Checked:
            ticked.add(checkpoint.name)
        else:
            ticked.discard(checkpoint.name)
        self.changed.emit()
