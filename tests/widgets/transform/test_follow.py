"""Following the slider in a real viewer: its network's pace under control, or a tiny one that really computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import Qt, QThreadPool

from helpers import head, tiny_checkpoint
from napari_mrtrans import Contrast, Volume, stream
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.errors import OutOfMemory
from napari_mrtrans.follow.scheduling import Stage
from napari_mrtrans.transformation.engine import Cancelled
from napari_mrtrans.transformation.job import Job
from napari_mrtrans.transformation.streaming import Hooks, SliceRunner, SliceUpdate
from napari_mrtrans.widgets.background import in_background
from napari_mrtrans.widgets.layer_kinds import KeepSamples
from napari_mrtrans.widgets.lesion.latest import Measured, changes, latest, remember
from napari_mrtrans.widgets.source import layer_affine
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.dock import TransformWidget
from napari_mrtrans.widgets.transform.form import SliceRange
from napari_mrtrans.widgets.transform.uncertainty import Unsure

from ..conftest import Heartbeat, has


@dataclass
class FakeNetwork:
    """In place of the runners of a job: means are a quarter of the normalised source in a preview and half of it after.

    The last sample number tells runs of several seeds apart, ``model`` those of several models.
    """

    pace: float = 0.0
    error: Exception | None = None
    computed: list[tuple[str, int, bool]] = field(default_factory=list)

    def runners(self, job: Job, checkpoint: Checkpoint, hooks: Hooks) -> dict[bool, FakeRunner]:
        model = checkpoint.card.model
        full = FakeRunner(self, job, model, False, hooks.cancel)
        return {False: full} if model == "direct" else {False: full, True: replace(full, preview=True)}


@dataclass
class FakeRunner:
    network: FakeNetwork
    job: Job
    model: str
    preview: bool
    cancel: Callable[[], bool]

    def compute(self, pending):
        until = time.monotonic() + self.network.pace * (0.2 if self.preview else 1)
        while True:
            if self.cancel():
                raise Cancelled
            if time.monotonic() >= until:
                break
            time.sleep(0.005)
        if self.network.error is not None:
            raise self.network.error
        return [(pending[0], np.zeros(0, np.float32))]

    def update(self, index, result) -> SliceUpdate:
        orientation, count = self.job.orientation, len(self.job.mask)
        where = orientation.slice_index(index, count)
        self.network.computed.append((self.model, where, self.preview))
        share = {"flow": 0.5, "direct": 0.75}[self.model] * (0.5 if self.preview else 1)
        inside = orientation.slice_to_array(self.job.mask[index])
        mean = share * orientation.slice_to_array(self.job.images[index])
        std = np.where(inside, 0.1, 0).astype(np.float32)
        return SliceUpdate(where, mean, std, None, None, 0.1, int(inside.sum()), 0, 0)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, checkpoints) -> FakeNetwork:
    fake = FakeNetwork()
    monkeypatch.setattr("napari_mrtrans.follow.run._runners", fake.runners)
    return fake


@pytest.fixture
def loaded(bench, network, brain):
    """The dock with one T1 of twelve slices, ten of them with head; slice 6 on screen, following chosen."""
    bench.source = bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    bench.dock.form.range.setCurrentText(SliceRange.FOLLOW.value)
    return bench


MEAN, STD = "sub-01_T1w_T2_mean", "sub-01_T1w_T2_std"


def stage(bench, index: int) -> Stage:
    return bench.dock._run.monitor.scheduler.stage(index)


def wait_for_slice(bench, index: int, wanted: Stage = Stage.FINISHED) -> None:
    """Until the slice is that far and shown."""
    level = {Stage.PREVIEWED: 0.25, Stage.FINISHED: 0.5}[wanted]
    source = bench.source.data[index]
    tallest = np.unravel_index(source.argmax(), source.shape)

    def reached() -> bool:
        if not has(bench.viewer, MEAN) or stage(bench, index) is not wanted:
            return False
        value = bench.layer(MEAN).data[index][tallest]
        return np.isfinite(value) and (level == 0.5) == (value > 0.3 * whole)

    whole = normalised_peak(bench, index)
    bench.qtbot.waitUntil(reached, timeout=30_000)


def normalised_peak(bench, index: int) -> float:
    """The brightest voxel of the slice as the network sees it."""
    from napari_mrtrans.scan.intensity import head_mask, normalise

    data = bench.source.data
    return float(normalise(data, head_mask(data), Contrast.T1)[index].max())


def ended(bench) -> None:
    """The worker's thread has come back."""
    bench.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)


