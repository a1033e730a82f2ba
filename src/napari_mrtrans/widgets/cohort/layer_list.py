"""The image layers of the window, each with a box to tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from ..source import is_acquired, is_mask

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: So many rows show without scrolling.
ROWS, ROW_HEIGHT = 5, 22


class LayerList(QListWidget):
    """A checklist of the acquired images with three axes; all but masks are ticked until the user says otherwise.

    Signals:
        changed: Other layers are ticked or listed.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Image] = []
        self._names: list[str] = []
        self._unticked: WeakSet[Image] = WeakSet()
        self._known: WeakSet[Image] = WeakSet()
        self.setAccessibleName("Images to transform")
        self.setFixedHeight(ROWS * ROW_HEIGHT)
        for name in ("inserted", "removed", "reordered", "renamed"):
            getattr(viewer.layers.events, name).connect(self._sync)
        self.itemChanged.connect(self._on_tick)
        self._sync()

    @property
    def chosen(self) -> list[Image]:
        """The ticked layers."""
        return [layer for layer in self._layers if layer not in self._unticked]

    def _sync(self, event: Any = None) -> None:
        if not isalive(self):
            return
        self._layers = [layer for layer in self._viewer.layers if is_acquired(layer) and layer.ndim == 3]
        names = [layer.name for layer in self._layers]
        if names == self._names:  # what came or went is none of these; napari's names are unique
            return
        self._names = names
        new = [layer for layer in self._layers if layer not in self._known]
        self._known.update(new)
        self._unticked.update(layer for layer in new if is_mask(layer))
        self.blockSignals(True)
        self.clear()
        for layer in self._layers:
            item = QListWidgetItem(layer.name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            off = layer in self._unticked
            item.setCheckState(Qt.CheckState.Unchecked if off else Qt.CheckState.Checked)
            self.addItem(item)
        self.blockSignals(False)
        self.changed.emit()

    def _on_tick(self, item: QListWidgetItem) -> None:
        layer = self._layers[self.row(item)]
        if item.checkState() == Qt.CheckState.Checked:
            self._unticked.discard(layer)
        else:
            self._unticked.add(layer)
        self.changed.emit()
