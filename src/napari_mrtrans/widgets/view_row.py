"""The rows of a form about axial slices: which axis they lie along, and whether the viewer shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QWidget

from .assumed import AXIAL_KEY, assumed_axis
from .placement import lying_there, place_of
from .recorded import recorded_affine
from .source import RESULT_KEY, nifti_affine, plane_in_view, show_axial

if TYPE_CHECKING:
    from napari.components import ViewerModel

_ORDINALS = ("First", "Second", "Third")
_PLAIN = "This image has no affine that tells. Models transform axial slices."
_CUT = (
    "This image has other voxels than its file, whose affine is not its own. Models transform axial slices. To keep "
    "its place in the scanner, save it as a file while the whole image is open, and open that."
)


class _Note(QLabel):
    """Wrapped text that is shown whole: a form gives a row with a button beside the text less height than it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self.setMinimumHeight(self.heightForWidth(self.width()))


class ViewRow(QObject):
    """Says where a view is not axial, with a button that shows it so; asks an array without an affine for its axis.

    Signals:
        axis_chosen: The user has said which axis is axial.
    """

    axis_chosen = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Image | None = None
        self._one_slice = False
        self.axis = QComboBox()
        self._axis_label = QLabel("Axial axis")
        self._axis_label.setBuddy(self.axis)
        self.note = _Note()
        self.button = QPushButton("Show axial")
        self.button.setToolTip(
            "Order the viewer's axes so that its slider moves through axial slices: anterior up, the patient's left on "
            "the right. In the view as it is, one computed slice is a line."
        )
        self.warning = QWidget()
        line = QHBoxLayout(self.warning)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.note, 1)
        line.addWidget(self.button)
        self.axis.activated.connect(self._on_axis)
        self.button.clicked.connect(self._on_button)
        for event in (viewer.dims.events.order, viewer.dims.events.ndisplay):
            event.connect(self._refresh)
        viewer.layers.events.inserted.connect(self._on_inserted)
        self._refresh()

    def add_axis_row(self, rows: QFormLayout) -> None:
        """Put the choice of the axis into a form."""
        rows.addRow(self._axis_label, self.axis)

    def show_layer(self, layer: Image | None, *, one_slice: bool) -> None:
        """It is about this layer, 3-D, or none; ``one_slice``: only what is on screen is computed."""
        self._layer, self._one_slice = layer, one_slice
        self._refresh()

    def _on_axis(self) -> None:
        if self._layer is not None:
            for layer in {self._layer, *self._lying_on(self._layer)}:
                layer.metadata[AXIAL_KEY] = self.axis.currentIndex()
            self._refresh()
            self.axis_chosen.emit()

    def _on_inserted(self, event: Any) -> None:
        """What is said of an image holds for all that is drawn on it and lies on it."""
        layer = event.value
        if not isalive(self.axis) or not isinstance(layer, Image | Labels):
            return
        there = self._lying_on(layer)
        told = [one.metadata[AXIAL_KEY] for one in there if AXIAL_KEY in one.metadata]
        if layer in there and told:
            layer.metadata.setdefault(AXIAL_KEY, told[0])
            self._refresh()

    def _lying_on(self, layer: Image | Labels) -> list[Layer]:
        """The layers in a layer's place without an affine, but for results: their axis is that of their making."""
        there = lying_there(layer.data.shape, place_of(layer), self._viewer.layers)
        return [one for one in there if nifti_affine(one) is None and RESULT_KEY not in one.metadata]

    def _on_button(self) -> None:
        if self._layer is not None:
            show_axial(self._viewer, self._layer)

    def _refresh(self, event: Any = None) -> None:
        if not isalive(self.axis):
            return
        layer = self._layer if self._layer in self._viewer.layers else None
        unknown = layer is not None and nifti_affine(layer) is None
        self.axis.setVisible(unknown)
        self._axis_label.setVisible(unknown)
        if layer is not None and unknown:
            self.axis.setToolTip(_PLAIN if recorded_affine(layer.metadata) is None else _CUT)
            self.axis.clear()
            names = (f"{_ORDINALS[axis]} ({size} slices)" for axis, size in enumerate(layer.data.shape))
            self.axis.addItems(list(names))
            self.axis.setCurrentIndex(assumed_axis(layer.metadata))
        plane = "axial" if layer is None else plane_in_view(self._viewer, layer)
        self.warning.setVisible(self._one_slice and plane in ("coronal", "sagittal"))
        self.note.setText(f"This view is {plane}; slices are computed axial.")