def test_a_preview_is_refined_in_place(loaded, network):
    network.pace = 2
    loaded.press()
    assert loaded.dock.button.text() == "Stop following"
    wait_for_slice(loaded, 6, Stage.PREVIEWED)
    mean = loaded.layer(MEAN)
    loaded.qtbot.waitUntil(lambda: loaded.dock.progress.text == "slice 6 · preview, refining…")
    preview = mean.data[6].copy()
    np.testing.assert_array_equal(mean._data_view, preview)
    assert np.isnan(loaded.dock.card.overall)
    wait_for_slice(loaded, 6)
    assert loaded.layer(MEAN) is mean
    np.testing.assert_allclose(mean.data[6], 2 * preview)
    np.testing.assert_array_equal(mean._data_view, mean.data[6])
    assert mean.contrast_limits == [0.0, 1.0]
    assert loaded.dock.card.overall == pytest.approx(0.1)
    loaded.qtbot.waitUntil(lambda: loaded.dock.progress.text == "slice 6 · finished")
    assert loaded.dock.state is DockState.RUNNING
    # The list of layers shows it while the following goes on, also of what is hidden.
    std = loaded.layer(MEAN.replace("mean", "std"))
    assert not std.visible
    loaded.qtbot.waitUntil(lambda: min(layer.thumbnail[..., :3].max() for layer in (mean, std)) > 20)


def test_a_preview_claims_no_spread_and_limits_of_the_std_are_set_once(loaded, network):
    network.pace = 0.3
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, STD))
    std = loaded.layer(STD)
    wait_for_slice(loaded, 6)
    limits = []
    std.events.contrast_limits.connect(lambda: limits.append(tuple(std.contrast_limits)))
    loaded.qtbot.waitUntil(lambda: stage(loaded, 7) is Stage.FINISHED)
    loaded.qtbot.waitUntil(lambda: np.isfinite(std.data[7]).all())
    assert std.data[6].max() == np.float32(0.1)
    loaded.qtbot.waitUntil(lambda: stage(loaded, 4) is Stage.PREVIEWED)
    assert np.isnan(std.data[4]).all()
    assert len(limits) <= 1


def test_the_slice_scrolled_to_comes_next_and_coming_back_computes_nothing(loaded, network):
    network.pace = 0.3
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.viewer.dims.set_point(0, 2)
    before = len(network.computed)
    wait_for_slice(loaded, 2)
    assert ("flow", 2, False) in network.computed[before : before + 3]  # after its preview and what was under way
    loaded.viewer.dims.set_point(0, 6)
    loaded.qtbot.waitUntil(lambda: loaded.dock.progress.text == "slice 6 · finished")
    network.pace = 0
    loaded.qtbot.waitUntil(lambda: all(stage(loaded, index) is Stage.FINISHED for index in range(1, 11)))
    assert len(set(network.computed)) == len(network.computed)


def test_a_slice_without_head_is_told(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.viewer.dims.set_point(0, 0)
    loaded.qtbot.waitUntil(lambda: loaded.dock.progress.text == "slice 0 · no head here")


def test_slices_that_were_remembered_are_a_complete_result_and_no_pace(loaded, network, monkeypatch):
    paces = []
    monkeypatch.setattr("napari_mrtrans.widgets.transform.run.remember", lambda *pace: paces.append(pace))
    for _ in range(2):
        loaded.press()
        loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished == 10)
        loaded.qtbot.waitUntil(lambda: len(loaded.dock._run.gathered.finished) == 10)
        loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.offered == 10)
        loaded.press()
        loaded.wait_for(DockState.CANCELLED)
        ended(loaded)
    assert len([index for _, index, preview in network.computed if not preview]) == 10
    assert loaded.dock._run.ensemble().info["complete"] is True and paces == []


