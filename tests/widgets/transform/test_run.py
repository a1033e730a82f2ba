"""Pressing Transform, watching, cancelling, closing: in a real viewer, with the engine's pace under control."""

from __future__ import annotations

import gc
import re
import threading
import weakref

import nibabel as nib
import numpy as np
import pytest
from napari.utils import progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt, QThreadPool
from qtpy.QtGui import QMouseEvent

from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.correction import SpreadCorrection
from napari_mrtrans.errors import CheckpointError, OutOfMemory, SliceError
from napari_mrtrans.ood.image_quality import NAMES
from napari_mrtrans.ood.score import Isotonic, Novelty, OodCalibration, Range
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.widgets.checkpoints.installed import installed
from napari_mrtrans.widgets.demo import open_demo
from napari_mrtrans.widgets.layer_kinds import KeepSamples
from napari_mrtrans.widgets.lesion.measure import measured
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.dock import TransformWidget
from napari_mrtrans.widgets.transform.kept_runs import kept_runs

from ..conftest import Heartbeat, has, write_card


@pytest.fixture
def loaded(bench, engine, brain):
    """The dock with one T1 in the viewer, slice 6 on screen."""
    bench.source = bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    return bench


def test_first_slice_is_there_while_the_rest_still_runs(loaded, engine, brain):
    engine.pace = 0.3
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_mean"))
    mean = loaded.layer("sub-01_T1w_T2_mean")
    assert loaded.dock.state is DockState.RUNNING
    np.testing.assert_allclose(mean.data[6], brain[6] / 200)
    # How many there are by now depends on the machine; of the others nothing is shown.
    finished = loaded.dock._run.gathered.finished
    assert [k for k in range(12) if np.isfinite(mean.data[k]).all()] == finished
    assert [k for k in range(12) if not np.isnan(mean.data[k]).all()] == finished
    loaded.wait_for(DockState.DONE)
    np.testing.assert_allclose(mean.data, brain / 200)
    np.testing.assert_allclose(loaded.layer("sub-01_T1w_T2_std").data[7], np.where(brain[7] > 0, 0.007, 0), atol=1e-7)


def test_slice_reaches_the_canvas(loaded, engine, brain):
    engine.pace = 0.3
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_mean"))
    mean = loaded.layer("sub-01_T1w_T2_mean")
    loaded.qtbot.waitUntil(lambda: mean._data_view.max() > 0)
    np.testing.assert_allclose(mean._data_view, brain[6] / 200)


def test_window_stays_responsive(loaded, engine):
    engine.pace = 0.6
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_std"))
    # Adding a layer and a full garbage collection hold up any napari; what counts is the time slices stream in,
    # and the least over several redraws tells a slow dock, which is slow in all of them, from a busy machine.
    loaded.qtbot.wait(100)
    gc.collect()
    gc.disable()
    try:
        gaps = []
        for _ in range(5):
            heartbeat = Heartbeat()
            loaded.qtbot.wait(600)  # one slice or more
            gaps.append(heartbeat.stop())
    finally:
        gc.enable()
    assert loaded.dock.state is DockState.RUNNING
    assert min(gaps) < 0.1, gaps


def test_one_button_tells_the_state(loaded, engine):
    engine.pace = 0.1
    states = []
    loaded.dock.state_changed.connect(states.append)
    assert loaded.dock.button.text() == "Transform"
    loaded.press()
    assert loaded.dock.button.text() == "Cancel"
    loaded.wait_for(DockState.RUNNING)
    loaded.press()
    assert loaded.dock.button.text() == "Cancelling…"
    assert not loaded.dock.button.isEnabled()
    loaded.wait_for(DockState.CANCELLED)
    assert loaded.dock.button.text() == "Transform"
    assert states == [DockState.LOADING, DockState.RUNNING, DockState.CANCELLING, DockState.CANCELLED]


def test_cancel_ends_within_a_second_and_keeps_finished_slices(loaded, engine, brain):
    engine.pace = 0.2
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_std"))
    loaded.press()
    loaded.wait_for(DockState.CANCELLED, timeout=1000)
    loaded.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)
    mean = loaded.layer("sub-01_T1w_T2_mean")
    np.testing.assert_allclose(mean.data[6], brain[6] / 200)
    assert np.isnan(mean.data[1]).all()
    assert "kept" in loaded.dock.message.text()
    assert engine.closed == 1


