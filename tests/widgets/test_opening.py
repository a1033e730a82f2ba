"""How a scan gets into the window: from the command line of napari with the dock beside it, and by drag and drop."""

from __future__ import annotations

import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_mrtrans.scan.contrasts import Contrast
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
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(scan))])
    event = QDropEvent(
        QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    bench.wait_for(DockState.READY)
    form = bench.dock.form
    assert form.layer.source.reader_plugin == "napari-nifti"
    assert form.pair.source is Contrast.T1
    volume = np.abs(np.linalg.det(nib.load(scan).affine))
    assert np.abs(np.linalg.det(layer_affine(form.layer))) == pytest.approx(volume, rel=1e-4)
    bench.run()
    assert bench.dock.state is DockState.DONE