def test_stopping_leaves_finished_slices_only(loaded, network):
    loaded.press()
    wait_for_slice(loaded, 6)
    network.pace = 30
    loaded.viewer.dims.set_point(0, 0)
    network.pace = 0.2
    loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished >= 1)
    loaded.press()
    assert loaded.dock.button.text() == "Cancelling…"
    loaded.wait_for(DockState.CANCELLED, timeout=1000)
    ended(loaded)
    finished = {index for _, index, preview in network.computed if not preview}
    shown = set(np.flatnonzero(np.nan_to_num(loaded.layer(MEAN).data).any(axis=(1, 2))))
    assert shown == finished
    assert loaded.dock.message.text().startswith("Stopped following. ")
    assert loaded.dock.form.isEnabled()
    loaded.viewer.dims.set_point(0, 2)
    loaded.qtbot.wait(100)
    assert not any(index == 2 for _, index, _ in network.computed if index not in finished)


def test_another_model_takes_the_layers_over_and_switching_back_is_instant(loaded, network):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, STD))
    mean = loaded.layer(MEAN)
    flow = mean.data[6].copy()
    record = mean.metadata["mrtrans"]
    loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished == 10)
    loaded.dock.form.model.setCurrentText("direct · T1→T2")
    loaded.qtbot.waitUntil(lambda: np.allclose(mean.data[6], 1.5 * flow))
    assert mean.metadata["mrtrans"]["model"] == "direct"
    assert mean.metadata["mrtrans"]["run"] != record["run"]
    assert [layer.name for layer in loaded.viewer.layers] == ["sub-01_T1w", f"{MEAN} (direct)"]
    before = sum(model == "flow" for model, _, _ in network.computed)
    network.pace = 30
    loaded.dock.form.model.setCurrentText("flow · T1→T2")
    loaded.qtbot.waitUntil(lambda: np.allclose(mean.data[6], flow))
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, STD))
    assert sum(model == "flow" for model, _, _ in network.computed) == before
    assert mean.metadata["mrtrans"]["model"] == "flow"
    assert loaded.dock.card.overall == pytest.approx(0.1)


def test_what_was_of_the_other_model_goes_with_it(loaded, network, brain):
    """The error map, and what the lesion check measured; the slider stays where it was scrolled to."""
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished == 10)
    loaded.viewer.add_image(brain, name="sub-01_T2w")
    loaded.viewer.layers.selection.active = loaded.source
    panel, mean = loaded.dock.acquired, loaded.layer(MEAN)
    loaded.qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_error"), timeout=60_000)
    forgotten = []
    changes.forgotten.connect(forgotten.append)
    remember(mean, Measured(None, "ROI", None, None))
    loaded.dock.form.model.setCurrentText("direct · T1→T2")
    loaded.qtbot.waitUntil(lambda: mean.metadata["mrtrans"]["model"] == "direct")
    loaded.dock.form.model.setCurrentText("flow · T1→T2")
    loaded.qtbot.waitUntil(lambda: mean.metadata["mrtrans"]["model"] == "flow")
    changes.forgotten.disconnect(forgotten.append)
    assert not has(loaded.viewer, "sub-01_T1w_T2_error") and latest(mean) is None
    assert forgotten == [mean, mean]
    loaded.viewer.dims.set_point(0, 8)
    loaded.dock.form.model.setCurrentText("direct · T1→T2")
    loaded.qtbot.waitUntil(lambda: mean.metadata["mrtrans"]["model"] == "direct")
    assert loaded.viewer.dims.point[0] == 8


