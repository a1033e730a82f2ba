"""A real viewer, real (tiny) checkpoint files, and an engine whose pace the test decides."""

from __future__ import annotations

import copy
import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import napari.settings
import numpy as np
import pytest
from napari._vispy.layers.base import VispyBaseLayer
from npe2.manifest import _bases as manifests
from qtpy.QtCore import QObject, Qt, QThreadPool, QTimer
from safetensors.numpy import save_file

from napari_mrtrans import paths
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.checkpoint import CARD_KEY
from napari_mrtrans.ood.signs import Signs
from napari_mrtrans.transformation.streaming import SliceUpdate
from napari_mrtrans.widgets import last_used
from napari_mrtrans.widgets.transform import worker
from napari_mrtrans.widgets.transform.dock import TransformWidget

SHAPE = (12, 20, 16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "make_napari_viewer" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.gui)


def write_card(folder: Path, name: str, model: str, pairs: list[str], **more: object) -> Path:
    """A checkpoint file good enough to be listed: a valid card and one small tensor."""
    card = {
        "name": name,
        "model": model,
        "options": {},
        "pairs": pairs,
        "grid": {},
        "intensity": {"headroom": {"T1": 2.0, "T2": 3.5, "PD": 2.0, "FLAIR": 3.0}},
        "sampler": {"steps": 7},
        "data": [{"name": "Phantoms", "licence": "CC0", "citation": "none"}],
        **more,
    }
    path = folder / f"{name}.safetensors"
    save_file({"weight": np.zeros(8, np.float16)}, path, metadata={CARD_KEY: json.dumps(card)})
    return path


@pytest.fixture(scope="session", autouse=True)
def manifests_parsed_once() -> Iterator[None]:
    """Every new viewer finds all plugins anew, and parsing their YAML is a tenth of the time of a test."""
    with pytest.MonkeyPatch.context() as patch:
        parsed = functools.cache(manifests._load_yaml_no_duplicates)
        patch.setattr(manifests, "_load_yaml_no_duplicates", lambda stream: copy.deepcopy(parsed(stream.read())))
        yield


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Preferences and last choices of this test alone; the folder they are kept in."""
    folder = tmp_path / "settings"
    monkeypatch.setattr(napari.settings, "_CFG_PATH", str(folder / "settings.yaml"))
    monkeypatch.setattr(last_used, "last_used_file", lambda: folder / "last-used.ini")
    napari.settings._clear_plugin_settings_cache()
    yield folder
    napari.settings._clear_plugin_settings_cache()
    paths.prefer_checkpoint_dir(None)


@pytest.fixture(autouse=True)
def look(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What images look like, by name: nothing in particular, and no network is asked."""
    seen: dict[str, object] = {}
    monkeypatch.setattr("napari_mrtrans.widgets.contrast_look._look", lambda source: seen.get(source.name))
    return seen


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exactly these checkpoints are installed: flow and direct for T1→T2, flow alone for the rest."""
    shipped, user = tmp_path / "shipped", tmp_path / "user"
    shipped.mkdir()
    user.mkdir()
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: shipped)
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(user))
    write_card(shipped, "many-flow", "flow", ["T1->T2", "T1->FLAIR", "T2->T1"])
    write_card(shipped, "one-direct", "direct", ["T1->T2"])
    return user


@pytest.fixture
def brain() -> np.ndarray:
    """A ball of tissue in S, A, R order; the first and last slices are empty."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in SHAPE], indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    return np.where(radius < 1, 100 * (1.5 - radius), 0).astype(np.float32)


@dataclass
class FakeEngine:
    """Stands in for the engine: finished slices, nearest first, at a chosen pace, then perhaps an error."""

    pace: float = 0.0
    error: Exception | None = None
    error_after: int = 10**9
    notices: list[str] = field(default_factory=list)
    requests: list[worker.Work] = field(default_factory=list)
    closed: int = 0
    novelty: float = float("nan")
    correction: float | None = None

    def stream(self, work: worker.Work, monitor: worker.Monitor) -> Iterator[SliceUpdate]:
        self.requests.append(work)
        request = work.request
        for text in self.notices:
            monitor.notify(text)
        data = work.source.volume().data
        axis = request_axis(work)
        low, high = request.slices or (0, data.shape[axis])
        order = sorted(range(low, high), key=lambda k: abs(k - (request.start_slice or 0)))
        order = [k for k in order if np.take(data, k, axis).any()]
        roi = None if request.roi is None else np.moveaxis(request.roi, axis, 0)
        order = [k for k in order if roi is None or roi[k].any()]
        try:
            for done, index in enumerate(order, start=1):
                if done > self.error_after and self.error is not None:
                    raise self.error
                monitor.on_step(1, 2)
                until = time.monotonic() + self.pace
                while time.monotonic() < until:
                    if monitor.cancel.is_set():
                        return
                    time.sleep(0.01)
                update = fake_update(np.take(data, index, axis), index, done, len(order), work)
                if roi is not None and request.roi_only:
                    update = update.within(roi[index])
                corrected = None if self.correction is None else np.full_like(update.std, self.correction)
                yield replace(update, signs=Signs(self.novelty), calibrated_std=corrected)
        finally:
            self.closed += 1