def test_cancel_while_loading_does_not_wait(loaded, engine, monkeypatch):
    release = threading.Event()
    original = engine.stream

    def slow_import(request, monitor):
        release.wait(5)
        yield from original(request, monitor)

    monkeypatch.setattr("napari_mrtrans.widgets.transform.worker.stream", slow_import)
    engine.pace = 0.1
    loaded.press()
    loaded.press()
    assert loaded.dock.state is DockState.CANCELLED
    release.set()
    loaded.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    loaded.qtbot.wait(50)
    assert loaded.dock.state is DockState.CANCELLED
    assert list(loaded.viewer.layers) == [loaded.source]


PROGRESS = r"slice [2-9]/10 · 0:\d\d left"


def test_progress_counts_and_estimates(loaded, engine):
    engine.pace = 0.2
    loaded.press()
    # Whichever slice the redraw meets: a busy machine may skip some.
    loaded.qtbot.waitUntil(lambda: re.fullmatch(PROGRESS, loaded.dock.progress.text) is not None)
    loaded.wait_for(DockState.DONE)
    assert loaded.dock.progress.text == ""


def test_running_again_makes_new_layers(loaded):
    loaded.run()
    loaded.run()
    names = [layer.name for layer in loaded.viewer.layers]
    assert "sub-01_T1w_T2_mean (flow, n=20)" in names
    assert "sub-01_T1w_T2_mean (flow, n=20) [1]" in names


def test_this_slice_only(loaded, engine, brain):
    loaded.dock.form.range.setCurrentText("This slice")
    loaded.viewer.dims.set_point(0, 4)
    loaded.run()
    assert engine.requests[0].request.slices == (4, 5)
    mean = loaded.layer("sub-01_T1w_T2_mean").data
    np.testing.assert_allclose(mean[4], brain[4] / 200)
    assert np.isfinite(mean).sum() == brain[4].size


def picture(bench):
    """What the canvas shows, 0 to 255."""
    bench.qtbot.wait(50)
    return bench.viewer.window.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_what_was_not_computed_hides_nothing(loaded, ndisplay):
    loaded.dock.form.range.setCurrentText("This slice")
    loaded.run()
    loaded.source.contrast_limits = (0, 400)
    loaded.viewer.dims.set_point(0, 4)
    loaded.viewer.dims.ndisplay = ndisplay
    shown = picture(loaded)
    loaded.layer("sub-01_T1w_T2_mean").visible = False
    alone = picture(loaded)
    if ndisplay == 2:
        np.testing.assert_array_equal(shown, alone)
    else:  # the slice is drawn on the source, the others hide nothing of it
        assert (shown - alone).min() > -20
        assert (shown - alone).max() > 20


def test_samples_as_one_4d_layer(loaded, brain):
    loaded.dock.form.samples.setValue(3)
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    loaded.run()
    samples = loaded.layer("sub-01_T1w_T2_samples")
    assert samples.data.shape == (3, *brain.shape)
    assert not samples.visible
    inside = brain > 0
    np.testing.assert_allclose(samples.data[2][inside], brain[inside] / 200 + 0.02, rtol=1e-5)
    np.testing.assert_allclose(samples.data_to_world((0, 1, 2, 3))[1:], loaded.source.data_to_world((1, 2, 3)))
    # The 4-D layer gives the viewer one more slider; the slice on screen is still found.
    loaded.viewer.dims.set_point(1, 5)
    loaded.run()
    assert loaded.dock.card.plot.current == 5


def test_samples_as_separate_layers(loaded, brain):
    loaded.dock.form.samples.setValue(2)
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.SEPARATE.value)
    loaded.run()
    second = loaded.layer("sub-01_T1w_T2_sample_02")
    assert not second.visible
    inside = brain > 0
    np.testing.assert_allclose(second.data[inside], brain[inside] / 200 + 0.01, rtol=1e-5)


def test_too_many_samples_to_keep_is_refused(loaded, errors, engine):
    loaded.dock.form.samples.setValue(65)
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    loaded.press()
    assert errors == ["At most 64 samples can be kept. Lower Samples, or set Keep samples to No."]
    assert engine.requests == []


