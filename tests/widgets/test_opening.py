"""How a scan gets into the window: from the command line of napari with the dock beside it, and by drag and drop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog

from dicom_files import dicom_series
from helpers import head
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.widgets.source import layer_affine
from napari_mrtrans.widgets.state import DockState

from .test_source import AFFINES

#: napari's own command line up to the event loop; then the dock tells what it sees.
CODE = """
import sys
import napari.__main__ as command
from napari_mrtrans.widgets.transform.dock import TransformWidget
sys.argv = ["napari", *sys.argv[1:]]
viewer = command._build_viewer()
dock = viewer.window._qt_window.findChild(TransformWidget)
print("SAW", dock.isVisible(), dock.form.layer.name, dock.form.source.currentText(), dock.form.problem)
viewer.close()
"""


def dragged(*paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return mime


def copied(mime):
    """What an event of a drag is told after its place."""
    return Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def scan(tmp_path, brain):
    """A T1 in an oblique file."""
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(np.ascontiguousarray(brain.T), AFFINES["oblique"]).to_filename(path)
    return path


@pytest.mark.gui
def test_napari_with_a_file_opens_the_dock(scan, tmp_path, qapp):
    words = [str(scan), "--plugin", "napari-nifti", "--with", "napari-mrtrans", "MR contrast transformation"]
    environment = os.environ | {"NAPARI_CONFIG": str(tmp_path / "napari" / "settings.yaml")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("SAW")]
    assert said == ["SAW True sub-01_T1w.nii T1 "], done.stdout + done.stderr


def test_a_file_dropped_onto_the_window_is_ready_to_transform(bench, engine, scan):
    """The drop goes to napari, the file to napari-nifti, and its true affine to the dock."""
    # as after "Remember this choice" in the dialog in which napari asks which of its readers may open .nii.gz
    get_settings().plugins.extension2reader = {"*.nii.gz": "napari-nifti"}
    window = bench.viewer.window._qt_viewer
    data = dragged(scan)
    window.dropEvent(QDropEvent(QPointF(50, 50), *copied(data)))
    bench.wait_for(DockState.READY)
    form = bench.dock.form
    assert form.layer.source.reader_plugin == "napari-nifti"
    assert form.pair.source is Contrast.T1
    volume = np.abs(np.linalg.det(nib.load(scan).affine))
    assert np.abs(np.linalg.det(layer_affine(form.layer))) == pytest.approx(volume, rel=1e-4)
    bench.run()
    assert bench.dock.state is DockState.DONE


def test_without_an_image_the_dock_opens_one(bench, scan, monkeypatch):
    opening = bench.dock.opening
    assert opening.isVisible() and bench.dock.state is DockState.NO_IMAGE
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *args: ([], ""))
    opening.open.click()
    assert opening.isVisible()
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *args: ([str(scan)], ""))
    opening.open.click()
    assert bench.dock.form.layer.name.startswith("sub-01_T1w") and bench.dock.state is DockState.READY
    assert not opening.isVisible() and bench.dock.message.text() == ""
    bench.viewer.layers.clear()
    assert opening.isVisible()
    opening.brain.click()
    assert bench.dock.form.pair.source is Contrast.T1 and not opening.isVisible()


@pytest.mark.parametrize("shape", [(33, 34, 5, 3), (33, 34, 5, 4), (4, 34, 33)])
def test_no_axis_of_a_file_is_a_colour(bench, tmp_path, shape):
    """napari takes a last axis of 3 or 4 beside two long ones for red, green and blue."""
    path = tmp_path / "sub-01_T1w.nii"
    nib.Nifti1Image(np.random.default_rng(0).random(shape, np.float32), np.eye(4)).to_filename(path)
    bench.dock.open_scans([path])
    (layer,) = bench.viewer.layers
    assert not layer.rgb and layer.data.shape == (*shape[2::-1], *shape[3:])
    assert ("Choose a frame above." in bench.dock.message.text()) == (layer.ndim == 4)


def test_what_cannot_be_opened_is_said_until_something_was(bench, scan, tmp_path):
    noise = tmp_path / "noise.nii.gz"
    noise.write_bytes(b"no scan")
    bench.dock.open_scans([noise])
    complaint, remedy = bench.dock.message.text().splitlines()
    assert complaint.startswith("'noise.nii.gz' cannot be read as NIfTI (")
    assert remedy == bench.dock.form.problem and remedy.startswith("Open a brain MR scan")
    bench.dock.open_scans([scan])
    assert bench.dock.message.text() == ""
    bench.dock.open_scans([noise])
    assert bench.dock.message.text() == complaint
    bench.dock.open_scans([scan])
    assert len(bench.viewer.layers) == 2 and bench.dock.message.text() == ""


def test_what_is_opened_here_is_transformed_next(bench, engine, scan, tmp_path):
    """Of what is dropped on the dock, the first scan is chosen: no mask, and nothing while another is transformed."""

    def file(name):
        return shutil.copy(scan, tmp_path / name)

    dock = bench.dock
    for first, problem in (("scan0007.nii.gz", "Which contrast is 'scan0007.nii'?"), ("sub-06_T1w.nii.gz", "")):
        dock.open_scans([file(first)])
        assert dock.form.problem.startswith(problem)
        dock.open_scans([file("sub-01_mask.nii.gz"), scan, file("sub-02_T1w.nii.gz")])
        assert dock.form.layer.source.path == str(scan) and dock.message.text() == ""
        assert bench.viewer.layers.index(dock.form.layer) == len(bench.viewer.layers) - 2
    engine.pace = 5.0
    bench.press()
    bench.wait_for(DockState.RUNNING)
    running = dock.form.layer
    dock.open_scans([file("sub-03_T1w.nii.gz")])
    assert dock.form.layer is running


def test_an_acquired_image_opened_here_leaves_the_choice(bench, engine, scan, tmp_path):
    """It was taken as the reference of the result that is shown."""
    bench.dock.open_scans([scan])
    bench.run()
    bench.dock.open_scans([shutil.copy(scan, tmp_path / "sub-01_T2w.nii.gz")])
    assert bench.dock.acquired.reference.layer is bench.viewer.layers[-1]
    assert bench.dock.form.layer.source.path == str(scan) and bench.dock.acquired.isVisible()


def test_a_truncated_file_is_called_so(bench, scan):
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) // 2])
    bench.dock.open_scans([scan])
    complaint = bench.dock.message.text().splitlines()[0]
    with pytest.raises(VolumeError) as told:
        Volume.load(scan)
    assert complaint == str(told.value).replace(str(scan), scan.name)
    assert re.fullmatch(r"'sub-01_T1w.nii.gz' is truncated or damaged \(.+\)\. Copy or convert it again\.", complaint)


def test_nifti_that_the_reader_does_not_take_is_not_to_be_made_nifti(bench, tmp_path):
    """A complex image, of which it raises an error without words."""
    path = tmp_path / "sub-02_T1w.nii.gz"
    nib.Nifti1Image(np.ones((4, 5, 6), np.complex64), np.eye(4)).to_filename(path)
    bench.dock.open_scans([path])
    assert bench.dock.message.text().splitlines()[0] == (
        "'sub-02_T1w.nii.gz' cannot be opened (NotImplementedError). Enable napari-nifti, or write it with one real "
        "number per voxel."
    )


def test_what_is_neither_nifti_nor_dicom_is_told_what_it_needs(bench, scan, tmp_path):
    """As the command line says it; a folder of NIfTI files goes to another dock."""
    study = tmp_path / "bids"
    (study / "sub-01" / "anat").mkdir(parents=True)
    shutil.copy(scan, study / "sub-01" / "anat")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no scan")
    packed = tmp_path / "sub-01_T1w.nii.bz2"
    nib.load(scan).to_filename(packed)
    lines = {
        tmp_path / "notes.txt": "'notes.txt' is not a NIfTI file; convert it to .nii or .nii.gz first.",
        packed: f"'{packed.name}' cannot be opened (it is called neither .nii nor .nii.gz). Convert it to .nii.gz.",
        tmp_path / "gone.txt": "'gone.txt' does not exist.",
        study: "'bids' is a folder of NIfTI files; drop one of them. For all of them: Plugins ▸ MR contrast "
        "transformation ▸ Many scans.",
        tmp_path / "empty": "'empty' is a folder without DICOM slices; give a NIfTI file or the folder of a series.",
    }
    bench.dock.open_scans(lines)
    assert bench.dock.message.text().splitlines()[:-1] == list(lines.values())


def test_files_dropped_on_the_dock_are_opened_without_a_question(bench, scan, tmp_path):
    """A scan, a folder of DICOM, and what is neither, which is said and keeps nothing else from being opened."""
    folder = tmp_path / "study"
    volume = head((24, 18, 20)).astype(np.uint16)
    dicom_series(folder, volume, np.diag([-1.0, -1, 1, 1]), t0008_103e="t1_mprage")
    noise = tmp_path / "noise.nii.gz"
    noise.write_bytes(b"no scan")
    mime = dragged(scan, noise, folder)
    enter = QDragEnterEvent(QPoint(9, 9), *copied(mime))
    bench.dock.dragEnterEvent(enter)
    assert enter.isAccepted()
    bench.dock.dropEvent(QDropEvent(QPointF(9, 9), *copied(mime)))
    assert [layer.data.ndim for layer in bench.viewer.layers] == [3, 3]
    assert bench.viewer.layers[1].source.path == str(folder)  # else results could not tell what they are of
    assert "series" in bench.viewer.layers[1].name or "study" in bench.viewer.layers[1].name
    assert "'noise.nii.gz' cannot be read as NIfTI (" in bench.dock.message.text()
    words = QMimeData()
    words.setText("no file")
    enter = QDragEnterEvent(QPoint(9, 9), *copied(words))
    enter.ignore()
    bench.dock.dragEnterEvent(enter)
    assert not enter.isAccepted()
