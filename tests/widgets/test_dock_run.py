"""Pressing Transform in a real viewer."""

from __future__ import annotations

import numpy as np

from napari_mrtrans.widgets.state import DockState


def test_first_slice_arrives_while_the_rest_runs(bench, engine, brain):
    engine.pace = 0.1
    layer = bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    bench.press()
    bench.wait_for(DockState.RUNNING)
    bench.qtbot.waitUntil(lambda: "sub-01_T1w_T2_mean" in bench.viewer.layers)
    mean = bench.layer("sub-01_T1w_T2_mean")
    assert bench.dock.state is DockState.RUNNING
    np.testing.assert_allclose(mean.data[6], layer.data[6] / 200)
    assert not mean.data[1].any()
    bench.wait_for(DockState.DONE)
    np.testing.assert_allclose(mean.data, brain / 200)