def test_deterministic_model_makes_the_mean_alone(loaded, engine):
    loaded.dock.form.model.setCurrentText("direct · T1→T2")
    loaded.run()
    assert engine.requests[0].request.n == 1
    assert [layer.name for layer in loaded.viewer.layers] == ["sub-01_T1w", "sub-01_T1w_T2_mean (direct)"]
    assert not loaded.dock.card.isVisible()


def test_one_sample_has_no_spread_to_tell(loaded):
    loaded.dock.form.samples.setValue(1)
    loaded.run()
    assert not loaded.dock.card.isVisible()


def test_sigma_card_weighs_slices_by_their_voxels(loaded, brain):
    loaded.run()
    card = loaded.dock.card
    voxels = np.count_nonzero(brain, axis=(1, 2))
    expected = np.average(np.arange(len(brain)) / 1000, weights=voxels)
    assert card.overall == pytest.approx(expected)
    assert f"σ̂ = {expected:.4f}" in card.text
    assert "20 samples" in card.text
    finished = np.isfinite(card.plot.values)
    np.testing.assert_array_equal(finished, voxels > 0)


def calibrate(loaded, spread=None):
    """Give the chosen checkpoint a calibration: σ̂ of training scans is 0.010 to 0.030, P(OOD) rises with novelty."""
    checkpoint = loaded.dock.form.checkpoint
    scans = {f"sub-{i}": np.random.default_rng(i).normal(size=(40, len(NAMES))) for i in range(5)}
    ood = OodCalibration(
        score="novelty",
        n=20,
        ranges={"T1->T2": Range(low=0.01, middle=0.02, high=0.03)},
        novelty={Contrast.T1: Novelty.fit(scans)},
        probability={3: Isotonic(scores=[0.0, 1.0], probabilities=[0.2, 0.9])},
    )
    checkpoint.__dict__["calibration"] = Calibration(card="", ood=ood, spread=spread or {})


def test_the_card_says_p_ood_and_places_sigma_hat_in_the_usual_range(loaded, engine):
    calibrate(loaded)
    engine.novelty = 1.0
    loaded.run()
    card = loaded.dock.card
    assert "P(OOD) = 0.90: out of distribution (10 slices)\nUnusual: unlike the training scans." in card.text
    assert card.sign.isVisible() and card.sign.colour.red() > 2 * card.sign.colour.green()
    assert card.bar.isVisible()
    # The range of σ̂ is no verdict: nothing of it is green.
    shown = card.bar.grab().toImage()
    pixels = (shown.pixelColor(x, y) for x in range(shown.width()) for y in range(shown.height()))
    assert not any(c.green() > c.red() + 25 and c.green() > c.blue() + 25 for c in pixels)
    assert card.bar.position(0.01) > card.bar.position(card.overall) or card.overall > 0.01
    assert "90 % of the training scans lie between 0.0100 and 0.0300" in card.bar.toolTip()


@pytest.mark.parametrize(
    "novelty, said", [(0.0, "0.20: in distribution"), (0.5, "0.55: unsure"), (float("nan"), "not judged")]
)
def test_each_verdict_has_its_own_sign(loaded, engine, novelty, said):
    calibrate(loaded)
    engine.novelty = novelty
    loaded.run()
    card = loaded.dock.card
    assert said in card.text
    colour = card.sign.colour
    strongest = max(("red", "green", "blue"), key=lambda name: getattr(colour, name)())
    assert (strongest, colour.saturation() > 100) == {
        0.0: ("green", True), 0.5: ("red", True), 1.0: ("blue", False),
    }[1.0 if np.isnan(novelty) else novelty]  # fmt: skip


def test_one_slice_has_no_verdict_and_no_place_in_the_range_of_whole_scans(loaded, engine):
    calibrate(loaded)
    loaded.dock.form.range.setCurrentText("This slice")
    loaded.run()
    card = loaded.dock.card
    assert "1 slice" in card.text and "σ̂ = " in card.text
    assert not card.bar.isVisible()


def test_without_calibration_the_card_shows_sigma_hat_alone(loaded):
    loaded.run()
    assert "P(OOD)" not in loaded.dock.card.text
    assert not loaded.dock.card.bar.isVisible()