def request_axis(work: worker.Work) -> int:
    """Axial axis of a request's array."""
    return work.source.volume().axial_axis


def fake_update(source: np.ndarray, index: int, done: int, total: int, work: worker.Work) -> SliceUpdate:
    """Mean = source / 200, std = index / 1000 in the head, sample k = mean + k / 100."""
    head = source > 0
    mean = source / 200
    n = work.request.n
    std = np.where(head, index / 1000 if n > 1 else 0, 0).astype(np.float32)
    samples = np.stack([np.where(head, mean + k / 100, 0) for k in range(n)]).astype(np.float32)
    return SliceUpdate(
        index=index,
        mean=mean,
        std=std,
        median=mean,
        samples=samples,
        sigma_hat=index / 1000 if n > 1 else float("nan"),
        voxels=int(head.sum()),
        done=done,
        total=total,
    )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, checkpoints: Path) -> FakeEngine:
    """The fake engine in place of the real one."""
    fake = FakeEngine()
    monkeypatch.setattr(worker, "stream", fake.stream)
    return fake


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every line the dock passes to napari's ``show_error``."""
    lines: list[str] = []
    monkeypatch.setattr("napari_mrtrans.widgets.dock.show_error", lines.append)
    return lines


@pytest.fixture(autouse=True)
def removed_nodes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What drew the layers that are removed during a test, held until its end.

    napari 0.9.2 frees it at once, and with it what other images still draw with: on Mesa the next draw crashes (without
    any plugin: add two images, remove the first, move the slider).
    """
    nodes: list[object] = []
    close = VispyBaseLayer.close

    def close_and_hold(visual: VispyBaseLayer) -> None:
        nodes.append(visual.node)
        close(visual)

    monkeypatch.setattr(VispyBaseLayer, "close", close_and_hold)
    return nodes


def named(viewer: object, start: str) -> object | None:
    """The layer of that name, or the first one called so by what made it: ``a_T1w_T2_mean (flow, n=20)``."""
    found = (layer for layer in viewer.layers if layer.name == start or layer.name.startswith(f"{start} ("))
    return next(found, None)


def has(viewer: object, start: str) -> bool:
    """There is a layer that :func:`named` finds."""
    return named(viewer, start) is not None


@dataclass
class Bench:
    """A viewer with the dock, and the hands of a user."""

    viewer: object
    dock: TransformWidget
    qtbot: object

    def press(self) -> None:
        """Click the one button."""
        assert self.dock.button.isEnabled()
        self.qtbot.mouseClick(self.dock.button, Qt.MouseButton.LeftButton)

    def wait_for(self, *states: object, timeout: int = 30_000) -> None:
        """Let the window live until the dock is in one of ``states``."""
        self.qtbot.waitUntil(lambda: self.dock.state in states, timeout=timeout)

    def run(self, timeout: int = 30_000) -> None:
        """Press Transform and wait for the end."""
        self.press()
        self.qtbot.waitUntil(lambda: not self.dock.state.busy, timeout=timeout)
        self.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=timeout)
        self.qtbot.wait(10)

    def layer(self, name: str) -> object:
        """The layer of that name, with or without what made it."""
        found = named(self.viewer, name)
        assert found is not None, [layer.name for layer in self.viewer.layers]
        return found


@pytest.fixture
def bench(make_napari_viewer: Callable, qtbot: object) -> Iterator[Bench]:
    """A shown viewer with the dock."""
    viewer = make_napari_viewer(show=True)
    dock = TransformWidget(viewer)
    viewer.window.add_dock_widget(dock, name="MR contrast transformation")
    yield Bench(viewer, dock, qtbot)
    dock.cancel()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)


class Heartbeat(QObject):
    """Measures the longest time the event loop did not come round."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def stop(self) -> float:
        """Seconds of the longest gap."""
        self._beat()
        self._timer.stop()
        return self.longest
