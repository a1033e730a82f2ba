"""A combo box of some layers of a viewer that follows insertions, removals, moves and renames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from .source import is_acquired, is_candidate, is_mask

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerCombo(QComboBox):
    """Lists the layers that are ``wanted``, newest last, and keeps the chosen one chosen while it exists.

    Args:
        viewer: Whose layers.
        wanted: Which of them.
        none: What the first entry says, which stands for no layer; without it, a layer is chosen from the first on, but
            an image that is a mask by its name only by hand.
        parent: The widget around it.

    Attributes:
        keep: A chosen layer that is removed stays chosen: something is being made of it.
        by_hand: The user has chosen a layer himself, which is still there, or none.

    Signals:
        layer_changed: Another layer, or none, is chosen.
        renamed: The chosen layer got another name.
    """

    layer_changed = Signal()
    renamed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        wanted: Callable[[Layer], bool] = is_candidate,
        *,
        none: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._wanted = wanted
        self._none = [none] if none else []
        self._layers: list[Layer] = []
        self.keep = self.by_hand = False
        self._kept: Layer | None = None
        self._shown: tuple[Layer | None, str] = (None, "")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        for name in ("inserted", "removed", "reordered", "renamed"):
            getattr(viewer.layers.events, name).connect(self._sync)
        self.currentIndexChanged.connect(self._announce)
        self.activated.connect(self._on_activated)
        self._sync()

    @property
    def layers(self) -> list[Layer]:
        """All that are listed."""
        return list(self._layers)

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex() - len(self._none)
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @property
    def lost(self) -> bool:
        """The chosen layer is not in the viewer any more."""
        return self.layer is not None and self.layer not in self._viewer.layers

    def choose(self, layer: Layer) -> None:
        """Choose ``layer``, which must be listed."""
        self.setCurrentIndex(self._layers.index(layer) + len(self._none))

    def let_go(self) -> None:
        """Choose as if a layer that was kept and is gone had never been there."""
        if self._kept is not None:
            self._kept = None
            self._sync()

    def _sync(self, event: Any = None) -> None:
        if not isalive(self):
            return
        chosen = self.layer
        self.blockSignals(True)
        self._layers = [layer for layer in self._viewer.layers if self._wanted(layer)]
        gone = chosen is not None and chosen not in self._layers
        self.by_hand = self.by_hand and (self.keep or not gone)
        opened = getattr(event, "value", None) if getattr(event, "type", "") == "inserted" else None
        if gone and not self.keep and opened in self._layers and is_acquired(opened) and not is_mask(opened):
            chosen, gone = opened, False  # what was removed need not be chosen any more
        self._kept = chosen if gone and (self.keep or chosen is self._kept) else None
        if self._kept is not None:
            self._layers.insert(0, self._kept)
        self.clear()
        self.addItems([*self._none, *(layer.name for layer in self._layers)])
        if chosen not in self._layers and not self._none:
            chosen = next((layer for layer in self._layers if not _is_mask_image(layer)), None)
        if chosen in self._layers:
            self.choose(chosen)
        elif not self._none:
            self.setPlaceholderText("Choose…" if self._layers else "")
            self.setCurrentIndex(-1)
        self.blockSignals(False)
        self._announce()

    def _announce(self) -> None:
        layer = self.layer
        now = (layer, layer.name if layer is not None else "")
        if now != self._shown:
            before, self._shown = self._shown[0], now
            self.setToolTip(now[1])
            (self.renamed if layer is before else self.layer_changed).emit()

    def _on_activated(self) -> None:
        self.by_hand = True


def _is_mask_image(layer: Layer) -> bool:
    """Whether it is a mask that was opened as an image; labels are there to be masks."""
    return isinstance(layer, Image) and is_mask(layer)