@pytest.mark.parametrize("wanted", [True, False])
def test_the_std_layer_is_calibrated_unless_switched_off(loaded, engine, wanted):
    calibrate(loaded, {"T1->T2": SpreadCorrection(floor=0.1, factor=0.0)})
    loaded.dock.form.advanced._calibrated.setChecked(wanted)
    engine.correction = 0.1
    loaded.run()
    std = loaded.layer("sub-01_T1w_T2_std")
    assert np.isclose(std.data.max(), 0.1) == wanted
    assert std.metadata["mrtrans"]["std"] == ("calibrated" if wanted else "population")


def test_deleted_layers_do_not_stop_a_run(loaded, engine):
    engine.pace = 0.1
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_mean"))
    loaded.viewer.layers.remove(loaded.source)
    loaded.viewer.layers.remove(loaded.layer("sub-01_T1w_T2_mean"))
    loaded.viewer.dims.set_point(0, 4)
    loaded.wait_for(DockState.DONE)
    assert [layer.name for layer in loaded.viewer.layers] == ["sub-01_T1w_T2_std (flow, n=20)"]
    # The form stays what it was, and says why it cannot be run again.
    assert loaded.dock.form.image.currentText() == "sub-01_T1w"
    assert loaded.dock.message.text().endswith("'sub-01_T1w' was removed. Choose another image.")
    assert not loaded.dock.button.isEnabled()


OUT_OF_MEMORY = "The GPU ran out of memory at slice 41. Finished slices were kept. Lower Batch (now 8), or choose CPU."


BAD_NUMBERS = (
    "8 of 10 slices failed, the others were kept. 'many-flow' gave NaN or infinity for slice 7, sample 2: the file is "
    "damaged or was trained badly. Choose another model."
)


@pytest.mark.parametrize("error", [OutOfMemory(OUT_OF_MEMORY), SliceError(BAD_NUMBERS)])
def test_an_error_of_the_engine_is_shown_verbatim_and_finished_slices_alone(loaded, engine, errors, error):
    engine.error, engine.error_after = error, 2
    loaded.run()
    assert loaded.dock.state is DockState.FAILED
    assert loaded.dock.message.text() == str(error)
    assert errors == [str(error)]
    assert np.flatnonzero(np.nan_to_num(loaded.layer("sub-01_T1w_T2_mean").data).any(axis=(1, 2))).tolist() == [5, 6]


def test_a_checkpoint_that_has_changed_is_chosen_as_it_is_after_the_error(loaded, engine, errors, checkpoints):
    engine.error, engine.error_after = CheckpointError("'many-flow.safetensors' has changed; choose it again."), 0
    before = loaded.dock.form.checkpoint
    write_card(checkpoints.parent / "shipped", before.name, "flow", ["T1->T2"], notes=["retrained"])
    loaded.run()
    assert loaded.dock.state is DockState.FAILED and loaded.dock.message.text() == errors[0]
    assert (before.card.notes, loaded.dock.form.checkpoint.card.notes) == ([], ["retrained"])


class OutOfMemoryError(RuntimeError):
    """Named and derived as torch's own."""


@pytest.mark.parametrize(
    "batch, said", [(0, "Lower Batch, or choose CPU."), (8, "Lower Batch (now 8), or choose CPU.")]
)
def test_torch_out_of_memory_shows_the_remedy(loaded, engine, errors, batch, said):
    engine.error, engine.error_after = OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), 1
    loaded.dock.form.advanced._batch.setValue(batch)
    loaded.run()
    assert errors == [f"The GPU ran out of memory after slice 6. Finished slices were kept. {said}"]
    assert loaded.dock.message.text() == errors[0]
    assert loaded.dock.state is DockState.FAILED


@pytest.mark.parametrize(
    "error, said",
    [
        (RuntimeError("no kernel image"), "The transformation stopped: RuntimeError: no kernel image"),
        (NotImplementedError("aten::foo\nmore"), "The transformation stopped: NotImplementedError: aten::foo"),
        (ZeroDivisionError(), "The transformation stopped: ZeroDivisionError: no message"),
    ],
)
def test_errors_that_a_generator_worker_would_swallow_are_told(loaded, engine, errors, error, said):
    engine.error, engine.error_after = error, 0
    loaded.run()
    assert errors == [said]
    assert loaded.dock.state is DockState.FAILED


