"""The dock on the real engine, with a tiny untrained checkpoint."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool

from helpers import head, tiny_checkpoint
from napari_mrtrans import Contrast, Volume, transform
from napari_mrtrans.widgets.source import layer_affine
from napari_mrtrans.widgets.state import DockState


@pytest.fixture
def tiny(checkpoints):
    """A real flow and a real direct checkpoint beside nothing else."""
    for path in checkpoints.parent.glob("shipped/*.safetensors"):
        path.unlink()
    tiny_checkpoint(checkpoints / "tiny-direct.safetensors", "direct")
    return tiny_checkpoint(checkpoints / "tiny-flow.safetensors")


@pytest.fixture
def loaded(bench, tiny):
    """A T1 of 20 axial slices in the dock, whose checkpoints are the tiny ones."""
    bench.source = bench.viewer.add_image(head().transpose(2, 1, 0), name="sub-01_T1w")
    bench.dock.form.samples.setValue(3)
    return bench


def test_dock_gives_what_the_library_gives(loaded, tiny):
    loaded.viewer.dims.set_point(0, 8)
    loaded.run(timeout=60_000)
    assert loaded.dock.state is DockState.DONE, loaded.dock.message.text()
    layer = loaded.source
    volume = Volume(layer.data, layer_affine(layer), Contrast.T1)
    ensemble = transform(volume, tiny, target="T2", n=3, seed=0)
    np.testing.assert_allclose(loaded.layer("sub-01_T1w_T2_mean").data, ensemble.mean, atol=1e-4)
    np.testing.assert_allclose(loaded.layer("sub-01_T1w_T2_std").data, ensemble.std, atol=1e-4)
    assert loaded.dock.card.overall == pytest.approx(ensemble.sigma_hat, rel=1e-3)
    np.testing.assert_allclose(loaded.dock.card.plot.values, ensemble.per_slice, atol=1e-4)


def test_deterministic_model(loaded):
    loaded.dock.form.model.setCurrentText("direct · T1→T2")
    loaded.run(timeout=60_000)
    assert loaded.dock.state is DockState.DONE, loaded.dock.message.text()
    assert np.nan_to_num(loaded.layer("sub-01_T1w_T2_mean").data).any()


def test_missing_gpu_is_told_and_the_run_goes_on(loaded):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    loaded.dock.form.advanced._device.setCurrentText("cuda")
    loaded.dock.form.range.setCurrentText("This slice")
    loaded.viewer.dims.set_point(0, 8)
    loaded.run(timeout=60_000)
    assert loaded.dock.message.text() == "Done: 1 slice.\nCUDA not available; using CPU."


def test_slice_without_head_is_told(loaded, errors):
    loaded.dock.form.range.setCurrentText("This slice")
    loaded.viewer.dims.set_point(0, 0)
    loaded.run(timeout=60_000)
    assert errors == ["No head in slice 0; choose others."]


def test_cancel_ends_within_a_second(loaded):
    loaded.dock.form.advanced._steps.setValue(2000)
    loaded.press()
    loaded.wait_for(DockState.RUNNING, timeout=60_000)
    loaded.press()
    loaded.wait_for(DockState.CANCELLED, timeout=1000)
    loaded.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)


def test_damaged_checkpoint_is_told(loaded, tiny, errors):
    with tiny.path.open("r+b") as file:
        file.truncate(tiny.size_bytes - 100)
    loaded.run(timeout=60_000)
    assert loaded.dock.state is DockState.FAILED
    assert "tiny-flow.safetensors' is truncated or damaged" in errors[0]


@pytest.mark.skipif(sys.platform != "linux", reason="maps ELF libraries")
def test_torch_imports_after_its_libraries_are_mapped():
    code = (
        "import sys; from napari_mrtrans.widgets.preload import preload_torch; preload_torch();"
        "assert 'torch' not in sys.modules; assert 'libtorch_cpu' in open('/proc/self/maps').read();"
        "import torch; assert float(torch.ones(3).sum()) == 3"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
