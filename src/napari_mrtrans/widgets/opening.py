"""Scans opened from a dock, without napari's question which reader is to take them.

napari asks for every ``.nii.gz`` and has its own reader chosen already, which reads no NIfTI.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer
from napari.layers._source import layer_source
from qtpy.QtCore import QMimeData, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from ..scan.nifti import is_nifti_name

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: Takes NIfTI.
READER = "napari-nifti"
#: Takes DICOM: this plugin itself.
DICOM_READER = "napari-mrtrans"
_FILTER = "Brain MR images (*.nii *.nii.gz *.dcm *.dicom *.ima);;All files (*)"


def open_nifti(viewer: ViewerModel, path: Path) -> list[Layer]:
    """Add the layers of a NIfTI file, of which no axis is a colour: napari takes a last one of 3 or 4 for that.

    Raises:
        Exception: the file is damaged or cannot be read; what its reader raises.
    """
    return viewer.open(str(path), plugin=READER, rgb=False)


def open_scans(viewer: ViewerModel, paths: Iterable[Path]) -> list[str]:
    """Add the layers of NIfTI files and of DICOM (a folder, or the series that a file is of).

    Returns:
        A line for each path that could not be opened.
    """
    from .dicom_reader import read_layers

    problems = []
    for path in paths:
        try:
            if is_nifti_name(path.name):
                open_nifti(viewer, path)
            else:
                for data, placement, kind in filter(lambda made: made[0] is not None, read_layers(str(path))):
                    with layer_source(path=str(path), reader_plugin=DICOM_READER):
                        layer = Layer.create(data, placement, kind)
                    viewer.add_layer(layer)
        except Exception as error:  # whatever a reader raises at a broken file
            problems.append(f"'{path.name}' cannot be opened: {error}")
    return problems


def files_of(mime: QMimeData | None) -> list[Path]:
    """What is dragged: files and folders of this machine."""
    urls = [] if mime is None else mime.urls()
    return [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]


class OpenRow(QWidget):
    """What there is to do where no image is open.

    Signals:
        chosen: The files to be opened.
        sample: The built-in brain is to be opened.
    """

    chosen = Signal(object)
    sample = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.open = QPushButton("Open a scan…")
        self.open.setToolTip("NIfTI, or any one slice of a DICOM series. Files and folders can also be dropped here.")
        self.brain = QPushButton("Sample brain")
        self.brain.setToolTip("The ICBM 152 template, T1, that comes with the plugin.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.open, 1)
        row.addWidget(self.brain, 1)
        self.open.clicked.connect(self._ask)
        self.brain.clicked.connect(self.sample)

    def _ask(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Open a scan", "", _FILTER)
        if paths:
            self.chosen.emit([Path(path) for path in paths])
