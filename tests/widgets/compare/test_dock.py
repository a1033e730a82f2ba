"""Comparing models: which are run on what, the figures of each, and what goes wrong in one of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image, Layer
from napari.layers._source import Source
from napari.utils._proxies import PublicOnlyProxy
from napari_nifti import napari_get_reader
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtWidgets import QApplication, QFileDialog

from helpers import save_nifti
from napari_mrtrans.errors import OutOfMemory
from napari_mrtrans.metrics.comparison import agreement
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.intensity import normalise
from napari_mrtrans.widgets import pace
from napari_mrtrans.widgets.compare.dock import CompareWidget
from napari_mrtrans.widgets.last_used import LastUsed, settings
from napari_mrtrans.widgets.layers import ResultLayers
from napari_mrtrans.widgets.lesion.roi import between
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform import worker
from napari_mrtrans.widgets.transform.beside_box import BesideBox
from napari_mrtrans.widgets.transform.run import Run
from napari_mrtrans.widgets.who import ONE_NAME, OTHERS, UNKNOWN, kinship, may_be_one

from ..conftest import FakeEngine, has

SHAPE = (14, 24, 22)
MODELS = ("many-flow", "one-direct")


@dataclass
class Desk:
    """A viewer with a T1, an acquired T2, the dock, and the hands of a user."""

    viewer: object
    dock: CompareWidget
    qtbot: object
    source: object
    truth: object

    def press(self) -> None:
        assert self.dock.button.isEnabled()
        self.qtbot.mouseClick(self.dock.button, Qt.MouseButton.LeftButton)

    def run(self) -> None:
        self.press()
        self.wait_for(DockState.DONE, DockState.FAILED, DockState.CANCELLED)

    def wait_for(self, *states: DockState) -> None:
        self.qtbot.waitUntil(lambda: self.dock.state in states, timeout=20_000)

    def tick(self, row: int) -> None:
        """Click the box of one model."""
        models = self.dock.form.models
        box = models.visualItemRect(models.item(row))
        at = QPoint(box.left() + 10, box.center().y())
        self.qtbot.mouseClick(models.viewport(), Qt.MouseButton.LeftButton, pos=at)

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def cells(self, row: int) -> list[str]:
        table = self.dock.table
        return [item.text() if (item := table.item(row, column)) else "" for column in range(table.columnCount())]


@pytest.fixture
def head() -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in SHAPE], indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    return np.where(radius < 1, 100 * (1.5 - radius), 0).astype(np.float32)


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr("napari_mrtrans.widgets.dock.show_error", lines.append)
    return lines


@pytest.fixture
def desk(make_napari_viewer: Callable, qtbot: object, engine: FakeEngine, head: np.ndarray) -> Iterator[Desk]:
    viewer = make_napari_viewer(show=True)
    dock = CompareWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Compare models")
    source = viewer.add_image(head, name="a_T1w")
    rng = np.random.default_rng(0)
    truth = viewer.add_image(np.where(head > 0, 300 - head + rng.normal(0, 9, SHAPE), 0).astype("f4"), name="a_T2w")
    dock.form.image.choose(source)
    dock.form.range.setCurrentText("All slices")
    for row in range(dock.form.models.count()):
        dock.form.models.item(row).setCheckState(Qt.CheckState.Checked)
    viewer.dims.set_point(0, 7)
    yield Desk(viewer, dock, qtbot, source, truth)
    dock.cancel()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)


def normalised(truth: np.ndarray) -> np.ndarray:
    return normalise(truth, truth > 0, Contrast.T2)


def test_figures_are_of_the_image_and_target_that_are_chosen(desk: Desk, head: np.ndarray) -> None:
    desk.dock.form.samples.setValue(2)
    desk.run()
    results, form = desk.dock._results, desk.dock.form
    assert results.isVisible() and desk.dock._file()[0] == "a_T1w_T2_comparison.csv"
    other = desk.viewer.add_image(head, name="b_T1w")
    form.image.choose(other)
    assert not results.isVisible()
    form.image.choose(desk.source)
    assert results.isVisible()
    form.target.setCurrentText("FLAIR")
    assert not results.isVisible()
    form.target.setCurrentText("T2")
    assert results.isVisible()


def test_every_model_leaves_layers_and_a_row(desk: Desk, engine: FakeEngine, head: np.ndarray) -> None:
    form = desk.dock.form
    assert [form.models.item(row).text() for row in range(form.models.count())] == ["flow", "direct"]
    assert form.reference.layer is desk.truth
    form.samples.setValue(3)
    desk.run()
    assert [(r.checkpoint.name, r.request.n, r.request.target) for r in engine.requests] == [
        ("many-flow", 3, Contrast.T2),
        ("one-direct", 1, Contrast.T2),
    ]
    made = {f"{kind} (flow, n=3)" for kind in ("mean", "std", "error")} | {"mean (direct)", "error (direct)"}
    assert set(desk.names()) == {"a_T1w", "a_T2w"} | {f"a_T1w_T2_{name}" for name in made}
    wanted = normalised(desk.truth.data)
    filled = head.any(axis=(1, 2))
    error = desk.viewer.layers["a_T1w_T2_error (flow, n=3)"]
    np.testing.assert_allclose(error.data[filled], np.abs(head / 200 - wanted)[filled], atol=1e-6)
    assert error.metadata["mrtrans"]["kind"] == "error"
    flow, direct = desk.dock.comparison.rows
    expected = agreement(head / 200, wanted, head > 0, 0, np.flatnonzero(filled))
    assert (flow.ssim, flow.psnr) == pytest.approx(expected[:2])
    voxels = (head > 0).sum(axis=(1, 2))
    assert flow.sigma_hat == pytest.approx(np.average(np.arange(14) / 1000, weights=voxels))
    assert direct.sigma_hat is None
    assert desk.cells(0)[:5] == ["flow", f"{flow.sigma_hat:.4f}", "–", f"{flow.ssim:.3f}", f"{flow.psnr:.2f}"]
    assert desk.cells(1)[:3] == ["direct", "–", "–"]
    assert desk.dock.message.text() == "Done: 2 of 2 models."


def test_only_ticked_models_run_without_a_reference_on_this_slice(desk: Desk, engine: FakeEngine) -> None:
    form = desk.dock.form
    desk.qtbot.keyClick(form.reference, Qt.Key.Key_Home)
    assert form.reference.layer is None
    desk.qtbot.keyClick(form.range, Qt.Key.Key_Home)
    desk.tick(0)
    desk.run()
    assert [(r.checkpoint.name, r.request.slices) for r in engine.requests] == [("one-direct", (7, 8))]
    assert set(desk.names()) == {"a_T1w", "a_T2w", "a_T1w_T2_mean (direct)"}
    (row,) = desk.dock.comparison.rows
    assert (row.slices, row.ssim, row.psnr) == (1, None, None)
    assert desk.dock.table.isColumnHidden(3)
    assert desk.dock.table.isColumnHidden(4)
    desk.tick(1)
    assert desk.dock.message.text() == "Tick at least one model."
    desk.tick(0)
    assert desk.dock.message.text() == ""


def test_the_pace_is_the_worker_s_and_each_run_is_closed_once(
    desk: Desk, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is taken in the worker's thread, and slices come into the window later than they were computed."""
    closed, reserved = [], []
    close, reserve = Run.close, ResultLayers.reserve

    def watched(layers: ResultLayers) -> None:
        reserve(layers)
        reserved.append((current_thread() is main_thread(), list(layers._reserved)))

    monkeypatch.setattr(Run, "close", lambda run: (closed.append(run.label), close(run)))
    monkeypatch.setattr(ResultLayers, "reserve", watched)
    engine.pace = 0.02
    desk.run()
    assert closed == ["flow, n=20", "direct"]
    assert reserved == [(False, ["mean", "std", "error"]), (False, ["mean", "error"])]
    for row in desk.dock.comparison.rows:
        paced = float(str(settings().value(f"pace/{row.checkpoint}")))
        assert paced == pytest.approx(row.seconds / row.slices / row.n, rel=1e-4)