def test_another_target_renames_the_layers(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    mean = loaded.layer(MEAN)
    loaded.dock.form.target.setCurrentText("FLAIR")
    loaded.qtbot.waitUntil(lambda: mean.name.startswith("sub-01_T1w_FLAIR_mean (flow, n="))
    assert mean.metadata["mrtrans"]["target"] == "FLAIR"
    assert not has(loaded.viewer, MEAN)


def test_numbers_take_effect_too_and_others_do_not_restart(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    run = loaded.dock._run
    loaded.dock.form.reload()
    loaded.qtbot.wait(400)
    assert loaded.dock._run is run
    loaded.dock.form.seed.setValue(3)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run is not run)
    assert loaded.dock._run.work.request.seed == 3
    loaded.qtbot.waitUntil(lambda: loaded.layer(MEAN).metadata["mrtrans"]["seed"] == 3)  # with its first slice


def test_a_brain_mask_that_is_painted_on_takes_effect_and_scrolling_over_it_is_no_edit(loaded, network, brain):
    mask = loaded.viewer.add_labels((brain > 0).astype(np.uint8), name="mask")
    loaded.viewer.layers.selection.active = loaded.source
    loaded.dock.form.advanced.brain.choose(mask)
    loaded.press()
    wait_for_slice(loaded, 6)
    run = loaded.dock._run
    loaded.viewer.dims.set_point(0, 7)
    wait_for_slice(loaded, 7)
    loaded.qtbot.wait(700)
    assert loaded.dock._run is run
    inside = np.argwhere(mask.data)
    corner = tuple(inside[inside[:, 0] == 7][:4].T)
    mask.data_setitem(corner, 0)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run is not run)
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, STD) and not np.nan_to_num(loaded.layer(STD).data[corner]).any())


def test_another_image_gets_layers_of_its_own(loaded, brain):
    loaded.press()
    wait_for_slice(loaded, 6)
    other = loaded.viewer.add_image(brain[:, ::-1].copy(), name="sub-02_T1w")
    loaded.dock.form.image.choose(other)
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-02_T1w_T2_mean"))
    assert np.nan_to_num(loaded.layer(MEAN).data[6]).any()


def test_choosing_all_slices_stops_following(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.dock.form.range.setCurrentText(SliceRange.ALL.value)
    loaded.wait_for(DockState.CANCELLED)
    ended(loaded)


def test_an_image_that_cannot_be_followed_stops_it_and_is_told(loaded, brain):
    loaded.press()
    wait_for_slice(loaded, 6)
    other = loaded.viewer.add_image(np.stack([brain, brain]), name="two_T1w")
    loaded.dock.form.image.choose(other)
    loaded.wait_for(DockState.CANCELLED)
    assert "'two_T1w' is 4-D; expected one 3-D volume." in loaded.dock.message.text()


@pytest.mark.parametrize("name", ["sub-01_T1w", MEAN])
def test_removing_a_layer_stops_following(loaded, name):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.viewer.layers.remove(loaded.layer(name))
    loaded.wait_for(DockState.CANCELLED, timeout=1000)
    assert loaded.dock.message.text().startswith("Stopped following: a layer was removed.")
    ended(loaded)
    loaded.viewer.dims.set_point(0, 3)


def test_closing_the_dock_ends_the_worker(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.viewer.window.remove_dock_widget(loaded.dock)
    ended(loaded)
    loaded.viewer.dims.set_point(0, 3)


def test_closing_the_viewer_ends_the_worker_also_while_it_waits(make_napari_viewer, qtbot, network, brain):
    viewer = make_napari_viewer()
    dock = TransformWidget(viewer)
    viewer.window.add_dock_widget(dock, name="dock")
    viewer.add_image(brain, name="a_T1w")
    dock.form.range.setCurrentText(SliceRange.FOLLOW.value)
    dock.start()
    qtbot.waitUntil(lambda: dock._run.monitor.scheduler.finished == 10)
    qtbot.wait(50)
    assert QThreadPool.globalInstance().activeThreadCount() == 1
    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)


def test_closing_one_of_two_windows_ends_its_worker_while_it_waits(make_napari_viewer, qtbot, network, brain):
    viewers = [make_napari_viewer() for _ in range(2)]
    dock = TransformWidget(viewers[0])
    viewers[0].window.add_dock_widget(dock, name="dock")
    viewers[0].add_image(brain, name="a_T1w")
    dock.form.range.setCurrentText(SliceRange.FOLLOW.value)
    dock.start()
    qtbot.waitUntil(lambda: dock._run.monitor.scheduler.finished == 10)
    viewers[0].close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=2000)


