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

from ..datasets.walk import folders_below
from ..errors import MrtransError, VolumeError
from ..scan.nifti import is_nifti_name, read_voxels
from ..scan.nifti import open_nifti as nifti_image

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: Of a tree, so many folders are looked at.
FOLDERS = 40
#: Takes NIfTI.
READER = "napari-nifti"
#: Takes DICOM: this plugin itself.
DICOM_READER = "napari-mrtrans"
_FILTER = "Brain MR images (*.nii *.nii.gz *.dcm *.dicom *.ima);;All files (*)"


def open_nifti(viewer: ViewerModel, path: Path) -> list[Layer]:
    """Add the layers of a NIfTI file, of which no axis is a colour: napari takes a last one of 3 or 4 for that.

    Raises:
        VolumeError: the file is damaged or cannot be read; as the command line says it.
    """
    try:
        return viewer.open(str(path), plugin=READER, rgb=False)
    except Exception as error:  # whatever a reader raises at a broken file
        raise VolumeError(_unopened_line(path, str(error) or type(error).__name__)) from error


def open_scans(viewer: ViewerModel, paths: Iterable[Path]) -> list[str]:
    """Add the layers of NIfTI files and of DICOM (a folder, or the series that a file is of).

    Returns:
        A line for each path that could not be opened.
    """
    from ..dicom.read import is_scan_of_slices

    problems = []
    for path in paths:
        try:
            if is_scan_of_slices(path):
                _open_dicom(viewer, path)
            elif is_nifti_name(path.name):
                open_nifti(viewer, path)
            else:
                raise VolumeError(_unopened_line(path, "it is called neither .nii nor .nii.gz"))
        except MrtransError as error:
            problems.append(str(error).replace(str(path), path.name))
        except Exception as error:  # whatever SimpleITK raises
            problems.append(f"'{path.name}' cannot be opened: {str(error) or type(error).__name__}")
    return problems


def _open_dicom(viewer: ViewerModel, path: Path) -> None:
    """Add the layers of a folder, or of the series that a file is of.

    Raises:
        VolumeError: there is nothing that can be used.
    """
    from ..dicom.files import is_dicom
    from .dicom_reader import read_layers

    try:
        read = read_layers(str(path))
    except VolumeError:
        if is_dicom(path) or not _holds_nifti(path):
            raise
        raise VolumeError(
            f"'{path}' is a folder of NIfTI files; drop one of them. For all of them: Plugins ▸ MR contrast "
            "transformation ▸ Many scans."
        ) from None
    for data, placement, kind in filter(lambda made: made[0] is not None, read):
        with layer_source(path=str(path), reader_plugin=DICOM_READER):
            layer = Layer.create(data, placement, kind)
        viewer.add_layer(layer)


def _holds_nifti(folder: Path) -> bool:
    """Whether some is in the folder or below it, as far as a few folders tell."""
    looked = zip(folders_below(folder, []), range(FOLDERS), strict=False)
    return any(is_nifti_name(name) for (_, names), _ in looked for name in names)


def _unopened_line(path: Path, why: str) -> str:
    """What the command line says of a file that it cannot read either, else ``why`` it was not opened."""
    try:
        read_voxels(nifti_image(path), path)
    except VolumeError as error:
        return str(error)
    remedy = "Convert it to .nii.gz."
    if is_nifti_name(path.name):
        remedy = f"Enable {READER}, or write it with one real number per voxel."
    return f"'{path}' cannot be opened ({why}). {remedy}"


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