def test_progress_names_the_model_and_cancel_keeps_what_is_done(
    desk: Desk, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(request: worker.Work, monitor: worker.Monitor) -> Iterator:
        engine.pace = 0.2 if request.checkpoint.name == "many-flow" else 2
        return engine.stream(request, monitor)

    monkeypatch.setattr(worker, "stream", stream)
    said: list[str] = []
    desk.press()
    assert desk.dock.button.text() == "Cancel"
    assert not desk.dock.form.isEnabled()

    def in_the_second() -> bool:
        said.append(desk.dock.progress.text)
        return desk.dock.comparison.rows[1].slices > 0

    desk.qtbot.waitUntil(in_the_second, timeout=20_000)
    desk.press()
    assert desk.dock.button.text() == "Cancelling…"
    desk.wait_for(DockState.CANCELLED)
    assert any(text.startswith("flow · slice ") and text.endswith("/12") for text in said)
    assert desk.dock.message.text() == "Cancelled. 2 of 2 models kept."
    flow, direct = desk.dock.comparison.rows
    assert flow.slices == 12 > direct.slices
    assert flow.psnr is not None
    assert direct.psnr is not None
    assert {"a_T1w_T2_mean (flow, n=20)", "a_T1w_T2_mean (direct)", "a_T1w_T2_error (direct)"} <= set(desk.names())
    assert desk.dock.button.text() == "Run"


def test_an_error_in_one_model_does_not_stop_the_others(
    desk: Desk, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, errors: list[str]
) -> None:
    def stream(request: worker.Work, monitor: worker.Monitor) -> Iterator:
        engine.error, engine.error_after = None, 10**9
        if request.checkpoint.name == "many-flow":
            engine.error, engine.error_after = OutOfMemory("The GPU ran out of memory at slice 3."), 4
        return engine.stream(request, monitor)

    monkeypatch.setattr(worker, "stream", stream)
    desk.run()
    assert desk.dock.state is DockState.DONE
    assert desk.dock.message.text() == "Done: 1 of 2 models."
    assert desk.cells(0)[:2] == ["flow", "The GPU ran out of memory at slice 3."]
    assert desk.dock.table.columnSpan(0, 1) == 5
    assert desk.cells(1)[0] == "direct"
    assert desk.dock.comparison.rows[1].slices == 12
    assert np.nan_to_num(desk.viewer.layers["a_T1w_T2_mean (flow, n=20)"].data[7]).any()
    assert errors == []


def test_reference_on_another_grid_is_resampled_and_said(desk: Desk, head: np.ndarray) -> None:
    fine = np.repeat(desk.truth.data, 2, axis=1)
    other = desk.viewer.add_image(fine, name="b_T2w", scale=(1, 0.5, 1), translate=(0, -0.25, 0))
    desk.dock.form.reference.choose(other)
    desk.run()
    line = "'b_T2w' lies on another grid than 'a_T1w'; it was resampled."
    assert desk.dock.message.text() == f"Done: 2 of 2 models.\n{line}"
    wanted = agreement(head / 200, normalised(desk.truth.data), head > 0, 0, range(1, 13))
    assert desk.dock.comparison.rows[0].psnr == pytest.approx(wanted[1], abs=0.2)


@pytest.mark.parametrize(
    "change, line",
    [
        ({"translate": (0, 500, 0)}, "'b_T2w' does not overlap 'a_T1w'. Choose an image of the same head."),
        ({"scale": (0.7, 0.7, 0.7)}, "'b_T2w' is not the head of 'a_T1w': they overlap by "),
    ],
)
def test_reference_of_somebody_else_is_refused_before_any_work(
    desk: Desk, engine: FakeEngine, errors: list[str], change: dict[str, object], line: str
) -> None:
    desk.dock.form.reference.choose(desk.viewer.add_image(desk.truth.data, name="b_T2w", **change))
    desk.run()
    assert desk.dock.state is DockState.FAILED
    assert desk.dock.message.text().startswith(line)
    assert errors == [desk.dock.message.text()]
    assert engine.requests == []
    assert set(desk.names()) == {"a_T1w", "a_T2w", "b_T2w"}


def test_unusable_references_are_told(desk: Desk, errors: list[str]) -> None:
    flat = desk.viewer.add_image(np.ones((2, *SHAPE), "f4"), name="four_T2w")
    for layer, line in (
        (flat, "'four_T2w' is 4-D; expected one 3-D volume."),
        (desk.source, "'a_T1w' is what is transformed; choose an acquired T2 as reference."),
    ):
        desk.dock.form.reference.choose(layer)
        desk.press()
        assert desk.dock.state is DockState.FAILED
        assert desk.dock.message.text() == line
    assert len(errors) == 2


def test_it_starts_small_and_says_how_long_it_takes(
    make_napari_viewer: Callable, qtbot: object, engine: FakeEngine, head: np.ndarray
) -> None:
    """The model used last on the slice on screen; the pace is that of earlier runs."""
    LastUsed({}).remember(Pair(Contrast.T1, Contrast.T2), "one-direct")
    viewer = make_napari_viewer()
    dock = CompareWidget(viewer)
    viewer.add_image(head, name="a_T1w")
    assert [checkpoint.name for _, checkpoint in dock.form.models.chosen] == ["one-direct"]
    assert dock.form.range.currentText() == "This slice"
    assert dock.form.time.text() == "The time of direct is known after a first run."
    pace.remember("one-direct", 10, 30)
    pace.remember("many-flow", 100, 50)
    dock.form.models.item(0).setCheckState(Qt.CheckState.Checked)
    assert dock.form.time.text() == "Takes about 0:13."  # 20 samples of half a second, and one of three
    dock.form.range.setCurrentText("All slices")
    assert dock.form.time.text() == "Takes up to 3:02."


def test_reference_and_means_have_one_window(desk: Desk) -> None:
    before = list(desk.truth.contrast_limits)
    desk.run()
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    low, high = desk.truth.contrast_limits
    shown = np.clip((desk.truth.data - low) / (high - low), 0, 1)
    inside = desk.truth.data > 0
    np.testing.assert_allclose(shown[inside], normalised(desk.truth.data)[inside], atol=0.01)
    assert desk.viewer.layers["a_T1w_T2_mean (flow, n=20)"].contrast_limits == [0, 1]
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    assert list(desk.truth.contrast_limits) == before


def test_side_by_side_and_back(desk: Desk) -> None:
    desk.run()
    desk.viewer.layers["a_T1w_T2_std (flow, n=20)"].visible = True
    before = {layer.name: layer.visible for layer in desk.viewer.layers}
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    assert desk.viewer.canvas.grid.enabled
    seen = {layer.name for layer in desk.viewer.layers if layer.visible}
    assert seen == {"a_T2w", "a_T1w_T2_mean (flow, n=20)", "a_T1w_T2_mean (direct)"}
    assert all(layer.name_overlay.visible == layer.visible for layer in desk.viewer.layers)
    # of a name longer than its cell, the end is seen, which says the model
    assert all(layer.name_overlay.position == "top_right" for layer in desk.viewer.layers if layer.visible)
    desk.viewer.layers.remove("a_T1w_T2_mean (direct)")
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    assert not desk.viewer.canvas.grid.enabled
    after = {layer.name: layer.visible for layer in desk.viewer.layers}
    assert after == {name: seen for name, seen in before.items() if name != "a_T1w_T2_mean (direct)"}
    assert not any(layer.name_overlay.visible for layer in desk.viewer.layers)
    assert all(layer.name_overlay.position == "top_left" for layer in desk.viewer.layers)


def test_side_by_side_leaves_a_grid_that_was_there(desk: Desk) -> None:
    desk.viewer.canvas.grid.enabled = True
    desk.run()
    for _ in range(2):
        desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
        assert desk.viewer.canvas.grid.enabled
    assert not desk.dock.grid.isChecked()


def test_the_last_to_leave_the_grid_switches_it_off(desk: Desk) -> None:
    desk.run()
    grid, beside = desk.viewer.canvas.grid, BesideBox(PublicOnlyProxy(desk.viewer))
    desk.qtbot.addWidget(beside)
    desk.dock.grid.click()
    beside.setChecked(True)
    desk.dock.grid.click()
    assert grid.enabled
    beside.setChecked(False)
    assert not grid.enabled
    beside.setChecked(True)
    desk.dock.grid.click()
    beside.setChecked(False)
    assert grid.enabled
    desk.dock.grid.click()
    assert not grid.enabled


def test_side_by_side_shows_a_reference_of_another_field_of_view_where_the_means_are(desk: Desk) -> None:
    """The reader mirrors each file about its own middle: four more slices at the top show it two levels off."""
    scanner = np.eye(4)[[2, 1, 0, 3]]
    more = np.concatenate([desk.truth.data, np.zeros((4, *SHAPE[1:]), "f4")])
    desk.source.metadata["affine"] = scanner
    desk.source.scale, desk.source.translate = (-1, -1, -1), np.array(SHAPE) - 1
    far = np.array(more.shape) - 1
    other = desk.viewer.add_image(
        more, name="b_T2w", scale=(-1, -1, -1), translate=far, metadata={"affine": scanner.copy()}
    )
    desk.dock.form.reference.choose(other)
    desk.run()
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    shown = desk.viewer.layers["a_T1w_T2_reference (b_T2w)"]
    mean = desk.viewer.layers["a_T1w_T2_mean (flow, n=20)"]
    assert {layer.name for layer in desk.viewer.layers if layer.visible} == {
        shown.name, mean.name, "a_T1w_T2_mean (direct)",
    }  # fmt: skip
    np.testing.assert_allclose(between(shown, mean), np.eye(4), atol=1e-9)
    inside = desk.truth.data > 0
    np.testing.assert_allclose(shown.data[inside], normalised(desk.truth.data)[inside], atol=0.01)
    assert shown.contrast_limits == mean.contrast_limits == [0, 1] and other.contrast_limits != [0, 1]
    # It is no scan to be transformed, or compared with.
    assert shown not in desk.dock.form.reference.layers and shown not in desk.dock.form.image.layers
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    assert not shown.visible and other.visible


def test_a_reference_moved_by_hand_is_told_not_to_count(desk: Desk) -> None:
    read = {"affine": np.eye(4), "coordinate_system": "RAS+"}
    for layer in (desk.source, desk.truth):
        layer.metadata.update(read)
        layer.scale, layer.translate = (-1, -1, -1), np.array(SHAPE) - 1
    desk.run()
    assert desk.dock.message.text() == "Done: 2 of 2 models."
    figures = desk.dock.comparison.rows[0].psnr
    desk.truth.translate = np.add(desk.truth.translate, (0, 3, 0))
    desk.run()
    line = "'a_T2w' was moved or scaled in the window, which does not count: it lies where its file says."
    assert desk.dock.message.text() == f"Done: 2 of 2 models.\n{line}"
    assert desk.dock.comparison.rows[0].psnr == pytest.approx(figures)


def test_closing_the_dock_leaves_side_by_side(desk: Desk) -> None:
    desk.run()
    before = {layer.name: layer.visible for layer in desk.viewer.layers}
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    assert desk.viewer.canvas.grid.enabled
    desk.viewer.window.remove_dock_widget(desk.dock)
    desk.qtbot.waitUntil(lambda: not desk.viewer.canvas.grid.enabled)
    assert {layer.name: layer.visible for layer in desk.viewer.layers} == before


def test_layers_deleted_while_it_runs(desk: Desk, engine: FakeEngine) -> None:
    engine.pace = 0.05
    desk.press()
    desk.qtbot.waitUntil(lambda: has(desk.viewer, "a_T1w_T2_mean (flow, n=20)"), timeout=20_000)
    for name in ("a_T1w_T2_mean (flow, n=20)", "a_T2w", "a_T1w"):
        desk.viewer.layers.remove(name)
    desk.wait_for(DockState.DONE)
    ending, mean, reference, source, problem = desk.dock.message.text().splitlines()
    assert ending == "Done: 2 of 2 models."
    assert mean == "'a_T1w_T2_mean (flow, n=20)' was removed; its figures stay."
    assert reference == "'a_T2w' was removed; the comparison goes on with what was read of it."
    assert source.startswith("'a_T1w' was removed; the comparison goes on")
    assert problem == "'a_T1w' was removed. Choose another image."
    assert desk.dock.comparison.rows[0].psnr is not None
    assert has(desk.viewer, "a_T1w_T2_mean (direct)")
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)
    assert desk.dock.form.reference.layer is None  # what is gone is nobody's reference
    again = desk.viewer.add_image(desk.truth.data, name="a_T2w")
    assert desk.dock.form.reference.layer in (None, again)
    desk.viewer.layers.clear()
    desk.qtbot.mouseClick(desk.dock.grid, Qt.MouseButton.LeftButton)


