"""A combo box of images, in which the mean of a run is chosen until the user chooses another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from ..layer_combo import LayerCombo
from ..source import is_candidate, result_record

if TYPE_CHECKING:
    from napari.components import ViewerModel


class PredictionCombo(LayerCombo):
    """Any image may be measured: a result of this session, one that was reopened, or that of another program."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(viewer, is_candidate, none="Choose…", parent=parent)

    def _sync(self, event: Any = None) -> None:
        super()._sync(event)
        if not isalive(self) or self.by_hand or self.layer is not None:
            return
        means = [layer for layer in self.layers if result_record(layer).get("kind") == "mean"]
        if means:
            self.choose(means[0])
