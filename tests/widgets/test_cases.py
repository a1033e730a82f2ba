"""Files of the kinds that people report trouble with, opened by napari's reader and handed to the dock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication, QDialog

from helpers import head, tiny_checkpoint
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.widgets.source import axial_axis, layer_affine, show_slice
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.form import SliceRange

from .conftest import Bench

SHARED = Path(__file__).resolve().parents[3] / "shared"
SHAPE = (20, 24, 8)


def put(path: Path, voxels: NDArray, scale: float = 1.0, unit: str = "mm") -> Path:
    affine = np.diag([scale, scale, 3 * scale, 1.0])
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    return path


def centred(data: NDArray) -> NDArray:
    """z-scored inside the brain, 0 outside."""
    inside = data > 0
    return np.where(inside, (data - data[inside].mean()) / data[inside].std(), 0).astype(np.float32)


def with_holes(data: NDArray) -> NDArray:
    out = data.copy()
    out[8:12:2, 10:14:2, 3:6] = 0
    return out.astype(np.uint16)


#: How the file is made, and what the dock says; nothing: it gives an image.
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "micrometres": (lambda p: put(p, head(SHAPE), 1000.0, "micron"), ""),
    "fluid of 0 inside": (lambda p: put(p, with_holes(head(SHAPE))), ""),
    "z-scored": (lambda p: put(p, centred(head(SHAPE))), "so that nothing tells where 0 is"),
    "a single frame": (lambda p: put(p, head(SHAPE)[..., None]), ""),
    "no head's size": (lambda p: put(p, head(SHAPE), 1e6), "which no head is"),
}


def in_dock(bench: Bench, errors: list[str], path: Path) -> str:
    """What the dock says of the middle slice of a file; nothing where it gave an image, which is looked at."""
    bench.viewer.layers.clear()
    errors.clear()
    (layer,) = bench.viewer.open(path, plugin="napari-nifti")
    dock = bench.dock
    if layer.ndim == 4:
        bench.qtbot.waitUntil(lambda: dock.form.layer is not layer)
        layer = dock.form.layer
    if not dock.form.source.currentText():
        dock.form.source.setCurrentText(Contrast.T1.value)
    dock.form.range.setCurrentText(SliceRange.CURRENT.value)
    if dock.form.problem:
        return dock.form.problem
    if layer.ndim == 3:
        axis = axial_axis(layer_affine(layer))
        show_slice(bench.viewer, layer, axis, layer.data.shape[axis] // 2)
    dock.button.click()
    bench.qtbot.waitUntil(lambda: not dock.state.busy, timeout=120_000)
    assert not [
        window for window in QApplication.topLevelWidgets() if isinstance(window, QDialog) and window.isVisible()
    ]
    if dock.state is not DockState.DONE:
        assert dock.state is DockState.FAILED and errors == [dock.message.text()], dock.message.text()
        return errors[0]
    result = dock.layers.mean
    assert result.data.shape == layer.data.shape
    np.testing.assert_allclose(layer_affine(result), layer_affine(layer))
    values = np.take(result.data, layer.data.shape[axis] // 2, axis)
    assert np.isfinite(values).all() and values.any()
    return ""


@pytest.fixture
def tiny(checkpoints: Path) -> None:
    """A real flow beside nothing else."""
    for path in checkpoints.parent.glob("shipped/*.safetensors"):
        path.unlink()
    tiny_checkpoint(checkpoints / "tiny-flow.safetensors")


def test_each_kind_gives_an_image_or_one_line(bench: Bench, tiny: None, errors: list[str], tmp_path: Path) -> None:
    bench.dock.form.samples.setValue(2)
    for name, (make, says) in KINDS.items():
        line = in_dock(bench, errors, make(tmp_path / "sub-01_T1w.nii.gz"))
        assert (says in line) if says else not line, f"{name}: {line!r}"
        assert "\n" not in line and "Traceback" not in line, name


@pytest.mark.nightly
@pytest.mark.data
def test_cases_of_real_scans(bench: Bench, tiny: None, errors: list[str], tmp_path: Path) -> None:
    """All files of ../shared/cases that napari's reader opens."""
    script = SHARED / "cases" / "make.py"
    if not script.is_file():
        pytest.skip(f"the cases of real scans are not here ({script})")
    subprocess.run([sys.executable, str(script), str(tmp_path / "cases")], check=True, capture_output=True)
    bench.dock.form.samples.setValue(2)
    ends: dict[str, str] = {}
    for path in sorted((tmp_path / "cases").rglob("*.nii.gz")):
        if nib.load(path).get_data_dtype().names:  # colours, which the reader refuses itself
            continue
        ends[path.name] = in_dock(bench, errors, path)
        print(f"{path.name}: {ends[path.name] or 'an image'}")
        assert "\n" not in ends[path.name], path.name
    refused = {name for name, line in ends.items() if line}
    assert {"zscored_T1w.nii.gz"} <= refused, ends
