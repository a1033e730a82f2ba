"""The second dock: mark a lesion, and see how well the synthesised image agrees with the acquired one in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...errors import MrtransError
from ...lesion.computed import lines_beside
from ...lesion.measure import RING
from ...lesion.report import LesionReport
from ..compare.reference_combo import ReferenceCombo
from ..csv_buttons import CsvButtons
from ..dock import Dock, research_note
from ..layer_combo import LayerCombo
from ..source import guess_layer_contrast, is_region, layer_stem, show_voxel
from ..watch import EDITS, MOVES, Watch, fingerprint, pause_before
from .latest import Measured, changes, remember
from .measure import in_file, labels_from_file, measured
from .prediction_combo import PredictionCombo
from .scatter import ScatterPlot
from .table import LesionTable

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LesionWidget(Dock):
    """Correlation, contrast and spread inside a region of interest, anew whenever it is edited."""

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.report: LesionReport | None = None
        self.prediction = PredictionCombo(napari_viewer)
        self.reference = ReferenceCombo(napari_viewer, "None (no correlation)")
        self.roi = LayerCombo(napari_viewer, is_region)
        self.roi.setAccessibleName("ROI")
        self.open_file = QPushButton("File…")
        self.open_file.setToolTip("Mark what a mask file (NIfTI, above 0 = inside) marks, on the prediction's voxels.")
        self.button = QPushButton("Measure")
        self.headline = QLabel()
        self.table = LesionTable()
        self.details = QLabel()
        self.plot = ScatterPlot()
        self._csv = CsvButtons(self._file, self)
        self.copy, self.save = self._csv.copy, self._csv.save
        self._results = QWidget()
        self._told: WeakKeyDictionary[Layer, list[str]] = WeakKeyDictionary()
        self._region: tuple[object, ...] = ()
        self._images: tuple[object, ...] | None = None
        self._build()
        self._timer = pause_before(self._look_again, self)
        self._roi_edits = Watch(self._on_edit, [*EDITS, *MOVES])
        self._reference_edits = Watch(self._on_image_edit, ["data", "set_data", *MOVES])
        self._prediction_edits = Watch(self._on_image_edit, ["data", *MOVES])  # set_data with each slice that comes
        self.prediction.layer_changed.connect(self._suggest_reference)
        self.prediction.renamed.connect(self._suggest_reference)
        for combo in (self.prediction, self.reference, self.roi):
            combo.layer_changed.connect(self._on_choice)
        for event in (napari_viewer.layers.events.inserted, napari_viewer.layers.events.renamed):
            event.connect(self._suggest_reference, position="last")
        changes.completed.connect(self._on_completed)
        changes.forgotten.connect(self._on_forgotten)
        self.button.clicked.connect(self.measure)
        self.open_file.clicked.connect(self._open_mask)
        self.plot.point_clicked.connect(self._show_point)
        self.table.lesion_clicked.connect(self._show)
        self._suggest_reference()
        self._on_choice()

    def _build(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Prediction", self.prediction)
        rows.addRow("Reference", self.reference)
        roi = QHBoxLayout()
        roi.addWidget(self.roi, 1)
        roi.addWidget(self.open_file)
        rows.addRow("ROI", roi)
        font = self.headline.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self.headline.setFont(font)
        for label in (self.headline, self.details):
            label.setWordWrap(True)
        self.details.setToolTip(
            f"Contrast-to-noise ratio: mean of the ROI minus mean of the {RING} voxels around it, over the standard "
            "deviation of those. Positive = brighter than its surround."
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy)
        buttons.addWidget(self.save)
        results = QVBoxLayout(self._results)
        results.setContentsMargins(0, 0, 0, 0)
        for widget in (self.headline, self.table, self.details, self.plot):
            results.addWidget(widget)
        results.addLayout(buttons)
        self.button.setMinimumHeight(32)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addLayout(rows)
        column.addWidget(self.button)
        column.addWidget(self.message)
        column.addWidget(self._results)
        column.addStretch(1)
        column.addWidget(research_note())
        self._scroll(column, 340)

    def measure(self) -> None:
        """Compare the chosen layers as they are now; what stands in the way is told in one line."""
        if not isalive(self):
            return
        self._timer.stop()
        prediction, reference, roi = self.prediction.layer, self.reference.layer, self.roi.layer
        self._region, self._images = fingerprint(roi), self._look_at_images()
        if prediction is None or roi is None:
            self._show_report(None, self._hint())
            return
        try:
            report, notes = measured(self._viewer, prediction, reference, roi)
        except MrtransError as error:
            remember(prediction, None)
            self._show_report(None, str(error))
        else:
            remember(prediction, Measured.of(report, reference, roi))
            message = "\n".join([*self._doubt(), *notes, *self._told.get(roi, [])])
            if report != self.report:
                self._show_report(report, message)
            else:  # a point that is marked stays so
                self._say(message)

    def _show_report(self, report: LesionReport | None, message: str) -> None:
        self.report = report
        self._say(message)
        self._results.setVisible(report is not None)
        if report is not None:
            headline, *details = lines_beside(message, report)
            self.headline.setText(headline)
            self.details.setText("\n".join(details))
            self.table.show_report(report)
            self.plot.setVisible(report.r is not None)
            self.plot.set_points(report.values[:, ::-1] if report.r is not None else np.empty((0, 2)))

    def _hint(self) -> str:
        if self.prediction.layer is None:
            return "Transform an image first, or choose what is to be compared with an acquired image."
        if self.roi.layer is None:
            return "Add a Labels or Shapes layer and mark the lesion in it."
        return "Mark the lesion in the ROI layer, or press Measure."

    def _doubt(self) -> list[str]:
        """A remark where the reference seems to be another contrast than the prediction."""
        prediction, reference = self.prediction.layer, self.reference.layer
        if prediction is None or reference is None:
            return []
        made, shown = guess_layer_contrast(prediction), guess_layer_contrast(reference)
        if made is None or shown in (made, None):
            return []
        return [f"'{reference.name}' seems to be {shown}; the prediction is {made}."]

    def _on_choice(self) -> None:
        """Another layer: forget the figures, and follow what is done to those that are chosen now."""
        self._roi_edits.follow(self.roi.layer)
        self._reference_edits.follow(self.reference.layer)
        self._prediction_edits.follow(self.prediction.layer)
        self._region, self._images = fingerprint(self.roi.layer), None
        self._timer.stop()
        self._show_report(None, self._hint())

    def _look_at_images(self) -> tuple[object, ...]:
        return fingerprint(self.prediction.layer), fingerprint(self.reference.layer)

    def _look_again(self) -> None:
        """Measure if something is another: scrolling, too, looks like an edit."""
        if not isalive(self):
            return
        marked = fingerprint(self.roi.layer) != self._region
        if marked or (self._images is not None and self._look_at_images() != self._images):
            self.measure()

    def _on_edit(self, event: Any = None) -> None:
        if isalive(self):
            self._timer.start()

    def _on_image_edit(self, event: Any = None) -> None:
        """An image was moved, or is another: figures that stand there are measured anew."""
        if isalive(self) and self.report is not None:
            self._timer.start()

    def _on_forgotten(self, prediction: Layer) -> None:
        """It is being filled with what another model, or other settings, make."""
        line = f"'{prediction.name}' is made anew with other settings. Press Measure again."
        if isalive(self) and prediction is self.prediction.layer and self.report is not None:
            self._timer.stop()
            self._images = None
            self._show_report(None, line)

    def _on_completed(self, prediction: Layer) -> None:
        if isalive(self) and prediction is self.prediction.layer and self.report is not None:
            self.measure()

    def _suggest_reference(self, event: Any = None) -> None:
        made = guess_layer_contrast(self.prediction.layer) if isalive(self) and self.prediction.layer else None
        if made is not None:
            self.reference.suggest(made, of=self.prediction.layer)

    def _open_mask(self) -> None:
        prediction = self.prediction.layer
        if prediction is None:
            self._show_report(None, self._hint())
            return
        chosen, _ = QFileDialog.getOpenFileName(self, "Open a mask", "", "NIfTI (*.nii *.nii.gz)")
        if not chosen:
            return
        try:
            layer, notes = labels_from_file(Path(chosen), prediction)
        except MrtransError as error:
            self._show_report(None, str(error))
            return
        self._told[layer] = notes
        self._viewer.add_layer(layer)
        self.roi.choose(layer)
        self.measure()

    def _show_point(self, index: int) -> None:
        if self.report is not None:
            self._show(self.report.voxels[index])

    def _show(self, voxel: NDArray[np.number]) -> None:
        if self.prediction.layer is not None:
            show_voxel(self._viewer, self.prediction.layer, voxel)

    def _file(self) -> tuple[str, str] | None:
        prediction = self.prediction.layer
        if self.report is None or prediction is None:
            return None
        return f"{layer_stem(prediction)}_lesions.csv", in_file(self.report, prediction).csv()
