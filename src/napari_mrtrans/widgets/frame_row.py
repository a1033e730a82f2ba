"""A row of a form: which frame of a 4-D image is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from napari.layers import Image, Layer
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QSpinBox, QWidget

from ..scan.masked import unmasked
from .recorded import of_four_axes, recorded_affine

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: The frames taken so far, by their image: the only one of an image is taken without being asked for, but once.
_taken: WeakKeyDictionary[Layer, WeakSet[Layer]] = WeakKeyDictionary()


def frame_axis(layer: Layer) -> int | None:
    """The axis of a 4-D scalar image along which its frames lie: last in a file, else first, also in a stack that
    napari makes of files; None for others."""
    if not isinstance(layer, Image) or layer.rgb or layer.multiscale or layer.ndim != 4:
        return None
    if of_four_axes(layer.metadata):
        return 3
    if recorded_affine(layer.metadata) is not None:
        return 0
    return 3 if layer.data.shape[3] == 1 < layer.data.shape[0] else 0


def frame_of(layer: Image, axis: int, index: int) -> Image:
    """Frame ``index`` of a 4-D image as a 3-D one, where it lies."""
    kept = [other for other in range(4) if other != axis]
    shear = np.asarray(layer.shear)
    if shear.ndim == 1:  # of a triangular matrix
        upper, shear = shear, np.eye(4)
        shear[np.triu_indices(4, 1)] = upper
    metadata: dict[str, Any] = dict(layer.metadata)
    recorded: Any = metadata.get("affine")
    shape = np.shape(recorded)
    if shape == (5, 5):  # the reader's, for four axes; the header's is of the file, not of how it was turned
        metadata["affine"] = np.asarray(recorded)[np.ix_([0, 1, 2, 4], [0, 1, 2, 4])]
    elif "header" in metadata and shape != (4, 4):
        metadata["affine"] = metadata["header"].get_best_affine()
    return Image(
        unmasked(layer.data[(slice(None),) * axis + (index,)]),
        rgb=False,
        name=f"{layer.name} [frame {index}]",
        scale=np.asarray(layer.scale)[kept],
        translate=np.asarray(layer.translate)[kept],
        rotate=np.asarray(layer.rotate)[np.ix_(kept, kept)],
        shear=shear[np.ix_(kept, kept)],
        affine=layer.affine.affine_matrix[np.ix_([*kept, 4], [*kept, 4])],
        units=[layer.units[other] for other in kept],
        colormap=layer.colormap,
        metadata=metadata,
    )


class FrameRow(QObject):
    """Shown for 4-D images: takes one frame out, as a layer of its own; the only one there is, without being asked.

    Signals:
        taken: The new layer.
    """

    taken = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Image | None = None
        self._label = QLabel("Frame")
        self.number = QSpinBox()
        self._label.setBuddy(self.number)
        self.button = QPushButton("Take this frame")
        self.button.setToolTip("Adds the frame as a 3-D layer, which can be transformed.")
        self._row = QWidget()
        line = QHBoxLayout(self._row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.number, 1)
        line.addWidget(self.button)
        self.button.clicked.connect(self._take)

    def add_row(self, rows: QFormLayout) -> None:
        """Put it into a form."""
        rows.addRow(self._label, self._row)

    def show_layer(self, layer: Image | None) -> None:
        """It is about this layer; hidden where that has no frames."""
        axis = None if layer is None else frame_axis(layer)
        self._label.setVisible(axis is not None)
        self._row.setVisible(axis is not None)
        if layer is not None and axis is not None and layer is not self._layer:
            self.number.setRange(0, layer.data.shape[axis] - 1)
            # the one on screen
            step = self._viewer.dims.current_step[axis - layer.ndim]
            self.number.setValue(int(np.clip(step, 0, layer.data.shape[axis] - 1)))
            if layer.data.shape[axis] == 1:
                # not in the middle of the viewer's own insertion
                QTimer.singleShot(0, self._take_only)
        self._layer = layer

    def _take_only(self) -> None:
        """Once for each image, though several docks may show it."""
        image = self._layer if isalive(self) else None
        if image is None or image not in self._viewer.layers or frame_axis(image) is None:
            return
        if image not in _taken:
            self._take()
        elif there := [layer for layer in _taken[image] if layer in self._viewer.layers]:
            self.taken.emit(there[0])

    def _take(self) -> None:
        axis = None if self._layer is None else frame_axis(self._layer)
        if self._layer is not None and axis is not None:
            layer = frame_of(self._layer, axis, self.number.value())
            _taken.setdefault(self._layer, WeakSet()).add(layer)
            self._viewer.add_layer(layer)
            self._layer.visible = False
            self.taken.emit(layer)
