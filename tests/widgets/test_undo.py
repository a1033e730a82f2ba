"""What a running worker fills is nobody else's to write; undo in a ROI stays an undo of the ROI."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from napari_mrtrans.widgets.layer_kinds import KeepSamples
from napari_mrtrans.widgets.lesion.dock import LesionWidget
from napari_mrtrans.widgets.state import DockState

MEAN, STD = "sub-01_T1w_T2_mean (flow, n=20)", "sub-01_T1w_T2_std (flow, n=20)"


@pytest.fixture
def loaded(bench, engine, brain):
    """The dock with one T1 in the viewer, slice 6 on screen."""
    bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    return bench


def test_result_layers_can_be_neither_written_nor_moved(loaded):
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.SEPARATE.value)
    loaded.dock.form.samples.setValue(2)
    loaded.run()
    results = list(loaded.viewer.layers)[1:]
    assert len(results) == 4
    for layer in results:
        with pytest.raises(ValueError, match="read-only"):
            layer.data[0] = 1
        assert not layer.editable
    loaded.viewer.dims.ndisplay = 3
    loaded.viewer.dims.ndisplay = 2
    assert not any(layer.editable for layer in results)


def test_a_copy_of_a_result_is_the_user_s(loaded, engine, brain):
    """Duplicated and painted in while the run goes on: the run's own arrays stay right."""
    from napari.layers._layer_actions import _convert_to_labels, _duplicate_layer

    engine.pace = 0.3
    loaded.press()
    loaded.qtbot.waitUntil(lambda: MEAN in loaded.viewer.layers)
    layers = loaded.viewer.layers
    layers.selection = {layers[MEAN]}
    _duplicate_layer(layers)
    layers[f"{MEAN} copy"].data[6] = 7
    layers.selection = {layers[f"{MEAN} copy"]}
    _convert_to_labels(layers)
    labels = next(layer for layer in layers if isinstance(layer, Labels))
    labels.paint((6, 10, 8), 3)
    labels.undo()
    loaded.wait_for(DockState.DONE)
    np.testing.assert_allclose(layers[MEAN].data, brain / 200)


def test_ctrl_z_in_a_roi_while_a_run_goes_on(loaded, engine, brain):
    """The lesion check follows the undo, and no voxel of the result changes."""
    loaded.viewer.add_image(brain + np.arange(16), name="sub-01_T2w")
    loaded.run()
    check = LesionWidget(loaded.viewer)
    loaded.viewer.window.add_dock_widget(check)
    roi = loaded.viewer.add_labels(np.zeros(brain.shape, int), name="roi")
    roi.brush_size = 4
    roi.paint((6, 10, 8), 1)
    loaded.qtbot.waitUntil(lambda: check.report is not None and check.report.n_voxels > 3)
    before = check.report.n_voxels
    engine.pace = 0.3
    loaded.dock.form.seed.setValue(1)
    loaded.press()
    loaded.wait_for(DockState.RUNNING)
    loaded.viewer.layers.selection.active = roi
    roi.paint((6, 6, 8), 1)
    loaded.qtbot.waitUntil(lambda: check.report is not None and check.report.n_voxels > before)
    loaded.qtbot.waitUntil(lambda: sum(layer.name.startswith(MEAN) for layer in loaded.viewer.layers) == 2)
    loaded.viewer.layers.selection.active = roi  # the new mean has taken its place
    loaded.viewer.window._qt_window.activateWindow()
    canvas = loaded.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    loaded.qtbot.waitUntil(canvas.hasFocus)
    loaded.qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.count_nonzero(roi.data) == before
    loaded.qtbot.waitUntil(lambda: check.report is not None and check.report.n_voxels == before)
    loaded.wait_for(DockState.DONE)
    means = [layer for layer in loaded.viewer.layers if layer.name.startswith(MEAN)]
    assert len(means) == 2
    for layer in means:
        np.testing.assert_allclose(layer.data, brain / 200)