def test_whoever_waits_for_the_user_leaves_the_threads_to_others(loaded):
    pool = QThreadPool.globalInstance()
    threads = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    try:
        loaded.press()
        loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished == 10)
        done = []
        in_background(lambda: "done", lambda outcome, _: done.append(outcome))
        loaded.qtbot.waitUntil(lambda: done == ["done"], timeout=3000)
        loaded.dock.cancel()
        ended(loaded)
        assert pool.maxThreadCount() == 1
    finally:
        pool.setMaxThreadCount(threads)


@pytest.mark.parametrize("view", ["roll", "transpose twice", "3-D"])
def test_where_the_slider_moves_through_another_plane_all_slices_are_filled(loaded, network, view):
    loaded.press()
    wait_for_slice(loaded, 6)
    dims = loaded.viewer.dims
    loaded.viewer.dims.set_point(0, 9)
    if view == "3-D":
        dims.ndisplay = 3
    else:
        dims.order = (1, 2, 0) if view == "roll" else (2, 0, 1)
        dims.set_point(dims.order[0], 8)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished == 10)
    loaded.qtbot.waitUntil(lambda: loaded.dock.progress.text == "all slices are in view · 10/10 finished")
    filled = np.nan_to_num(loaded.layer(MEAN).data)
    np.testing.assert_array_equal(filled.any(axis=(1, 2)), loaded.source.data.any(axis=(1, 2)))
    loaded.qtbot.waitUntil(lambda: np.count_nonzero(loaded.layer(MEAN)._data_view) > 0)
    dims.ndisplay = 2
    dims.order = (0, 1, 2)
    loaded.qtbot.waitUntil(lambda: loaded.dock.progress.text == "slice 9 · finished")


@pytest.mark.parametrize(
    "placement",
    [
        {"scale": (-2.0, 1.0, 1.0), "translate": (22.0, 0.0, 0.0)},
        {"affine": np.array([[0.94, 0, 0.34, -5], [0, 1, 0, 0], [-0.34, 0, 0.94, 11], [0, 0, 0, 1.0]])},
    ],
    ids=["runs backwards", "tilted"],
)
def test_the_slice_followed_is_the_one_on_screen_wherever_the_layer_lies(bench, network, brain, placement):
    bench.source = bench.viewer.add_image(brain, name="sub-01_T1w", **placement)
    bench.viewer.dims.set_point(range(3), bench.source.data_to_world((3, 8, 8)))
    shown = round(bench.source.world_to_data(bench.viewer.dims.point)[0])  # sliders move by whole steps
    bench.dock.form.range.setCurrentText(SliceRange.FOLLOW.value)
    bench.press()
    bench.qtbot.waitUntil(lambda: ("flow", shown, False) in network.computed)
    assert network.computed[0] == ("flow", shown, True)
    assert network.computed.index(("flow", shown, False)) == 1


def test_out_of_memory_is_told_and_ends_it(loaded, network, errors):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run.monitor.scheduler.finished == 10)
    network.error = OutOfMemory("The GPU ran out of memory at slice 3. Finished slices were kept.")
    loaded.dock.form.seed.setValue(1)
    loaded.wait_for(DockState.FAILED)
    assert errors == ["The GPU ran out of memory at slice 3. Finished slices were kept."]
    ended(loaded)
    assert loaded.dock.button.text() == "Transform"