def test_an_error_is_notified_once_and_frees_its_frames(loaded, engine):
    class Big:
        pass

    tensors = []

    def failing(request, monitor):
        big = Big()
        tensors.append(weakref.ref(big))
        raise OutOfMemoryError("CUDA out of memory")
        yield big

    notification_manager.records.clear()
    engine.stream = failing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_mrtrans.widgets.transform.worker.stream", failing)
        loaded.run()
    lines = [record.message for record in notification_manager.records if "out of memory" in record.message]
    assert len(lines) == 1
    gc.collect()
    assert tensors[0]() is None


def test_stages_have_true_names_and_go_when_they_are_over(loaded, engine):
    """What goes on now is told beside the bar; only what stays true is told at the end."""
    brain = "'sub-01_T1w' looks like a whole head; extracting its brain first."
    engine.notices = [brain, "No plausible brain found; give a brain mask with --mask."]
    engine.pace = 1
    stages = []
    loaded.dock._timer.timeout.connect(lambda: stages.append(loaded.dock.progress.text))
    loaded.press()
    assert loaded.dock.progress.text == "Starting…"
    loaded.dock._run.monitor.notify(brain)
    loaded.dock._tick()
    assert "Extracting the brain…" in (loaded.dock.progress.text, loaded.dock._run.monitor.stage)
    loaded.wait_for(DockState.RUNNING)
    loaded.press()
    loaded.wait_for(DockState.CANCELLED)
    told = loaded.dock.message.text()
    assert "extracting" not in told
    assert "No plausible brain found; choose a brain mask under Advanced." in told


def test_napari_s_activity_dock_shows_the_run_and_a_hidden_dock_announces_its_end(loaded, engine):
    engine.pace = 0.3
    loaded.press()
    bars = list(progress._all_instances)
    assert [bar.desc for bar in bars] == ["sub-01_T1w → T2 (flow, n=20)"]
    loaded.qtbot.waitUntil(lambda: bars[0].n >= 2)
    assert bars[0].total == 10
    loaded.dock.parent().hide()
    notification_manager.records.clear()
    loaded.wait_for(DockState.DONE)
    assert not progress._all_instances
    told = [record.message for record in notification_manager.records]
    assert told == ["sub-01_T1w → T2 (flow, n=20): Done: 10 slices."]
    loaded.dock.parent().show()


def test_mean_and_samples_share_one_window_and_hidden_layers_have_pictures(loaded, engine):
    loaded.dock.form.samples.setValue(2)
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    loaded.run()
    mean, std, samples = (loaded.layer(f"sub-01_T1w_T2_{kind}") for kind in ("mean", "std", "samples"))
    mean.contrast_limits = (0.1, 0.6)
    assert samples.contrast_limits == [0.1, 0.6]
    assert not std.visible and not samples.visible
    for layer in (std, samples):
        assert layer.thumbnail[..., :3].max() > 60


def test_layers_are_added_one_at_a_time(loaded, engine):
    """Each holds up the window; at the end, too, no step of completing them adds two."""
    loaded.dock.form.samples.setValue(6)
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.SEPARATE.value)
    run = loaded.dock._new_run()
    for update in engine.stream(run.work, run.monitor):
        run.add(update)
    counts = [len(loaded.viewer.layers)]
    while run.finish_one():
        counts.append(len(loaded.viewer.layers))
    assert counts[0] == 2  # source and mean
    assert counts[-1] == 9
    assert max(np.diff(counts)) == 1
    assert not loaded.dock.state.busy


def test_notice_of_the_engine_is_shown_and_stays(loaded, engine):
    engine.notices = ["CUDA not available; using CPU."]
    engine.pace = 0.1
    loaded.press()
    loaded.qtbot.waitUntil(lambda: loaded.dock.message.text() == "CUDA not available; using CPU.")
    loaded.wait_for(DockState.DONE)
    assert loaded.dock.message.text() == "Done: 10 slices.\nCUDA not available; using CPU."


def test_volume_problem_is_told(loaded, errors):
    constant = loaded.viewer.add_image(np.ones((5, 6, 7), np.float32), name="flat_T1w")
    loaded.dock.form.image.choose(constant)
    loaded.run()
    [line] = errors
    assert line.startswith("'flat_T1w' is constant; there is nothing to transform. Give another scan")


