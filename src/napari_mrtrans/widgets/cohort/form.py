"""The form at the top of the dock: which scans, what is made of them, and where it goes."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from ...errors import MrtransError
from ...scan.contrasts import Contrast, Pair
from ...scan.nifti import is_nifti_name
from ...transformation.request import Request
from .. import choices
from ..model_combo import ModelCombo
from ..named_text import NamedText
from ..opening import READER
from ..pair_choice import refill
from ..pair_form import sample_box, seed_box
from ..path_row import PathRow
from ..placement import check_axial
from ..preferences import defaults
from ..source import LayerSource, check_layer, guess_layer_contrast
from ..three_planes_box import ThreePlanesBox
from .asked import Asked
from .layer_list import LayerList
from .look import look_later

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...checkpoints.checkpoint import Checkpoint


#: After the last key in the line of the folder, it is looked at.
SETTLE_MS = 300


class Origin(StrEnum):
    """Where the scans are."""

    FOLDER = "A folder"
    LAYERS = "Images in this window"


class CohortForm(QWidget):
    """Targets follow the contrast, models follow the pair.

    Signals:
        changed: Any choice changed; :attr:`problem` may have changed with it.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.origin, self.source, self.target, self.model = QComboBox(), QComboBox(), QComboBox(), ModelCombo()
        self.origin.addItems([str(origin) for origin in Origin])
        self.source.addItems([contrast.value for contrast in Contrast])
        self.source.setToolTip("Only scans of this contrast are transformed; files tell it by their names.")
        self.target.setToolTip("Only what an installed checkpoint can make from this contrast.")
        self.source.setAccessibleName("Contrast of the scans")
        self.target.setAccessibleName("Contrast to make")
        self.folder = PathRow("Folder of scans")
        self.folder.setToolTip("BIDS, or any folder: NIfTI files in it and below it whose names tell the contrast.")
        self.found = NamedText()
        self.layers = LayerList(viewer)
        self.samples, self.seed, self.three_planes = sample_box(), seed_box(), ThreePlanesBox()
        self.out = PathRow("Output folder")
        self.out.setToolTip("Mean, std and a report of each scan, a table and a page of all.")
        self.workers = QSpinBox()
        self.workers.setRange(1, os.cpu_count() or 1)
        self.workers.setToolTip(
            "1: in this window, one scan after the other. More: so many one-thread processes of Dask, several scans at "
            "a time; each takes about 2 GB."
        )
        self._suggested = ""
        self._build()
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._look)
        for changed in (self.folder.changed, self.source.currentIndexChanged):
            changed.connect(self._on_folder)
        self.folder.chosen.connect(self._settle.start)
        for combo, told in ((self.origin, self._on_origin), (self.source, self.reload), (self.target, self._on_pair)):
            combo.currentIndexChanged.connect(told)
        self.model.currentIndexChanged.connect(self._on_model)
        self.folder.changed.connect(self._on_scans)
        self.layers.changed.connect(self._on_layers)
        self.out.changed.connect(self.changed)
        self._on_origin()
        self.reload()

    def _build(self) -> None:
        rows = self._rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Scans", self.origin)
        rows.addRow("Folder", self.folder)
        rows.addRow("", self.found)
        rows.addRow("Images", self.layers)
        numbers = QHBoxLayout()
        numbers.addWidget(self.samples, 1)
        numbers.addSpacing(8)
        numbers.addWidget(QLabel("Seed"))
        numbers.addWidget(self.seed, 1)
        pair = QHBoxLayout()
        pair.addWidget(self.source, 1)
        pair.addWidget(QLabel("to"))
        pair.addWidget(self.target, 1)
        rows.addRow("Contrast", pair)
        rows.addRow("Model", self.model)
        rows.addRow("Samples", numbers)
        rows.addRow("", self.three_planes)
        rows.addRow("Output", self.out)
        if has_dask():
            rows.addRow("Workers", self.workers)
        else:
            self.workers.hide()

    @property
    def pair(self) -> Pair | None:
        """Source and target contrast."""
        source, target = self.source.currentText(), self.target.currentText()
        return Pair(Contrast(source), Contrast(target)) if source and target else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The chosen checkpoint."""
        return self.model.checkpoint

    @property
    def problem(self) -> str:
        """What keeps this from being run, in one line; empty where nothing does."""
        source = Contrast(self.source.currentText())
        if self._from_layers:
            if line := self._problem_of_layers(source):
                return line
        elif self.folder.path is None:
            return "Choose the folder of the scans."
        elif not self.folder.path.is_dir():
            return f"'{self.folder.path}' is no folder; choose another."
        if self.pair is None or self.checkpoint is None:
            return choices.no_target_line(source)
        return "" if self.out.path is not None else "Choose the output folder."

    def _problem_of_layers(self, source: Contrast) -> str:
        chosen = self.layers.chosen
        if not chosen:
            return "Open brain MR images, or tick one." if not self.layers.count() else "Tick at least one image."
        for layer in chosen:
            try:
                check_layer(layer)
            except MrtransError as error:
                return f"{error} Untick it."
            if (told := guess_layer_contrast(layer)) not in (None, source):
                return f"'{layer.name}' is {told}, not {source}; untick it, or choose another contrast."
        return ""

    def asked(self) -> Asked:
        """What the form says.

        Raises:
            MrtransError: it has a problem, or an image does not tell which of its axes is axial.
        """
        pair, checkpoint, out = self.pair, self.checkpoint, self.out.path
        if self.problem or pair is None or checkpoint is None or out is None:
            raise MrtransError(self.problem)
        request = Request(
            pair.target, pair.source, n=self.samples.value(), seed=self.seed.value(), device=defaults().device,
            three_planes=self.three_planes.chosen,
        )  # fmt: skip
        from_layers = self._from_layers
        chosen = self.layers.chosen if from_layers else []
        for layer in chosen:
            check_axial(layer)
        images = tuple((LayerSource.of(layer, pair.source), file_of(layer)) for layer in chosen)
        return Asked(
            None if from_layers else self.folder.path, images, out, checkpoint, request,
            self.workers.value() if has_dask() else 1,
        )  # fmt: skip

    def reload(self) -> None:
        """Look again at which checkpoints are installed, and at the folder."""
        self._settle.start()
        source = self.source.currentText()
        targets = choices.targets_from(Contrast(source)) if source else []
        refill(self.target, [target.value for target in targets])
        self._on_pair()

    @property
    def _from_layers(self) -> bool:
        return self.origin.currentText() == Origin.LAYERS

    def _on_origin(self) -> None:
        for row, shown in ((self.folder, not self._from_layers), (self.layers, self._from_layers)):
            for part in (row, self._rows.labelForField(row)):
                if part is not None:
                    part.setVisible(shown)
        self._show_found(self.found.text())
        self._settle.start()
        told = [guess_layer_contrast(layer) for layer in self.layers.chosen] if self._from_layers else []
        if known := next((contrast for contrast in told if contrast is not None), None):
            self.source.setCurrentText(known.value)
        self._on_scans()

    def _on_folder(self) -> None:
        """Nothing is known of another folder, or of another contrast in it, until it was looked at."""
        self._show_found("")
        self._settle.start()

    def _look(self) -> None:
        folder, source = self.folder.path, Contrast(self.source.currentText())
        if not self._from_layers and folder is not None and folder.is_dir():
            look_later(folder, source, partial(self._on_found, folder, source))

    def _on_found(self, folder: Path, source: Contrast, line: str) -> None:
        if isalive(self) and (folder, source) == (self.folder.path, Contrast(self.source.currentText())):
            self._show_found(line)

    def _show_found(self, line: str) -> None:
        self.found.setText(line)
        self._rows.setRowVisible(self.found, bool(line) and not self._from_layers)

    def _on_layers(self) -> None:
        if self._from_layers:
            self._on_scans()

    def _on_scans(self) -> None:
        """Results go below the scans, or below the first image that is a file, until the user says where."""
        folder = self.folder.path
        if self._from_layers:
            files = (file_of(layer) for layer in self.layers.chosen)
            folder = next((file.parent for file in files if file is not None), None)
        if folder is not None and self.out.line.text() in ("", self._suggested):
            self._suggested = str(folder / "derivatives" / "napari-mrtrans")
            self.out.line.setText(self._suggested)
        elif folder is None and self.out.line.text() == self._suggested:  # of scans that are not these
            self._suggested = ""
            self.out.line.clear()
        self.changed.emit()

    def _on_pair(self) -> None:
        self.model.offer(choices.models_for(self.pair) if self.pair is not None else [])
        self._on_model()

    def _on_model(self) -> None:
        checkpoint = self.checkpoint
        self.samples.setEnabled(checkpoint is not None and not checkpoint.deterministic)
        self.three_planes.show_for(checkpoint)
        self.changed.emit()


def file_of(layer: Image) -> Path | None:
    """The NIfTI file that a layer is, None where it is in memory only or was read by another reader."""
    path = layer.source.path
    known = path is not None and layer.source.reader_plugin == READER and is_nifti_name(str(path))
    return Path(str(path)) if known and Path(str(path)).is_file() else None


def has_dask() -> bool:
    """Whether the extra ``cluster`` is installed."""
    return all(find_spec(name) is not None for name in ("distributed", "filelock"))
