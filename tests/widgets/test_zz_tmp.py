import time
from napari_mrtrans.widgets.state import DockState
from .conftest import Heartbeat
def test_gap(bench, engine, brain):
    bench.viewer.add_image(brain, name="sub-01_T1w"); bench.viewer.dims.set_point(0, 6)
    engine.pace=0.1
    bench.qtbot.wait(1500)
    h=Heartbeat(); bench.qtbot.wait(500); print("idle", h.stop())
    h=Heartbeat(); t=time.time(); bench.press(); print("press", time.time()-t)
    bench.qtbot.waitUntil(lambda: "sub-01_T1w_T2_mean" in bench.viewer.layers); print("mean", h.stop(), bench.viewer.window._qt_window.size())
    h=Heartbeat(); bench.qtbot.waitUntil(lambda: "sub-01_T1w_T2_std" in bench.viewer.layers); print("std", h.stop())
    h=Heartbeat(); bench.wait_for(DockState.DONE); print("rest", h.stop())
    h=Heartbeat(); bench.run(); print("second run", h.stop())
