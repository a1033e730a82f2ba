"""The second dock: mark a lesion, and see how well the synthesised image agrees with the acquired one in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.notifications import show_error, show_info
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..errors import MrtransError
from ..lesion import LesionReport, box_around, lesion_report
from ..paths import write_together
from .layer_combo import LayerCombo
from .lesion_table import LesionTable
from .roi import image_on, roi_on
from .scatter import ScatterPlot
from .source import guess_layer_contrast, is_acquired, layer_stem, result_record, show_voxel

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: A stroke of the brush sends many events; this long after the last one, it is measured.
PAUSE_MS = 300
#: Voxels around the ROI that it is compared with.
RING = 3
#: Events of a ROI's layer after which it may be another: painted, drawn, or (undo, new data) drawn anew.
EDITS = ("labels_update", "data", "set_data")


def is_prediction(layer: Layer) -> bool:
    """True for the mean of a run."""
    return isinstance(layer, Image) and result_record(layer).get("kind") == "mean"


class LesionWidget(QWidget):
    """Correlation, contrast and spread inside a region of interest, anew whenever it is edited."""

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._watched: Layer | None = None
        self.report: LesionReport | None = None
        self.prediction = LayerCombo(napari_viewer, is_prediction)
        self.reference = LayerCombo(napari_viewer, is_acquired)
        self.roi = LayerCombo(napari_viewer, lambda layer: isinstance(layer, Labels | Shapes))
        self.button = QPushButton("Measure")
        self.message = QLabel()
        self.headline = QLabel()
        self.table = LesionTable()
        self.details = QLabel()
        self.plot = ScatterPlot()
        self.copy = QPushButton("Copy CSV")
        self.save = QPushButton("Save CSV…")
        self._results = QWidget()
        self._build()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.measure)
        self.prediction.layer_changed.connect(self._suggest_reference)
        for combo in (self.prediction, self.reference, self.roi):
            combo.layer_changed.connect(self._on_choice)
        napari_viewer.layers.events.inserted.connect(self._suggest_reference, position="last")
        self.button.clicked.connect(self.measure)
        self.plot.point_clicked.connect(self._show_point)
        self.table.lesion_clicked.connect(self._show)
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._save)
        self._suggest_reference()
        self._on_choice()

    def _build(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Prediction", self.prediction)
        rows.addRow("Reference", self.reference)
        rows.addRow("ROI", self.roi)
        font = self.headline.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self.headline.setFont(font)
        for label in (self.message, self.headline, self.details):
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
        note = QLabel("Research use only. Not for diagnosis.")
        note.setEnabled(False)
        self.button.setMinimumHeight(32)
        column = QVBoxLayout(self)
        column.setSpacing(8)
        column.addLayout(rows)
        column.addWidget(self.button)
        column.addWidget(self.message)
        column.addWidget(self._results)
        column.addStretch(1)
        column.addWidget(note)
        self.setMinimumWidth(340)

    def measure(self) -> None:
        """Compare the chosen layers as they are now; what stands in the way is told in one line."""
        if not isalive(self):
            return
        self._timer.stop()
        prediction, reference, roi = self.prediction.layer, self.reference.layer, self.roi.layer
        if prediction is None or reference is None or roi is None:
            self._show_report(None, self._hint())
            return
        try:
            report = self._measured(prediction, reference, roi)
        except MrtransError as error:
            self._show_report(None, str(error))
        else:
            if report != self.report:  # scrolling, too, looks like an edit: a point that is marked stays so
                self._show_report(report, self._doubt())

    def _measured(self, prediction: Image, reference: Image, roi: Labels | Shapes) -> LesionReport:
        mask = roi_on(roi, prediction)
        box = box_around(mask, RING)
        target = image_on(reference, prediction, box)
        if mask.any() and not np.isfinite(target[mask]).any():
            raise MrtransError(f"The ROI does not overlap '{reference.name}'.")
        source = self._source_of(prediction)
        return lesion_report(
            np.asarray(prediction.data),
            target,
            mask,
            std=next((layer.data for layer in self._of_same_run(prediction, "std")), None),
            samples=self._samples_of(prediction),
            source=None if source is None else image_on(source, prediction, box),
            ring=RING,
        )

    def _of_same_run(self, prediction: Image, kind: str) -> Iterator[Image]:
        run = result_record(prediction).get("run")
        for layer in self._viewer.layers:
            record = result_record(layer)
            if run and (record.get("run"), record.get("kind")) == (run, kind):
                yield layer

    def _samples_of(self, prediction: Image) -> Iterator[NDArray]:
        for layer in self._of_same_run(prediction, "samples"):
            yield from layer.data if layer.ndim == 4 else [layer.data]

    def _source_of(self, prediction: Image) -> Image | None:
        name = result_record(prediction).get("input")
        shape = prediction.data.shape
        for layer in self._viewer.layers:
            if is_acquired(layer) and layer_stem(layer) == name and layer.data.shape == shape:
                return layer
        return None

    def _show_report(self, report: LesionReport | None, message: str) -> None:
        self.report = report
        self.message.setText(message)
        self.message.setVisible(bool(message))
        self._results.setVisible(report is not None)
        if report is not None:
            headline, *details = report.lines()
            self.headline.setText(headline)
            self.details.setText("\n".join(details))
            self.table.show_report(report)
            self.plot.set_points(report.values[:, ::-1])

    def _hint(self) -> str:
        if self.prediction.layer is None:
            return "Transform an image first: its mean is compared with an acquired image."
        if self.reference.layer is None:
            return "Open the acquired image that the prediction is to be compared with."
        if self.roi.layer is None:
            return "Add a Labels or Shapes layer and mark the lesion in it."
        return "Mark the lesion in the ROI layer, or press Measure."

    def _doubt(self) -> str:
        """A remark where the reference seems to be another contrast than the prediction."""
        prediction, reference = self.prediction.layer, self.reference.layer
        assert prediction is not None and reference is not None
        made, shown = guess_layer_contrast(prediction), guess_layer_contrast(reference)
        return "" if shown in (made, None) else f"'{reference.name}' seems to be {shown}; the prediction is {made}."

    def _on_choice(self) -> None:
        """Another layer: forget the figures, and follow the edits of the ROI that is chosen now."""
        roi = self.roi.layer
        if roi is not self._watched:
            self._watch(self._watched, False)
            self._watch(roi, True)
            self._watched = roi
        self._timer.stop()
        self._show_report(None, self._hint())

    def _watch(self, layer: Layer | None, on: bool) -> None:
        for name in EDITS:
            if layer is not None and hasattr(layer.events, name):
                emitter = getattr(layer.events, name)
                (emitter.connect if on else emitter.disconnect)(self._on_edit)

    def _on_edit(self, event: Any = None) -> None:
        if isalive(self):
            self._timer.start()

    def _suggest_reference(self, event: Any = None) -> None:
        """Choose the newest image of the prediction's contrast, unless one of that contrast is chosen."""
        if not isalive(self) or self.prediction.layer is None:
            return
        made, reference = guess_layer_contrast(self.prediction.layer), self.reference.layer
        if reference is not None and guess_layer_contrast(reference) == made:
            return
        for layer in self.reference.layers:
            if guess_layer_contrast(layer) == made:
                self.reference.choose(layer)

    def _show_point(self, index: int) -> None:
        if self.report is not None:
            self._show(self.report.voxels[index])

    def _show(self, voxel: NDArray[np.number]) -> None:
        if self.prediction.layer is not None:
            show_voxel(self._viewer, self.prediction.layer, voxel)

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if self.report is not None and clipboard is not None:
            clipboard.setText(self.report.csv())
            show_info("Copied.")

    def _save(self) -> None:
        if self.report is None or self.prediction.layer is None:
            return
        table = self.report.csv()
        suggested = f"{layer_stem(self.prediction.layer)}_lesions.csv"
        chosen, _ = QFileDialog.getSaveFileName(self, "Save CSV", suggested, "Comma-separated values (*.csv)")
        if not chosen:
            return
        path = Path(chosen)
        try:
            write_together(path.parent, {path.name: table}, "Choose another folder.")
        except MrtransError as error:
            show_error(str(error))