def test_other_planes_wait_for_a_run_and_that_is_told(loaded):
    box = loaded.dock.form.advanced._three_planes
    box.setEnabled(True)
    box.setChecked(True)
    loaded.press()
    wait_for_slice(loaded, 6)
    assert not loaded.dock._run.work.request.three_planes
    told = "axial slices are seen alone"
    loaded.qtbot.waitUntil(lambda: told in loaded.dock.message.text())


def test_samples_are_not_kept_and_that_is_told(loaded):
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(lambda: "Samples are not kept while the slider is followed." in loaded.dock.message.text())
    assert not any("samples" in layer.name for layer in loaded.viewer.layers)


# With a network that really computes: the promise of the interactive mode.

SLICES = 40


@pytest.fixture
def computing(bench, checkpoints):
    """A T1 of 40 axial slices and a tiny network that takes about a second for each."""
    for path in checkpoints.parent.glob("shipped/*.safetensors"):
        path.unlink()
    bench.checkpoint = tiny_checkpoint(checkpoints / "tiny-flow.safetensors")
    bench.source = bench.viewer.add_image(head((40, 48, SLICES)).transpose(2, 1, 0), name="sub-01_T1w")
    bench.dock.form.range.setCurrentText(SliceRange.FOLLOW.value)
    bench.dock.form.samples.setValue(20)
    bench.dock.form.advanced._steps.setValue(50)
    bench.viewer.dims.set_point(0, 5)
    return bench