def test_table_is_copied_and_saved(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.run()
    desk.qtbot.mouseClick(desk.dock.copy, Qt.MouseButton.LeftButton)
    rows = list(csv.DictReader(io.StringIO(QApplication.clipboard().text())))
    assert [row["checkpoint"] for row in rows] == list(MODELS)
    assert float(rows[0]["psnr"]) == pytest.approx(desk.dock.comparison.rows[0].psnr)
    assert (rows[0]["pair"], rows[0]["n"], rows[1]["n"], rows[1]["sigma_hat"]) == ("T1->T2", "20", "1", "")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "a.csv"), ""))
    desk.qtbot.mouseClick(desk.dock.save, Qt.MouseButton.LeftButton)
    assert (tmp_path / "a.csv").read_text() == QApplication.clipboard().text()


def test_closing_the_dock_ends_the_run(desk: Desk, engine: FakeEngine) -> None:
    engine.pace = 0.3
    desk.press()
    desk.wait_for(DockState.RUNNING)
    desk.viewer.window.remove_dock_widget(desk.dock)
    desk.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=10_000)
    assert len(engine.requests) == 1


def test_it_computes_where_the_preferences_say(desk: Desk, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mrtrans.widgets.compare.form.defaults", lambda: SimpleNamespace(device="cpu"))
    assert desk.dock.form.settings(desk.dock.form.pair).request.device == "cpu"


def test_a_reference_is_suggested_until_one_is_chosen(desk: Desk, head: np.ndarray) -> None:
    form = desk.dock.form
    assert form.reference.layer is desk.truth
    desk.viewer.add_image(head, name="c_T2w")
    assert form.reference.layer is desk.truth
    form.target.setCurrentText("FLAIR")
    assert form.reference.layer is None  # a T2 is no reference for it
    form.target.setCurrentText("T2")
    assert form.reference.layer is desk.viewer.layers["c_T2w"]  # the newest
    desk.qtbot.keyClick(form.reference, Qt.Key.Key_Home)
    desk.viewer.add_image(head, name="d_T2w")
    assert form.reference.layer is None


def test_a_synthetic_image_is_told_and_what_it_was_made_of_is_no_truth(desk: Desk, head: np.ndarray) -> None:
    desk.run()
    form = desk.dock.form
    assert not form.note.isVisible()
    form.image.choose(desk.viewer.layers["a_T1w_T2_mean (flow, n=20)"])
    assert (form.source.currentText(), form.target.currentText(), form.reference.layer) == ("T2", "T1", None)
    assert form.note.isVisible() and "is synthetic itself" in form.note.text()
    assert desk.source in form.reference.layers
    another = desk.viewer.add_image(head, name="a_acq-2_T1w")
    assert form.reference.layer is another
    form.image.choose(desk.source)
    assert not form.note.isVisible()


def test_a_mask_is_no_reference_unless_it_is_chosen(desk: Desk, head: np.ndarray) -> None:
    form, names = desk.dock.form, ("a_T2w_lesions", "a_T2w_brainmask", "a_T2w_seg")
    form.target.setCurrentText("FLAIR")
    for name in names:
        desk.viewer.add_image(head > 0, name=name)
    form.target.setCurrentText("T2")
    assert form.reference.layer is desk.truth
    assert {desk.viewer.layers[name] for name in names} <= set(form.reference.layers)
    desk.viewer.layers.remove(desk.truth)
    assert form.reference.layer is None


def test_the_reference_is_of_the_same_person(desk: Desk, head: np.ndarray) -> None:
    viewer, form = desk.viewer, desk.dock.form
    for name in ("sub-01_T1w", "sub-01_T2w", "sub-02_T1w", "sub-02_T2w", "sub-03_T1w"):
        viewer.add_image(head, name=name)
    for source, reference in (("sub-01", "sub-01_T2w"), ("sub-02", "sub-02_T2w"), ("sub-01", "sub-01_T2w")):
        form._choice.image.choose(viewer.layers[f"{source}_T1w"])
        assert form.reference.layer is viewer.layers[reference]
    form._choice.image.choose(viewer.layers["sub-03_T1w"])
    # not another person's, where an image says nothing of whose it is
    assert form.reference.layer is desk.truth
    viewer.layers.remove(desk.truth)
    assert form.reference.layer is None


def test_another_name_may_be_another_person_s(desk: Desk, head: np.ndarray) -> None:
    viewer, form = desk.viewer, desk.dock.form
    for name in ("sub-01_T2w", "sub-02_T2w", "sub-02_T1w"):
        viewer.add_image(head, name=name)
    image, own = viewer.layers["sub-02_T1w"], viewer.layers["sub-02_T2w"]
    form.image.choose(image)
    assert form.reference.layer is own
    image.name = "sub-01_T1w"
    assert form.reference.layer is viewer.layers["sub-01_T2w"]
    form.reference.layer.name, own.name = "sub-03_T2w", "sub-01_T2w"
    assert form.reference.layer is own


def test_a_scan_opened_here_is_compared_next_unless_it_is_the_reference(
    desk: Desk, head: np.ndarray, tmp_path: Path
) -> None:
    form = desk.dock.form
    desk.viewer.layers.remove(desk.truth)
    desk.dock.open_scans([save_nifti(tmp_path / "a_T2w.nii.gz", head)])
    assert form.layer is desk.source and form.reference.layer is desk.viewer.layers[-1]
    desk.dock.open_scans([save_nifti(tmp_path / "b_T1w.nii.gz", head)])
    assert form.layer is desk.viewer.layers[-1]


@pytest.mark.parametrize(
    ("first", "second", "kin"),
    [
        ("sub-01_T1w", "sub-01_T2w", ONE_NAME),
        ("sub-01_T1w", "sub-02_T2w", OTHERS),
        ("sub-01_ses-1_T1w", "sub-01_ses-2_T2w", OTHERS),
        ("sub-01_ses-1_T1w", "sub-01_T2w", ONE_NAME),
        ("sub-01_ses-T1_T1w", "sub-01_ses-T2_T2w", OTHERS),
        ("sub-PD-01_T1w", "sub-PD-02_T2w", OTHERS),
        ("P001_ses-1_T1", "P002_ses-1_T2", UNKNOWN),
        ("IXI012-HH-1211-T1", "IXI012-HH-1211-T2", ONE_NAME),
        ("anna T1", "berta T2", UNKNOWN),
    ],
)
def test_whose_images_are_is_told_by_names(first: str, second: str, kin: int) -> None:
    a, b = (Image(np.zeros((2, 2, 2)), name=name) for name in (first, second))
    assert kinship(a, b) == kinship(b, a) == kin


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("a/BraTS-GLI-00005-000-t1n", "b/BraTS-GLI-00006-000-t2w", False),
        ("a/BraTS-GLI-00005-000-t1n", "b/BraTS-GLI-00005-000-t2w", True),
        ("a/P1_T1", "a/P2_T2", True),
        ("a/T1", "b/T2", True),
    ],
)
def test_files_of_two_folders_and_numbers_are_no_suggestion(first: str, second: str, one: bool, tmp_path: Path) -> None:
    layers = []
    for name in (first, second):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        path = save_nifti(tmp_path / f"{name}.nii.gz", np.ones((2, 2, 2), np.float32))
        layers += (Layer.create(*data) for data in napari_get_reader(str(path))(str(path)))
        layers[-1]._source = Source(path=str(path))
    assert may_be_one(*layers) == may_be_one(*reversed(layers)) == one
