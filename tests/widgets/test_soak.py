"""A long session in one window: transforms, cancels, follows and deletions leave neither memory nor threads behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QThreadPool

from helpers import head, tiny_checkpoint
from napari_mrtrans.widgets.background import in_background
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.dock import TransformWidget

from .conftest import Bench

SHAPE = (16, 20, 8)
#: Of a round; the first brings torch.
TIMEOUT = 120_000


class Session:
    """What a user does, again and again; every layer that was there is remembered weakly."""

    def __init__(self, bench: Bench, nodes: list[object], errors: list[str]) -> None:
        self.bench, self.nodes, self.errors = bench, nodes, errors
        self.deleted: list[weakref.ref] = []
        self.done: dict[str, int] = {}
        self.bench.dock.form.samples.setValue(2)
        self.bench.dock.form.advanced._steps.setValue(2)

    def round(self, number: int) -> None:
        """Open an image, do one of four things with it, and delete everything."""
        viewer, dock = self.bench.viewer, self.bench.dock
        self.source = viewer.add_image(head(SHAPE).transpose(2, 1, 0), name="sub-01_T1w")
        dock.form.image.choose(self.source)  # a source that was removed stays chosen until another is
        act = (self.transform, self.cancel, self.follow, self.delete)[number % 4]
        act()
        self.bench.qtbot.waitUntil(lambda: not dock.state.busy, timeout=TIMEOUT)
        self.bench.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIMEOUT)
        ended = (DockState.DONE, DockState.CANCELLED, DockState.READY)  # ready: the form has changed since
        assert dock.state in ended and not self.errors, (act.__name__, dock.message.text(), self.errors)
        self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
        self.deleted += [weakref.ref(layer) for layer in viewer.layers]
        viewer.layers.clear()
        del self.source
        self.nodes.clear()

    def start(self, what: str) -> None:
        self.bench.dock.form.range.setCurrentText(what)
        self.bench.dock.button.click()

    def wait_for_slices(self, count: int) -> None:
        dock = self.bench.dock
        self.bench.qtbot.waitUntil(lambda: dock._run.countdown.done >= count or not dock.state.busy, timeout=TIMEOUT)

    def transform(self) -> None:
        self.start("All slices")
        self.bench.qtbot.waitUntil(lambda: not self.bench.dock.state.busy, timeout=TIMEOUT)
        assert np.isfinite(self.bench.layer("sub-01_T1w_T2_mean").data[SHAPE[2] // 2]).all()

    def cancel(self) -> None:
        self.start("All slices")
        self.wait_for_slices(1)
        self.bench.dock.cancel()

    def follow(self) -> None:
        self.start("Follow the slider")
        for count, index in enumerate((3, 5), start=1):
            self.bench.viewer.dims.set_point(0, index)
            self.wait_for_slices(count)
        self.bench.dock.cancel()

    def delete(self) -> None:
        """The source goes while it is transformed."""
        self.start("All slices")
        self.wait_for_slices(1)
        self.deleted.append(weakref.ref(self.source))
        self.bench.viewer.layers.remove(self.source)


@pytest.fixture
def session(
    make_napari_viewer: Callable, qtbot: object, checkpoints: object, removed_nodes: list[object], errors: list[str]
) -> Iterator[Session]:
    """A window that is not drawn (conftest.py says why), with the dock and a tiny model."""
    for path in checkpoints.parent.glob("shipped/*.safetensors"):
        path.unlink()
    tiny_checkpoint(checkpoints / "tiny-flow.safetensors")
    viewer = make_napari_viewer(show=False)
    dock = TransformWidget(viewer)
    viewer.window.add_dock_widget(dock, name="MR contrast transformation")
    yield Session(Bench(viewer, dock, qtbot), removed_nodes, errors)
    dock.cancel()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)


def alive(layers: list[weakref.ref]) -> list[str]:
    """Names of those of them that something still holds."""
    gc.collect()
    return [layer.name for ref in layers if (layer := ref()) is not None]


def test_deleted_layers_are_let_go_of(session: Session) -> None:
    for number in range(8):
        session.round(number)
    before = list(session.deleted)
    session.round(0)  # the last run's layers are kept: they can still be saved
    assert len(before) > 16
    assert not alive(before)


@pytest.mark.parametrize("name", ["MR contrast transformation", "Compare models"])
def test_a_closed_dock_ends_though_nobody_holds_it(
    name: str, make_napari_viewer: Callable, qtbot: object, engine
) -> None:
    """Python may collect it before the event loop comes round, as deleting a layer makes it do at once."""
    viewer = make_napari_viewer(show=True)
    docks = [viewer.window.add_plugin_dock_widget("napari-mrtrans", name)[1]]
    qtbot.wait(50)
    beside = docks[0].compare if name != "Compare models" else docks[0].grid
    beside.setChecked(True)
    if name == "Compare models":  # nothing was compared
        docks[0]._grid._grid.enter()
    assert viewer.canvas.grid.enabled
    del beside
    viewer.window.remove_dock_widget(docks.pop())
    gc.collect()
    qtbot.waitUntil(lambda: not viewer.canvas.grid.enabled)
    assert not viewer.mouse_move_callbacks


def test_a_job_in_the_background_keeps_nothing_once_it_has_ended(make_napari_viewer: Callable, qtbot: object) -> None:
    """napari holds its worker until the window goes, and with it the result that was saved, reported or compared."""

    class Result:
        def save(self) -> int:
            return 1

    viewer = make_napari_viewer()
    result, panel, told = Result(), Result(), []
    seen = [weakref.ref(one) for one in (result, panel)]
    in_background(result.save, lambda made, problem, panel=panel: told.append((made, problem)))
    del result, panel
    qtbot.waitUntil(lambda: told == [(1, "")])
    qtbot.wait(50)
    gc.collect()
    assert viewer is not None and [one() for one in seen] == [None, None]


@pytest.mark.nightly
def test_five_hundred_rounds(session: Session) -> None:
    """Memory after the hundredth grows by less than 5 %, and no thread or process is left."""
    process = psutil.Process()
    resident: dict[int, int] = {}
    threads: set[str] = set()
    for number in range(500):
        session.round(number)
        if (number + 1) % 50 == 0:
            gc.collect()
            resident[number + 1] = process.memory_info().rss
            print(f"{number + 1} rounds: {resident[number + 1] / 2**20:.0f} MiB, {threading.active_count()} threads")
        if number == 99:
            threads = {thread.name for thread in threading.enumerate()}
    assert session.done == dict.fromkeys(("transform", "cancel", "follow", "delete"), 125)
    assert resident[500] < 1.05 * resident[100], resident
    assert {thread.name for thread in threading.enumerate()} <= threads
    assert QThreadPool.globalInstance().activeThreadCount() == 0
    assert not process.children(recursive=True) or all(
        child.name().startswith("Xvfb") for child in process.children(recursive=True)
    )