def with_image(make_napari_viewer, brain):
    """A viewer, its dock, and an image in it."""
    viewer = make_napari_viewer()
    dock = TransformWidget(viewer)
    viewer.window.add_dock_widget(dock, name="dock")
    viewer.add_image(brain, name="a_T1w")
    return viewer, dock


def test_closing_the_viewer_mid_run_leaves_no_thread(make_napari_viewer, qtbot, engine, brain):
    engine.pace = 0.5
    viewer, dock = with_image(make_napari_viewer, brain)
    dock.start()
    qtbot.waitUntil(lambda: dock.state is DockState.RUNNING)
    assert QThreadPool.globalInstance().activeThreadCount() == 1
    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)
    assert engine.closed == 1


def test_closing_one_of_two_windows_ends_what_it_ran(make_napari_viewer, qtbot, engine, brain):
    engine.pace = 0.5
    docks = []
    for _ in range(2):
        docks.append(with_image(make_napari_viewer, brain)[1])
    for dock in docks:
        dock.start()
    qtbot.waitUntil(lambda: all(dock.state is DockState.RUNNING for dock in docks))
    first, second = (dock._run.monitor for dock in docks)
    docks[0]._viewer.close()
    qtbot.waitUntil(first.cancel.is_set, timeout=1000)
    assert not second.cancel.is_set()
    docks[0].cancel()  # too late, and no error
    docks[1].cancel()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)


def test_closing_the_dock_for_good_cancels_hiding_does_not(loaded, engine):
    engine.pace = 0.5
    loaded.press()
    loaded.wait_for(DockState.RUNNING)
    parent = loaded.dock.parent()
    parent.hide()
    loaded.qtbot.wait(100)
    assert loaded.dock.state is DockState.RUNNING
    parent.show()
    loaded.viewer.window.remove_dock_widget(loaded.dock)
    loaded.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)
    again = TransformWidget(loaded.viewer)
    loaded.viewer.window.add_dock_widget(again, name="again")
    assert again.state is DockState.READY


def test_results_outlive_the_dock_that_made_them(loaded, engine):
    loaded.run()
    loaded.viewer.window.remove_dock_widget(loaded.dock)
    again = TransformWidget(loaded.viewer)
    loaded.viewer.window.add_dock_widget(again, name="again")
    assert again.results.runs.count() == 1 and [again._shown] == again._runs
    assert not again.files.save.isHidden()
    engine.pace = 0.2
    again.button.click()
    loaded.qtbot.waitUntil(lambda: again._run is not None and any(again._run.layers.alive()))
    ended = again._run
    loaded.viewer.window.remove_dock_widget(again)
    loaded.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)
    last = TransformWidget(loaded.viewer)
    loaded.viewer.window.add_dock_widget(last, name="last")
    assert ended in last._results() and not ended.complete


def test_a_result_is_there_again_with_the_file_that_it_was_made_of(bench, engine, brain, tmp_path):
    nib.Nifti1Image(brain.transpose(2, 1, 0), np.eye(4)).to_filename(tmp_path / "sub-01_T1w.nii.gz")
    bench.dock.open_scans([tmp_path / "sub-01_T1w.nii.gz"])
    bench.run()
    run = bench.dock._shown
    bench.viewer.layers.remove(run.source)
    bench.dock.open_scans([tmp_path / "sub-01_T1w.nii.gz"])
    assert bench.dock.form.layer is not run.source and bench.dock._results() == [run]
    bench.dock.form.image.choose(bench.viewer.add_image(brain, name="sub-01_T1w"))
    assert bench.dock._results() == []


def test_side_by_side_shows_the_std_too(loaded):
    loaded.dock.compare.setChecked(True)
    loaded.run()
    assert loaded.viewer.canvas.grid.enabled
    assert loaded.layer("sub-01_T1w_T2_std").visible
    loaded.dock.compare.setChecked(False)
    assert not loaded.viewer.canvas.grid.enabled
    assert not loaded.layer("sub-01_T1w_T2_std").visible


def test_side_by_side_leaves_the_view_as_it_was(loaded):
    loaded.run()
    std = loaded.layer("sub-01_T1w_T2_std")
    loaded.viewer.canvas.grid.enabled = std.visible = True
    for side_by_side in (True, False):
        loaded.dock.compare.setChecked(side_by_side)
        assert loaded.viewer.canvas.grid.enabled and std.visible


