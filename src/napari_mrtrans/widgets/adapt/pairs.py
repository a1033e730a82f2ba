"""The part of the form where pairs of open images are chosen: source and target of one person each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QListWidget, QPushButton, QWidget

from ...scan.contrasts import Contrast, Pair
from ..layer_combo import LayerCombo
from ..source import guess_layer_contrast, is_acquired
from ..who import entities
from .scans import LayerPair

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

ROWS_HIGH = 74


class _Side(QWidget):
    """An image and its contrast.

    Signals:
        changed: Another image, or another contrast.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, what: str) -> None:
        super().__init__()
        self.image = LayerCombo(viewer, is_acquired)
        self.image.setAccessibleName(f"{what} image")
        self.contrast = QComboBox()
        self.contrast.setAccessibleName(f"Contrast of the {what.lower()} image")
        self.contrast.setToolTip("Guessed from the layer or file name. Correct it if it is wrong.")
        self.contrast.setPlaceholderText("Contrast…")
        self.contrast.addItems([contrast.value for contrast in Contrast])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.image, 1)
        row.addWidget(self.contrast)
        self._guessed_for: Image | None = None
        self._said: WeakKeyDictionary[Image, Contrast] = WeakKeyDictionary()
        self.image.layer_changed.connect(self._on_image)
        self.image.renamed.connect(self._on_image)
        self.contrast.currentIndexChanged.connect(self._on_said)
        self._on_image()

    @property
    def shown(self) -> Contrast | None:
        """What the image shows; None while that is not known."""
        return Contrast(text) if (text := self.contrast.currentText()) else None

    def _on_image(self) -> None:
        if not isalive(self):
            return
        layer = self.image.layer
        if layer is not None and layer is not self._guessed_for:
            guess = self._said.get(layer) or guess_layer_contrast(layer)
            self.contrast.blockSignals(True)
            self.contrast.setCurrentIndex(-1 if guess is None else self.contrast.findText(guess.value))
            self.contrast.blockSignals(False)
        self._guessed_for = layer
        self.changed.emit()

    def _on_said(self) -> None:
        """Another contrast was chosen: that counts for this image from now on."""
        if isalive(self) and self.image.layer is not None and self.shown is not None:
            self._said[self.image.layer] = self.shown
        self.changed.emit()


class LayerPairs(QWidget):
    """Choose a pair; with *Add*, pairs of more people. Where none was added, the one that is chosen counts.

    Signals:
        changed: Other pairs are chosen.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._added: list[LayerPair] = []
        self.source, self.target = _Side(viewer, "Source"), _Side(viewer, "Target")
        self.add, self.remove = QPushButton("Add this pair"), QPushButton("Remove")
        self.add.setToolTip("For pairs of more people, or of more contrasts of one person.")
        self.list = QListWidget()
        self.list.setFixedHeight(ROWS_HIGH)
        self.list.setAccessibleName("Pairs to learn from")
        buttons = QHBoxLayout()
        buttons.addWidget(self.add)
        buttons.addWidget(self.remove)
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Source", self.source)
        rows.addRow("Target", self.target)
        rows.addRow(buttons)
        rows.addRow(self.list)
        self.source.changed.connect(self._suggest)
        self.target.changed.connect(self._on_choice)
        self.add.clicked.connect(self._on_add)
        self.remove.clicked.connect(self._on_remove)
        self.list.currentRowChanged.connect(self._show)
        viewer.layers.events.inserted.connect(self._suggest, position="last")
        viewer.layers.events.removed.connect(self._on_layers)
        self._suggest()

    @property
    def pairs(self) -> list[LayerPair]:
        """All that are learned from."""
        one = self._chosen()
        return list(self._added) or ([one] if one is not None else [])

    @property
    def problem(self) -> str:
        """What keeps these from being learned from, in a line; empty where nothing does."""
        if self._added:
            return next((line for pair in self._added if (line := pair.problem())), "")
        return self._problem_of_choice()

    def _problem_of_choice(self) -> str:
        sides = (self.source, self.target)
        if any(side.image.layer is None for side in sides):
            return "Open two images of one person: the contrast you have, and the one you want."
        one = self._chosen()
        if one is not None:
            return one.problem()
        if len(self.source.image.layers) == 1:
            return "Open a second image of this person: the contrast that you want to get."
        if self.source.image.layer is self.target.image.layer:
            return "Source and target are the same image; choose the acquired target."
        for side in sides:
            if side.shown is None and side.image.layer is not None:
                return f"Which contrast is '{side.image.layer.name}'? Choose it beside it."
        return f"Source and target are both {self.source.shown}; correct the contrast, or choose another image."

    def _chosen(self) -> LayerPair | None:
        first, second = self.source, self.target
        if first.image.layer is None or second.image.layer is None or first.shown is None or second.shown is None:
            return None
        if first.shown == second.shown:
            return None
        return LayerPair(first.image.layer, second.image.layer, Pair(first.shown, second.shown))

    def _suggest(self, event: Any = None) -> None:
        """Another contrast of the same person as the source, until the user has chosen a target for himself."""
        if not isalive(self):
            return
        source = self.source.image.layer
        if source is not None and not self.target.image.by_hand:
            others = [
                layer
                for layer in self.target.image.layers
                if layer is not source and guess_layer_contrast(layer) not in (None, self.source.shown)
            ]
            same = [layer for layer in others if entities(layer) == entities(source)]
            rest = [layer for layer in self.target.image.layers if layer is not source]
            if suited := same or others or rest:
                self.target.image.choose(suited[0])
        self._on_choice()

    def _on_choice(self) -> None:
        if isalive(self):
            self._show()
            self.changed.emit()

    def _on_layers(self, event: Any = None) -> None:
        if not isalive(self):
            return
        self._added = [pair for pair in self._added if {pair.source, pair.target} <= set(self._viewer.layers)]
        self._fill()

    def _on_add(self) -> None:
        one = self._chosen()
        if one is not None and not one.problem():
            self._added.append(one)
            self.target.image.by_hand = False
            self._fill()

    def _on_remove(self) -> None:
        if 0 <= self.list.currentRow() < len(self._added):
            del self._added[self.list.currentRow()]
            self._fill()

    def _fill(self) -> None:
        self.list.clear()
        for pair in self._added:
            self.list.addItem(f"{pair}  ({pair.pair})")
        self._on_choice()

    def _show(self, event: Any = None) -> None:
        one = self._chosen()
        known = any((pair.source, pair.target) == (one.source, one.target) for pair in self._added) if one else False
        self.add.setEnabled(one is not None and not one.problem() and not known)
        self.remove.setEnabled(0 <= self.list.currentRow() < len(self._added))
        self.list.setVisible(bool(self._added))
        self.remove.setVisible(bool(self._added))