def scroll(bench, step: int, count: int = 30, seconds: float = 3.0) -> float:
    """Press an arrow key on the slider so many times; the gap of the event loop that nine of ten steps stay below."""
    slider = bench.viewer.window._qt_viewer.dims.slider_widgets[0].slider
    right, left = Qt.Key.Key_Right, Qt.Key.Key_Left
    before = slider.value()
    bench.qtbot.keyClick(slider, right)
    ahead, back = (right, left) if slider.value() > before else (left, right)  # releases of Qt differ
    slider.setValue(before)
    key = ahead if step > 0 else back
    gaps = []
    for _ in range(count):
        heartbeat = Heartbeat()
        bench.qtbot.keyClick(slider, key)
        bench.qtbot.wait(round(1000 * seconds / count))
        gaps.append(heartbeat.stop())
    return sorted(gaps)[int(0.9 * count)]


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Slices that were begun and dropped."""
    compute, dropped = SliceRunner.compute, []

    def spied(runner: SliceRunner, pending: list[int]) -> object:
        try:
            return compute(runner, pending)
        except Cancelled:
            dropped.append(pending)
            raise

    monkeypatch.setattr(SliceRunner, "compute", spied)
    return dropped


def test_scrolling_30_slices_in_3_seconds_ends_on_the_right_one_and_leaves_the_window_free(computing, given_up):
    computing.press()
    computing.qtbot.waitUntil(lambda: has(computing.viewer, STD), timeout=60_000)
    updates: list[SliceUpdate] = []
    computing.dock._worker.yielded.connect(updates.append)
    gap = scroll(computing, 1)
    scheduler = computing.dock._run.monitor.scheduler
    assert computing.viewer.dims.point[0] == 35
    passed, dropped = [update for update in updates if not update.preview], len(given_up)
    computing.qtbot.waitUntil(lambda: scheduler.stage(35) is Stage.FINISHED, timeout=60_000)
    computing.qtbot.waitUntil(lambda: any(u.index == 35 and not u.preview for u in updates))
    finished = [update.index for update in updates if not update.preview]
    assert finished[len(passed)] == 35
    assert len(passed) <= 5
    assert dropped >= 1
    volume = Volume(computing.source.data, layer_affine(computing.source), Contrast.T1)
    (expected,) = stream(volume, computing.checkpoint, target="T2", n=20, steps=50, slices=(35, 36), prepare=False)
    np.testing.assert_allclose(computing.layer(MEAN).data[35], expected.mean, atol=1e-4)
    computing.press()
    computing.wait_for(DockState.CANCELLED)
    ended(computing)
    # A busy machine holds up any window: what counts there is what following adds.
    assert gap < max(0.1, 2 * scroll(computing, -1)), gap


def test_followed_slices_can_be_saved_without_their_previews(loaded, network, tmp_path):
    network.pace = 0.3
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.press()
    loaded.wait_for(DockState.CANCELLED)
    loaded.dock.save.save(tmp_path)
    path = tmp_path / "sub-01_T1w_T2_mean.nii.gz"
    loaded.qtbot.waitUntil(lambda: path.exists() and loaded.dock.save.isEnabled(), timeout=30_000)
    mean = nib.load(path).get_fdata()
    np.testing.assert_array_equal(mean, np.nan_to_num(loaded.layer(MEAN).data))
    shown = [k for k in range(12) if np.isfinite(loaded.layer(MEAN).data[k]).all()]
    assert shown == [k for k in range(12) if mean[k].any()] == loaded.dock._run.gathered.finished


def test_another_axial_axis_is_another_run(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    before, combo = loaded.dock._run, loaded.dock.form.view.axis
    combo.setCurrentIndex(1)
    combo.activated.emit(1)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run is not before, timeout=5000)
    assert loaded.dock._run.axis == 1
    loaded.qtbot.waitUntil(lambda: loaded.dock._run.countdown.done > 0, timeout=20_000)
    assert loaded.layer(MEAN).metadata["mrtrans_axial_axis"] == 1


def test_a_veil_goes_with_the_std_that_it_shows(loaded):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, STD), timeout=20_000)
    uncertainty, run = loaded.dock.uncertainty, loaded.dock._run
    loaded.dock.form.seed.setValue(3)
    loaded.qtbot.waitUntil(lambda: loaded.dock._run is not run, timeout=5000)
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(uncertainty.isVisible, timeout=20_000)
    uncertainty.unsure.setCurrentText(Unsure.HIDDEN.value)
    loaded.qtbot.waitUntil(lambda: uncertainty.veil is not None, timeout=5000)
    veil = uncertainty.veil
    loaded.dock.form.choose(Contrast.T1, Contrast.T2, "direct")
    loaded.qtbot.waitUntil(lambda: not has(loaded.viewer, STD), timeout=20_000)
    assert veil not in loaded.viewer.layers


def all_finished(bench) -> bool:
    """Every slice that was offered is told to be finished."""
    offered = bench.dock._run.monitor.scheduler.offered
    return offered > 0 and f"{offered}/{offered} finished" in bench.dock.progress.text


def test_what_is_remembered_counts_as_finished_of_all(loaded):
    loaded.viewer.dims.ndisplay = 3
    for _ in range(2):
        loaded.press()
        loaded.qtbot.waitUntil(lambda: "finished" in loaded.dock.progress.text, timeout=20_000)
        loaded.qtbot.waitUntil(partial(all_finished, loaded), timeout=30_000)
        loaded.dock.cancel()
        loaded.qtbot.waitUntil(lambda: not loaded.dock.state.busy, timeout=5000)


@pytest.mark.parametrize("how", ["fails", "is stopped"])
def test_what_was_followed_can_be_saved_where_the_next_model_gave_nothing(loaded, network, how):
    loaded.press()
    wait_for_slice(loaded, 6)
    loaded.qtbot.waitUntil(lambda: bool(loaded.dock._results()), timeout=5000)
    network.error, network.pace = (OutOfMemory("too large"), 0) if how == "fails" else (None, 3)
    loaded.dock.form.model.setCurrentIndex(1)
    if how == "fails":
        loaded.qtbot.waitUntil(lambda: loaded.dock.state is DockState.FAILED, timeout=20_000)
    else:
        loaded.qtbot.waitUntil(lambda: loaded.dock._run.work.checkpoint.card.model == "direct", timeout=5000)
        loaded.press()
        loaded.qtbot.waitUntil(lambda: not loaded.dock.state.busy, timeout=20_000)
    loaded.qtbot.waitUntil(lambda: loaded.dock.save.isVisible(), timeout=5000)
    (kept,) = loaded.dock._results()
    assert kept.work.checkpoint.card.model == "flow" and any(kept.layers.alive())