def test_side_by_side_goes_with_the_result_that_is_chosen(loaded):
    dock = loaded.dock
    loaded.run()
    first = dock._shown.layers
    loaded.run()
    second = dock._shown.layers
    dock.compare.setChecked(True)
    for number, chosen, other in ((0, first, second), (1, second, first), (1, second, first)):
        dock.uncertainty.unsure.setCurrentText("Faded")
        dock.results.runs.setCurrentIndex(number)
        dock.results.runs.activated.emit(number)
        assert chosen.mean.visible and chosen.std.visible
        assert not other.mean.visible and not other.std.visible
        assert dock.uncertainty.unsure.currentText() == "Shown as the others"  # as no veil is
    dock.compare.setChecked(False)
    assert second.mean.visible and not any(layer.visible for layer in (second.std, first.mean, first.std))


def test_std_contrast_follows_the_spread(loaded):
    loaded.run()
    assert loaded.layer("sub-01_T1w_T2_mean").contrast_limits == [0.0, 1.0]
    low, high = loaded.layer("sub-01_T1w_T2_std").contrast_limits
    assert low == 0
    assert high == pytest.approx(0.01, abs=0.001)


def test_a_click_on_the_curve_goes_to_the_slice(loaded):
    loaded.run()
    plot = loaded.dock.card.plot
    loaded.qtbot.waitUntil(plot.isVisible)
    where = QPoint(round(plot.x_of(4)), plot.height() // 2)
    loaded.qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=where)
    assert loaded.viewer.dims.point[0] == 4
    assert plot.current == 4


def test_demo_opens_the_sample_and_runs_t1_to_t2(make_napari_viewer, qtbot, engine):
    engine.pace = 0.05
    viewer = make_napari_viewer()
    dock = open_demo(viewer)
    qtbot.waitUntil(lambda: has(viewer, "icbm152_T1w_T2_mean"))
    (request,) = engine.requests
    assert (request.source.contrast, request.request.target) == (Contrast.T1, Contrast.T2)
    assert request.checkpoint.card.model == "flow"
    dock.cancel()
    qtbot.waitUntil(lambda: dock.state is DockState.CANCELLED)


def test_the_bar_goes_with_the_choice_that_it_was_about(loaded, engine):
    loaded.run()
    done, total = loaded.dock.progress.count
    assert done == total > 1
    loaded.viewer.layers.clear()
    assert loaded.dock.progress.count == (0, 1)


def test_how_a_run_ended_stands_there_when_its_tab_is_shown_again(loaded, engine, tmp_path):
    """All of it: a link to a page stays one."""
    dock, message = loaded.dock, loaded.dock.message
    loaded.run()
    dock._say_written(tmp_path / "page.html")
    before = dock.state, dock.progress.count, message.text(), message.textFormat()
    dock.parent().hide()
    dock.parent().show()
    assert (dock.state, dock.progress.count, message.text(), message.textFormat()) == before
    assert before[0] is DockState.DONE and message.textFormat() is Qt.TextFormat.RichText


def test_a_double_click_starts_one_run_that_ends(loaded, engine):
    """The second click is handled while napari makes its activity bar."""
    engine.pace, button = 0.02, loaded.dock.button
    centre, left, none = QPointF(button.rect().center()), Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    kinds = QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick
    for kind in (*kinds, QEvent.Type.MouseButtonRelease):
        held = none if kind is QEvent.Type.MouseButtonRelease else left
        where = QPointF(button.mapToGlobal(centre.toPoint()))
        QCoreApplication.postEvent(button, QMouseEvent(kind, centre, where, left, held, Qt.KeyboardModifier.NoModifier))
    loaded.qtbot.waitUntil(lambda: loaded.dock.state in (DockState.DONE, DockState.CANCELLED), timeout=30_000)
    loaded.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)
    loaded.qtbot.wait(50)
    assert not loaded.dock._timer.isActive() and loaded.dock._activity is None and not progress._all_instances


