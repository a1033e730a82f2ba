"""What a run covers: all slices, one, a slab, those of a region of interest, or the region alone."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from ...errors import MrtransError
from ...wording import plural
from ..layer_combo import LayerCombo
from ..lesion.roi import roi_on
from ..placement import drawn_on
from ..source import axial_axis, is_region, layer_affine, slice_on_screen, slider_numbers
from ..watch import EDITS, MOVES, Watch, fingerprint, pause_before, place

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: The slab that is offered first: so many slices before and after the one on screen.
HALF_SLAB = 5
_WIDEST = 100_000


class SliceRange(StrEnum):
    """Which axial slices a run covers, or which voxels of them."""

    ALL = "All slices"
    CURRENT = "This slice"
    FOLLOW = "Follow the slider"
    SLAB = "A slab"
    ROI_SLICES = "Slices of a ROI"
    ROI = "ROI only"

    @property
    def of_roi(self) -> bool:
        """A region of interest must be chosen for it."""
        return self in (SliceRange.ROI_SLICES, SliceRange.ROI)


class Extent(QWidget):
    """The row that belongs to a :class:`SliceRange`: first and last slice, or the layer of the region.

    Slices bear the numbers of the viewer's slider.

    Args:
        viewer: Whose layers and sliders.
        parent: The widget around it.

    Signals:
        changed: Another slab or region is chosen, or whether it can be used is another.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._kind = SliceRange.ALL
        self._layer: Image | None = None
        self._slab: tuple[int, int] | None = None
        self._slab_of: tuple[Image, int] | None = None
        self._region: NDArray[np.bool_] | None = None
        self._trouble = ""
        self._seen: tuple[object, ...] = ()
        self.first, self.last = QSpinBox(), QSpinBox()
        self.roi = LayerCombo(viewer, is_region)
        self.new = QPushButton("Paint…")
        self.count = QLabel()
        self._slab_row, self._roi_row = QWidget(), QWidget()
        self._build()
        self._pause = pause_before(self._look_again, self)
        self._roi_edits = Watch(self._on_edit, [*EDITS, *MOVES])
        self._image_edits = Watch(self._on_edit, ["data", *MOVES])
        for box in (self.first, self.last):
            box.valueChanged.connect(self._on_numbers)
        self.roi.layer_changed.connect(self._on_roi)
        self.roi.renamed.connect(self._on_renamed)
        self.new.clicked.connect(self._add_labels)
        viewer.dims.events.range.connect(self._show_numbers)
        self.show_range(SliceRange.ALL, None)

    def _build(self) -> None:
        for box, name in ((self.first, "First slice"), (self.last, "Last slice")):
            box.setRange(-_WIDEST, _WIDEST)
            box.setAccessibleName(name)
            box.setToolTip(f"{name} of the slab, in the numbers of the viewer's slider.")
        self.roi.setAccessibleName("ROI")
        self.roi.setToolTip("The Labels or Shapes layer in which the region is marked; any grid.")
        self.new.setToolTip("Add a Labels layer on the voxels of this image, and paint the region in it.")
        slab = QHBoxLayout(self._slab_row)
        slab.addWidget(self.first, 1)
        slab.addWidget(QLabel("to"))
        slab.addWidget(self.last, 1)
        roi = QHBoxLayout(self._roi_row)
        roi.addWidget(self.roi, 1)
        roi.addWidget(self.new)
        column = QVBoxLayout(self)
        for layout in (slab, roi, column):
            layout.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for widget in (self._slab_row, self._roi_row, self.count):
            column.addWidget(widget)

    def show_range(self, kind: SliceRange, layer: Image | None) -> None:
        """It is about this range of this layer, one 3-D image, or none."""
        self._kind, self._layer = kind, layer
        if kind is SliceRange.SLAB and layer is not None:
            before, self._slab_of = self._slab_of, (layer, self._axis)
            if self._slab is None:
                middle, count = slice_on_screen(self._viewer, layer, self._axis), self._count
                self._slab = max(middle - HALF_SLAB, 0), min(middle + HALF_SLAB, count - 1)
                self._show_numbers()
            elif before != self._slab_of:
                self._slab = self._index(self.first.value()), self._index(self.last.value())
        self._slab_row.setVisible(kind is SliceRange.SLAB)
        self._roi_row.setVisible(kind.of_roi)
        self.setVisible(kind is SliceRange.SLAB or kind.of_roi)
        self._watch()
        self._look()

    @property
    def problem(self) -> str:
        """Why this cannot be computed, in one line; empty where it can."""
        if self._layer is None:
            return ""
        if self._kind is SliceRange.SLAB and self._slab is not None:
            low, high = sorted(self._slab)
            if low < 0 or high >= self._count:
                ends = sorted(slider_numbers(self._viewer, self._layer, self._axis))
                asked = sorted((self.first.value(), self.last.value()))
                return (
                    f"The slab from {asked[0]} to {asked[1]} is not within '{self._layer.name}', whose slices are "
                    f"{ends[0]} to {ends[1]}. Choose others above."
                )
        return self._trouble if self._kind.of_roi else ""

    @property
    def slices(self) -> tuple[int, int] | None:
        """First and past-last index along the axial axis, where a slab is chosen."""
        if self._kind is not SliceRange.SLAB or self._slab is None:
            return None
        low, high = sorted(self._slab)
        return low, high + 1

    def region(self) -> NDArray[np.bool_] | None:
        """The region on the voxels of the image as it is marked and lies now, where one is chosen.

        Raises:
            MrtransError: it cannot be used.
        """
        if not self._kind.of_roi:
            return None
        self._look()
        if self._trouble:
            raise MrtransError(self._trouble)
        return self._region

    @property
    def _axis(self) -> int:
        assert self._layer is not None
        return axial_axis(layer_affine(self._layer))

    @property
    def _count(self) -> int:
        assert self._layer is not None
        return int(self._layer.data.shape[self._axis])

    def _index(self, number: int) -> int:
        """Of the slice that the slider calls ``number``, also where there is none."""
        assert self._layer is not None
        first, last = slider_numbers(self._viewer, self._layer, self._axis)
        step = (last - first) / max(self._count - 1, 1) or 1.0
        return round((number - first) / step)

    def _show_numbers(self, event: Any = None) -> None:
        """Write the slab in the numbers of the slider, which are others once another image is open."""
        if not isalive(self) or self._slab is None or self._layer is None or self._layer not in self._viewer.layers:
            return
        first, last = slider_numbers(self._viewer, self._layer, self._axis)
        step = (last - first) / max(self._count - 1, 1)
        numbers = sorted(round(first + step * index) for index in self._slab)
        for box, number in zip((self.first, self.last), numbers, strict=True):
            box.blockSignals(True)
            box.setValue(number)
            box.blockSignals(False)
        self._tell()

    def _on_numbers(self) -> None:
        if self._layer is not None:
            self._slab = self._index(self.first.value()), self._index(self.last.value())
            self._tell()
            self.changed.emit()

    def _on_roi(self) -> None:
        if isalive(self) and self._kind.of_roi:
            self._watch()
            self._look()
            self.changed.emit()

    def _on_renamed(self) -> None:
        """What stands in the way names the region."""
        if self._trouble:
            self._on_roi()

    def _watch(self) -> None:
        """Follow what is done to image and region, where there is one."""
        self._roi_edits.follow(self.roi.layer if self._kind.of_roi else None)
        self._image_edits.follow(self._layer if self._kind.of_roi else None)

    def _on_edit(self, event: Any = None) -> None:
        if isalive(self):
            self._pause.start()

    def _look_again(self) -> None:
        """Only where something is another: scrolling, too, looks like an edit."""
        if self._state() == self._seen:
            return
        before = self._trouble
        self._look()
        if self._trouble != before:
            self.changed.emit()

    def _look(self) -> None:
        """Bring the region onto the voxels of the image, or find out why that cannot be."""
        self._pause.stop()
        self._region, self._trouble = None, ""
        roi, layer = self.roi.layer, self._layer
        self._seen = self._state()
        if self._kind.of_roi and layer is not None:
            if roi is None:
                self._trouble = "There is no Labels or Shapes layer with a ROI. Press Paint…, or add one."
            else:
                self._trouble = self._mark(roi, layer)
        self._tell()

    def _state(self) -> tuple[object, ...]:
        """Region and image, in brief."""
        layer = self._layer if self._kind.of_roi else None
        return () if layer is None else (*fingerprint(self.roi.layer), layer.data.shape, *place(layer))

    def _mark(self, roi: Labels | Shapes, layer: Image) -> str:
        try:
            region = roi_on(roi, layer, self._viewer.layers)
        except MrtransError as error:
            return str(error)
        if not region.any():
            return f"Nothing is marked in '{roi.name}' yet. Paint or draw the ROI in it."
        self._region = region
        return ""

    def _tell(self) -> None:
        """How much it is."""
        text = ""
        if self._kind is SliceRange.SLAB and self._slab is not None and not self.problem:
            low, high = sorted(self._slab)
            text = plural(high - low + 1, "slice")
        elif self._region is not None:
            across = tuple(axis for axis in range(3) if axis != self._axis)
            touched = int(self._region.any(axis=across).sum())
            text = f"{plural(int(self._region.sum()), 'voxel')} in {plural(touched, 'slice')}"
        self.count.setText(text)
        self.count.setVisible(bool(text))

    def _add_labels(self) -> None:
        layer = self._layer
        if layer is None:
            return
        labels = Labels(np.zeros(layer.data.shape, np.uint8), name=f"{layer.name} ROI", **drawn_on(layer))
        self._viewer.add_layer(labels)
        labels.mode = "paint"
        self.roi.choose(labels)
