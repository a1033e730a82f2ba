"""A combo box of the image layers of a viewer that follows insertions, removals, moves and renames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from .source import is_candidate

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerCombo(QComboBox):
    """Lists image layers, newest last, and keeps the chosen one chosen while it exists.

    Signals:
        layer_changed: Another layer, or none, is chosen, or the chosen one got another name.
    """

    layer_changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Image] = []
        self._shown: tuple[Image | None, str] = (None, "")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        for name in ("inserted", "removed", "reordered", "renamed"):
            getattr(viewer.layers.events, name).connect(self._sync)
        self.currentIndexChanged.connect(self._announce)
        self._sync()

    @property
    def layer(self) -> Image | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def choose(self, layer: Image) -> None:
        """Choose ``layer``, which must be listed."""
        self.setCurrentIndex(self._layers.index(layer))

    def _sync(self, event: Any = None) -> None:
        if not isalive(self):
            return
        chosen = self.layer
        self.blockSignals(True)
        self._layers = [layer for layer in self._viewer.layers if is_candidate(layer)]
        self.clear()
        self.addItems([layer.name for layer in self._layers])
        if chosen in self._layers:
            self.setCurrentIndex(self._layers.index(chosen))
        self.blockSignals(False)
        self._announce()

    def _announce(self) -> None:
        layer = self.layer
        now = (layer, layer.name if layer is not None else "")
        if now != self._shown:
            self._shown = now
            self.setToolTip(now[1])
            self.layer_changed.emit()