def test_limits_of_the_std_that_the_user_has_set_stay(loaded, engine):
    engine.pace = 0.1
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_std"), timeout=20_000)
    std = loaded.layer("sub-01_T1w_T2_std")
    loaded.qtbot.waitUntil(lambda: std.contrast_limits[1] < 0.5, timeout=20_000)
    std.contrast_limits = (0.001, 0.3)
    loaded.qtbot.waitUntil(lambda: not loaded.dock.state.busy, timeout=30_000)
    loaded.qtbot.wait(50)
    assert std.contrast_limits == [0.001, 0.3]


def test_a_brain_mask_is_of_one_image(loaded, engine, brain):
    form = loaded.dock.form
    form.advanced.brain.choose(loaded.viewer.add_labels((brain > 60).astype(np.uint8), name="brain of sub-01"))
    loaded.run()
    assert engine.requests[-1].request.mask is not None
    form.image.choose(loaded.viewer.add_image(brain[::-1] * 0.7, name="sub-02_T1w"))
    assert form.advanced.brain.layer is None
    loaded.run()
    assert engine.requests[-1].request.mask is None


def test_a_closed_dock_shows_nothing_any_more_and_runs_go_with_their_layers(loaded):
    loaded.run()
    run = weakref.ref(loaded.dock._run)
    before = len(loaded.viewer.mouse_move_callbacks)
    loaded.viewer.window.remove_dock_widget(loaded.dock)
    loaded.qtbot.waitUntil(lambda: len(loaded.viewer.mouse_move_callbacks) == before - 1, timeout=2000)
    assert loaded.dock.uncertainty._run is None
    kept = kept_runs(loaded.viewer)
    assert kept == [run()] and loaded.dock._runs == []
    kept.left(None)
    loaded.viewer.layers.clear()
    assert kept == []


def test_runs_go_with_their_viewer(make_napari_viewer, qtbot, engine, brain):
    viewer, dock = with_image(make_napari_viewer, brain)
    dock.start()
    qtbot.waitUntil(lambda: dock.state is DockState.DONE)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=1000)
    run = weakref.ref(dock._run)
    viewer.close()
    dock = viewer = None
    qtbot.waitUntil(lambda: gc.collect() >= 0 and run() is None, timeout=5000)


def test_what_is_installed_during_a_run_can_be_chosen_after_it(loaded, engine, checkpoints):
    engine.pace = 0.2
    loaded.press()
    loaded.wait_for(DockState.RUNNING)
    write_card(checkpoints, "site-flow", "flow", ["T1->T2"])
    installed.changed.emit()
    models = loaded.dock.form.model
    names = lambda: [models.itemText(index) for index in range(models.count())]  # noqa: E731
    assert not any("site" in name for name in names())
    engine.pace = 0
    loaded.wait_for(DockState.DONE)
    assert any("site" in name for name in names())
    assert "Done" in loaded.dock.message.text() and loaded.dock.state is DockState.DONE


def test_a_reference_chosen_by_hand_is_not_the_next_person_s(bench, engine, brain):
    images = {
        name: bench.viewer.add_image(brain, name=name) for name in ("sub-01_T1w", "sub-01_T2w", "sub-01_acq-x_T2w")
    }
    reference = bench.dock.acquired.reference
    bench.dock.form.image.choose(images["sub-01_T1w"])
    bench.run()
    reference.choose(images["sub-01_T2w"])
    reference.activated.emit(reference.currentIndex())
    bench.run()
    assert reference.layer is images["sub-01_T2w"]  # though another is the newest
    images |= {name: bench.viewer.add_image(brain, name=name) for name in ("sub-02_T1w", "sub-02_T2w")}
    bench.dock.form.image.choose(images["sub-02_T1w"])
    bench.run()
    assert reference.layer is images["sub-02_T2w"]


def test_a_run_s_source_is_the_layer_and_not_its_name(bench, engine, brain):
    source = bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.run()
    mean = bench.layer("sub-01_T1w_T2_mean")
    roi = np.zeros(brain.shape, int)
    roi[5:7, 8:12, 6:10] = 1
    region = bench.viewer.add_labels(roi)
    before = measured(bench.viewer, mean, None, region)[0].contrast["source"]
    source.name = "renamed"
    assert measured(bench.viewer, mean, None, region)[0].contrast["source"] == before
    bench.viewer.layers.remove(source)
    bench.viewer.add_image(brain[::-1, ::-1] ** 2, name="sub-01_T1w")  # the next patient's
    assert "source" not in measured(bench.viewer, mean, None, region)[0].contrast
