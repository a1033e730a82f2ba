"""Save results: the files of the command line, whole or of what a cancelled run has finished."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from helpers import head, tiny_checkpoint
from napari_mrtrans import Contrast, Volume, transform
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.widgets.layer_kinds import KeepSamples
from napari_mrtrans.widgets.lesion.measure import measured
from napari_mrtrans.widgets.placement import drawn_on, inherited
from napari_mrtrans.widgets.source import result_record
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.form import SliceRange

from ..conftest import has, write_card
from ..test_source import AFFINES

NAMES = {"sub-01_T1w_T2_mean.nii.gz", "sub-01_T1w_T2_std.nii.gz", "sub-01_T1w_T2.json"}


@pytest.fixture
def out(tmp_path, monkeypatch):
    """The folder that is chosen in the dialog."""
    folder = tmp_path / "out"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    return folder


@pytest.fixture
def loaded(bench, engine, brain):
    """The dock with one T1 in the viewer, slice 6 on screen."""
    bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    return bench


def save(bench):
    """Click the button and wait until it is done."""
    bench.qtbot.mouseClick(bench.dock.save, Qt.MouseButton.LeftButton)
    bench.qtbot.waitUntil(lambda: bench.dock.save.text() != "Saving…", timeout=60_000)


@pytest.mark.parametrize("name", ["LPS", "oblique"])
def test_the_same_files_as_the_command_line(bench, checkpoints, out, tmp_path, name, monkeypatch):
    monkeypatch.setenv("NAPARI_MRTRANS_BF16", "0")  # with it, answers depend a little on what shares their batch
    for path in checkpoints.parent.glob("shipped/*.safetensors"):
        path.unlink()
    checkpoint = tiny_checkpoint(checkpoints / "tiny-flow.safetensors")
    source = tmp_path / "sub-01_T1w.nii.gz"
    order = [int(axis) for axis in np.argsort(nib.io_orientation(AFFINES[name])[:, 0])]
    nib.Nifti1Image(head((24, 26, 8)).transpose(np.argsort(order)), AFFINES[name]).to_filename(source)
    bench.viewer.open(str(source), plugin="napari-nifti")
    bench.dock.form.samples.setValue(3)
    bench.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    bench.run(timeout=60_000)
    save(bench)
    there = transform(Volume.load(source), checkpoint, target="T2", n=3, keep_samples=True).save(tmp_path / "cli")
    for path in there.values():
        if path.suffix == ".json":
            continue
        mine, theirs = nib.load(out / path.name), nib.load(path)
        np.testing.assert_array_equal(mine.affine, theirs.affine)
        assert mine.header == theirs.header
        np.testing.assert_allclose(mine.get_fdata(), theirs.get_fdata(), atol=1e-4)
    mine, theirs = (json.loads((folder / "sub-01_T1w_T2.json").read_text()) for folder in (out, tmp_path / "cli"))
    assert mine.keys() == theirs.keys()
    assert mine["request"].pop("start_slice") is not None  # the one on screen; the other run began in the middle
    assert theirs["request"].pop("start_slice") is None
    mine["made_on"].pop("threads")  # of a thread: other tests leave this one's own number
    theirs["made_on"].pop("threads")
    for key in mine.keys() - {"seconds", "sigma_hat", "sigma_hat_per_slice"}:
        assert mine[key] == theirs[key], key
    np.testing.assert_allclose(
        np.array(mine["sigma_hat_per_slice"], float), np.array(theirs["sigma_hat_per_slice"], float), atol=1e-4
    )
    assert {path.name for path in out.iterdir()} == {path.name for path in there.values()}


def test_what_is_masked_of_an_image_is_unknown_as_in_python(bench, engine, brain):
    masked = np.ma.masked_array(brain, np.zeros(brain.shape, bool))
    masked[5:7, 8:12, 6:9] = np.ma.masked
    masked.data[masked.mask] = -9999
    bench.viewer.add_image(masked, name="sub-01_T1w")
    bench.run()
    volume = bench.dock._run.ensemble().volume
    np.testing.assert_array_equal(np.isnan(volume.data), masked.mask)
    assert volume.digest() == Volume(masked, volume.affine).digest()


def test_what_is_moved_by_hand_is_told_when_a_result_is_saved_or_compared(
    bench, engine, out, brain, tmp_path, monkeypatch
):
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    for name, image in (("T1w", brain), ("T2w", np.where(brain > 0, 260 - brain, 0).astype(np.float32))):
        nib.Nifti1Image(image.transpose(2, 1, 0), AFFINES["RAS"]).to_filename(tmp_path / f"sub-01_{name}.nii.gz")
        bench.viewer.open(str(tmp_path / f"sub-01_{name}.nii.gz"), plugin="napari-nifti")
    source, acquired = bench.viewer.layers
    panel = bench.dock.acquired
    bench.dock.form.image.choose(source)
    bench.run(timeout=60_000)
    for moved in ([], [acquired], [source, acquired]):
        for layer in moved[:1]:
            layer.translate = np.add(layer.translate, (0, 3, 0))
        save(bench)
        panel.compare()
        bench.qtbot.waitUntil(lambda: not panel._working, timeout=30_000)
        lines = [
            f"'{layer.name}' was moved or scaled in the window, which does not count: it lies where its file says."
            for layer in moved
        ]
        assert panel.figures.text().splitlines()[1:] == lines
        assert bench.dock.message.text().splitlines()[1:] == [line for line in lines if source.name in line]


def test_nothing_to_save_before_a_run_and_during_one(loaded, engine):
    assert not loaded.dock.save.isVisible()
    engine.pace = 0.2
    loaded.press()
    loaded.qtbot.waitUntil(lambda: has(loaded.viewer, "sub-01_T1w_T2_mean"))
    assert not loaded.dock.save.isVisible()
    loaded.wait_for(DockState.DONE)
    assert loaded.dock.save.isEnabled()


def test_another_scan_s_result_is_neither_shown_nor_saved(loaded, engine, brain, out):
    """The card and the button are about the image that is chosen, and say whose they are."""
    card, button = loaded.dock.card, loaded.dock.save
    loaded.run()
    other = loaded.viewer.add_image(brain / 2, name="sub-02_T1w")
    loaded.dock.form.image.choose(other)
    assert not card.isVisible() and not button.isVisible()
    loaded.dock.form.samples.setValue(4)
    loaded.run()
    assert card.text.startswith("sub-02_T1w → T2 (flow, n=4)")
    assert button.toolTip().startswith("sub-02_T1w → T2 (flow, n=4)")
    loaded.dock.form.image.choose(loaded.viewer.layers["sub-01_T1w"])
    assert card.isVisible() and card.text.startswith("sub-01_T1w → T2 (flow, n=20)")
    assert button.text().startswith("Save sub-01")
    save(loaded)
    assert {path.name for path in out.iterdir()} == NAMES


def test_saved_results_are_known_when_they_are_opened_again(bench, engine, out, brain, tmp_path):
    source = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(brain.transpose(2, 1, 0), AFFINES["RAS"]).to_filename(source)
    (acquired,) = bench.viewer.open(str(source), plugin="napari-nifti")
    bench.dock.form.samples.setValue(3)
    bench.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    bench.run(timeout=60_000)
    save(bench)
    for layer in list(bench.viewer.layers):
        if layer is not acquired:
            bench.viewer.layers.remove(layer)
    kinds = {}
    for path in sorted(out.glob("*.nii.gz")):
        (layer,) = bench.viewer.open(str(path), plugin="napari-nifti")
        kinds[result_record(layer)["kind"]] = layer
    mean = kinds["mean"]
    record = result_record(mean)
    assert kinds.keys() == {"mean", "std", "samples"}
    assert {result_record(layer)["report"] for layer in kinds.values()} == {str(out / "sub-01_T1w_T2.json")}
    assert len({result_record(layer)["run"] for layer in kinds.values()}) == 1
    assert (record["input"], record["target"], record["model"], record["n"]) == ("sub-01_T1w", "T2", "flow", 3)
    form = bench.dock.form
    assert form.image.layers == [acquired, mean]  # neither std nor samples
    form.image.choose(mean)
    assert form.source.currentText() == "T2"
    assert form.note.isVisible() and "is synthetic itself" in form.note.text()
    # The lesion check finds what belongs to it.
    roi = bench.viewer.add_labels((np.asarray(mean.data) > 0.5).astype(int), **inherited(mean))
    report, _ = measured(bench.viewer, mean, acquired, roi)
    assert report.std_inside is not None and len(report.sample_r) == 3
    assert report.sample_r[0] == pytest.approx(report.r, abs=1e-4)
    # Another file of that name is another scan.
    (tmp_path / "other").mkdir()
    nib.Nifti1Image(brain.transpose(2, 1, 0) + 1, AFFINES["RAS"]).to_filename(tmp_path / "other" / source.name)
    assert report.contrast.keys() >= {"source"}
    bench.viewer.layers.remove(acquired)
    (other,) = bench.viewer.open(str(tmp_path / "other" / source.name), plugin="napari-nifti")
    assert "source" not in measured(bench.viewer, mean, other, roi)[0].contrast
    form.image.choose(other)
    assert not bench.dock.results.isVisible()
    # Without its report, the header still says what a file is.
    (out / "sub-01_T1w_T2.json").unlink()
    (again,) = bench.viewer.open(str(out / "sub-01_T1w_T2_std.nii.gz"), plugin="napari-nifti")
    assert result_record(again) == {"target": "T2", "kind": "std", "std": "population", "reopened": True}


@pytest.mark.parametrize("turn", ["RAS", "ILA"])
def test_a_result_that_was_reopened_is_listed_shown_reported_and_removed(bench, engine, out, brain, tmp_path, turn):
    source = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(brain.transpose(2, 1, 0), AFFINES[turn]).to_filename(source)
    (acquired,) = bench.viewer.open(str(source), plugin="napari-nifti")
    bench.dock.form.samples.setValue(3)
    bench.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    bench.run(timeout=60_000)
    sigma, samples = bench.dock.card.plot.values.copy(), bench.dock._run.layers.samples
    save(bench)
    bench.qtbot.mouseClick(bench.dock.results.remove, Qt.MouseButton.LeftButton)
    assert list(bench.viewer.layers) == [acquired] and not bench.dock.card.isVisible()
    for kind in ("mean", "std", "samples"):
        bench.viewer.open(str(out / f"sub-01_T1w_T2_{kind}.nii.gz"), plugin="napari-nifti")
    results, card = bench.dock.results, bench.dock.card
    assert [results.runs.itemText(i) for i in range(results.runs.count())] == ["1. sub-01_T1w → T2 (flow, n=3), saved"]
    # The same figures in the same slices, and nothing to save that is saved already.
    report = json.loads((out / "sub-01_T1w_T2.json").read_text())
    assert card.isVisible() and f"σ̂ = {report['sigma_hat']:.4f}" in card.text
    np.testing.assert_allclose(card.plot.values, sigma, atol=1e-6)
    assert not bench.dock.save.isVisible() and bench.dock.report.isEnabled()
    # Its samples can be seen as a film, as before they were saved.
    film = bench.dock.uncertainty.film
    assert film.isVisible()
    film.click()
    (shown,) = [layer for layer in bench.viewer.layers if result_record(layer).get("kind") == "film"]
    shown.data.phase = 2
    np.testing.assert_allclose(np.asarray(shown.data), samples[2], atol=1e-6)
    (file,) = [layer for layer in bench.viewer.layers if result_record(layer).get("kind") == "samples"]
    bench.viewer.layers.remove(file)  # the film ends with it
    bench.qtbot.waitUntil(lambda: not film.isChecked())
    assert not shown.visible and np.asarray(shown.data).shape == samples[2].shape
    # What was marked on its voxels is the user's, and so is a copy.
    mean = next(layer for layer in bench.viewer.layers if result_record(layer).get("kind") == "mean")
    bench.viewer.layers.selection = {mean}
    _duplicate_layer(bench.viewer.layers)
    copy = bench.viewer.layers[f"{mean.name} copy"]
    assert results.runs.count() == 1 and bench.dock._shown.layers.mean is mean
    roi = bench.viewer.add_labels(np.zeros(mean.data.shape, int), name="roi", **inherited(mean))
    assert bench.dock.form.extent.roi.layers == [roi]
    page = tmp_path / "page.html"
    bench.dock.report.write(page)
    bench.qtbot.waitUntil(lambda: bench.dock.report.text() == "Report…", timeout=60_000)
    assert "sub-01_T1w.nii.gz → T2" in page.read_text() and "not found" not in page.read_text()
    # Files that another run has replaced are not what is on screen.
    (out / "sub-01_T1w_T2.json").write_text(json.dumps({**report, "seed": 7, "n": 5}))
    page.unlink()
    bench.dock.report.write(page)
    bench.qtbot.waitUntil(lambda: bench.dock.report.text() == "Report…", timeout=60_000)
    assert "was written anew since it was opened" in bench.dock.message.text() and not page.exists()
    bench.qtbot.mouseClick(results.remove, Qt.MouseButton.LeftButton)
    assert list(bench.viewer.layers) == [acquired, copy, roi] and not results.isVisible()


def test_an_unsaved_result_that_took_long_is_removed_only_if_the_user_says_so(loaded, engine, out, monkeypatch):
    """A minute of computing and more; what was saved, or is there again in a moment, goes unasked."""
    asked, answers = [], [QMessageBox.StandardButton.No]
    monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or answers[0])
    loaded.run()
    loaded.dock._shown.seconds = 754.0
    remove = loaded.dock.results.remove
    loaded.qtbot.mouseClick(remove, Qt.MouseButton.LeftButton)
    (line,) = asked
    assert "12:34" in line and "sub-01_T1w → T2" in line and has(loaded.viewer, "sub-01_T1w_T2_mean")
    save(loaded)
    answers[0] = QMessageBox.StandardButton.Yes
    loaded.qtbot.mouseClick(remove, Qt.MouseButton.LeftButton)
    assert len(asked) == 1 and len(loaded.viewer.layers) == 1
    loaded.run()
    loaded.qtbot.mouseClick(remove, Qt.MouseButton.LeftButton)
    assert len(asked) == 1 and len(loaded.viewer.layers) == 1
    loaded.run()
    loaded.dock._shown.seconds = 61.0
    loaded.qtbot.mouseClick(remove, Qt.MouseButton.LeftButton)
    assert len(asked) == 2 and len(loaded.viewer.layers) == 1


def test_results_are_listed_shown_and_removed_together(loaded, engine):
    loaded.run()
    loaded.dock.form.samples.setValue(4)
    loaded.run()
    results, card = loaded.dock.results, loaded.dock.card
    titles = [results.runs.itemText(i) for i in range(results.runs.count())]
    assert titles == ["1. sub-01_T1w → T2 (flow, n=20)", "2. sub-01_T1w → T2 (flow, n=4)"]
    first, second = (loaded.layer(f"sub-01_T1w_T2_mean (flow, n={n})") for n in (20, 4))
    results.runs.setCurrentIndex(0)
    results.runs.activated.emit(0)
    assert (first.visible, second.visible) == (True, False)
    assert card.text.startswith("sub-01_T1w → T2 (flow, n=20)")
    loaded.qtbot.mouseClick(results.remove, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in loaded.viewer.layers] == [
        "sub-01_T1w", "sub-01_T1w_T2_mean (flow, n=4)", "sub-01_T1w_T2_std (flow, n=4)",
    ]  # fmt: skip
    assert results.runs.count() == 1 and card.text.startswith("sub-01_T1w → T2 (flow, n=4)")


def test_a_run_that_ends_before_its_first_slice_leaves_the_other_result_to_be_saved(loaded, engine):
    loaded.run()
    engine.pace = 5
    loaded.dock.form.samples.setValue(4)
    loaded.press()
    loaded.press()
    loaded.wait_for(DockState.CANCELLED)
    assert loaded.dock.save.isVisible() and loaded.dock.report.isVisible()
    assert loaded.dock.card.text.startswith("sub-01_T1w → T2 (flow, n=20)")
    assert "Cancelled" in loaded.dock.message.text()


@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_that_fails_before_its_first_slice_is_closed_and_no_other(loaded, engine, earlier):
    if earlier:
        loaded.run()
        took = loaded.dock._run.seconds
    engine.error, engine.error_after = MrtransError("No head."), 0
    loaded.dock.form.samples.setValue(4)
    loaded.run()
    assert loaded.dock.state is DockState.FAILED and "No head." in loaded.dock.message.text()
    assert loaded.dock._activity is None and loaded.dock._ending is None
    assert loaded.dock.save.isVisible() is earlier
    if earlier:
        assert loaded.dock._run.seconds == took


def test_another_result_ends_the_film_of_the_one_before(loaded, engine):
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    for n in (3, 4):
        loaded.dock.form.samples.setValue(n)
        loaded.run()
    loaded.qtbot.mouseClick(loaded.dock.uncertainty.film, Qt.MouseButton.LeftButton)
    loaded.dock.results.runs.setCurrentIndex(0)
    loaded.dock.results.runs.activated.emit(0)
    first, second = (loaded.layer(f"sub-01_T1w_T2_mean (flow, n={n})") for n in (3, 4))
    assert (first.visible, second.visible) == (True, False)
    assert not any(layer.visible for layer in loaded.viewer.layers if "film" in layer.name)


def test_three_planes_are_saved_after_their_checkpoint_is_gone(loaded, out, checkpoints):
    shipped, form = checkpoints.parent / "shipped", loaded.dock.form
    write_card(shipped, "one-direct.planes", "direct", ["T1->T2"])
    form.choose(Contrast.T1, Contrast.T2, "one-direct")
    form.advanced._three_planes.setChecked(True)
    loaded.run()
    save(loaded)
    before = json.loads((out / "sub-01_T1w_T2.json").read_text())
    shutil.rmtree(out)
    for path in shipped.glob("one-direct*"):
        path.unlink()
    save(loaded)
    assert json.loads((out / "sub-01_T1w_T2.json").read_text()) == before
    assert before["request"]["three_planes"] and len(before["calibration"]) == 64


def test_a_cancelled_run_saves_what_is_finished_and_says_which(loaded, engine, out):
    engine.pace = 0.5
    loaded.press()
    loaded.qtbot.waitUntil(lambda: loaded.dock._run is not None and len(loaded.dock._run.gathered.finished) >= 3)
    loaded.press()
    loaded.wait_for(DockState.CANCELLED)
    save(loaded)
    report = json.loads((out / "sub-01_T1w_T2.json").read_text())
    assert report["complete"] is False
    assert 3 <= len(report["slices"]) < 10 and 6 in report["slices"]
    mean = nib.load(out / "sub-01_T1w_T2_mean.nii.gz").get_fdata()
    assert [k for k in range(12) if mean[k].any()] == report["slices"]
    assert loaded.dock.message.text().startswith("Saved 3 files to")


def test_separate_samples_become_one_file(loaded, engine, out, brain):
    loaded.dock.form.samples.setValue(3)
    loaded.dock.form.advanced._keep.setCurrentText(KeepSamples.SEPARATE.value)
    loaded.run()
    save(loaded)
    samples = nib.load(out / "sub-01_T1w_T2_samples.nii.gz").get_fdata()
    np.testing.assert_allclose(samples[..., 2], np.where(brain > 0, brain / 200 + 0.02, 0), atol=1e-6)


def test_calibrated_and_plain_std_are_both_saved(loaded, engine, out):
    engine.correction = 0.25
    loaded.run()
    save(loaded)
    assert {path.name for path in out.iterdir()} == NAMES | {"sub-01_T1w_T2_std-calibrated.nii.gz"}
    assert nib.load(out / "sub-01_T1w_T2_std.nii.gz").get_fdata().max() == pytest.approx(0.01)
    assert nib.load(out / "sub-01_T1w_T2_std-calibrated.nii.gz").get_fdata().max() == 0.25


def test_deleted_layers_can_still_be_saved(loaded, engine, out, brain):
    loaded.run()
    loaded.viewer.layers.clear()
    loaded.qtbot.wait(10)
    save(loaded)
    np.testing.assert_allclose(nib.load(out / "sub-01_T1w_T2_mean.nii.gz").get_fdata(), brain / 200, rtol=1e-6)


def test_an_earlier_result_is_not_replaced_without_asking(loaded, out, monkeypatch):
    loaded.run()
    save(loaded)
    before = (out / "sub-01_T1w_T2.json").read_text()
    asked = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or answers[len(asked) - 1])
    loaded.dock.form.seed.setValue(5)
    loaded.run()
    save(loaded)
    assert (out / "sub-01_T1w_T2.json").read_text() == before
    assert "sub-01_T1w_T2_mean.nii.gz" in asked[0]
    save(loaded)
    assert json.loads((out / "sub-01_T1w_T2.json").read_text())["seed"] == 5


def test_dialog_closed_without_a_choice(loaded, monkeypatch, tmp_path):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    loaded.run()
    before = loaded.dock.message.text()
    save(loaded)
    assert loaded.dock.message.text() == before


def test_what_is_no_folder_is_told(loaded, out, errors):
    out.write_text("a file")
    loaded.run()
    save(loaded)
    assert len(errors) == 1 and errors[0].endswith("is no folder). Choose another folder.")
    assert loaded.dock.message.text() == errors[0]


@pytest.mark.parametrize("name", ["x" * 240 + "_T1w", "ü" * 110 + "_T1w"])
def test_a_name_too_long_for_files_is_told_before_the_work(loaded, engine, out, errors, name):
    """After it, nothing could be saved, for a run keeps its name."""
    layer = loaded.viewer.layers["sub-01_T1w"]
    layer.name = name
    loaded.run()
    assert loaded.dock.state is DockState.FAILED and not engine.requests
    assert len(errors) == 1 and errors[0].endswith(" are possible; rename the layer.")
    layer.name = "x" * 190 + "_T1w"
    loaded.run()
    save(loaded)
    assert len(errors) == 1 and len(list(out.iterdir())) == 3


def test_full_disk_is_told_and_leaves_nothing(loaded, out, errors, monkeypatch):
    def full(self, *_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    loaded.run()
    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full)
    save(loaded)
    assert errors == [f"Cannot write to '{out}' (No space left on device). Choose another folder."]
    assert not list(out.iterdir())
    assert loaded.dock.save.isEnabled()


def test_any_other_error_is_one_line(loaded, out, errors, monkeypatch):
    loaded.run()
    monkeypatch.setattr(loaded.dock._run, "ensemble", lambda: 1 / 0)
    save(loaded)
    assert errors == ["Nothing was saved: ZeroDivisionError: division by zero"]


def test_a_button_keeps_the_and_of_a_name(bench, engine, brain):
    bench.viewer.add_image(brain, name="R&D_T1w")
    bench.run()
    assert "R&&D_T1w" in bench.dock.save.text() and bench.dock.save.shortcut().isEmpty()


def test_a_run_that_begins_while_another_is_saved_has_nothing_to_save(loaded, engine, out, monkeypatch):
    go = threading.Event()
    loaded.run()
    monkeypatch.setattr(loaded.dock._run, "ensemble", lambda: go.wait(10) and 1 / 0)
    loaded.qtbot.mouseClick(loaded.dock.save, Qt.MouseButton.LeftButton)
    engine.pace = 5
    loaded.press()
    go.set()
    loaded.qtbot.waitUntil(lambda: loaded.dock.save.text() == "Save results…")
    assert not loaded.dock.save.isVisible()


def test_a_result_is_proposed_beside_its_own_scan_until_they_are_collected(bench, engine, monkeypatch, tmp_path):
    """The page of one person's scan is not proposed for the folder of another's."""
    proposed, wanted = [], []

    def page(_parent, _title, start, _kinds):
        proposed.append(Path(start).parent)
        return str(wanted.pop() if wanted else start), ""

    def folder(_parent, _title, start):
        proposed.append(Path(start))

    monkeypatch.setattr(QFileDialog, "getSaveFileName", page)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", folder)
    for name in ("sub-01", "sub-02", "sub-03"):
        (tmp_path / name).mkdir()
        scan = tmp_path / name / f"{name}_T1w.nii.gz"
        nib.Nifti1Image(head((24, 26, 8)), np.diag([4.0, 4, 6, 1])).to_filename(scan)
        bench.dock.form.image.choose(*bench.viewer.open(str(scan), plugin="napari-nifti"))
        bench.run(timeout=60_000)
        wanted[:] = [tmp_path / "reports" / "two.html"] if name == "sub-02" else []
        bench.qtbot.mouseClick(bench.dock.report, Qt.MouseButton.LeftButton)
        bench.qtbot.waitUntil(lambda: bench.dock.report.text() == "Report…", timeout=60_000)
    bench.qtbot.mouseClick(bench.dock.save, Qt.MouseButton.LeftButton)
    collected = tmp_path / "reports"
    assert proposed == [tmp_path / "sub-01", tmp_path / "sub-02", collected, collected]


@pytest.mark.parametrize("turn", ["RAS", "oblique"])
def test_a_reopened_slab_is_compared_as_it_was(bench, engine, out, brain, tmp_path, turn):
    """Its mean holds a part of the head; the input, which is still there, says where the rest is."""
    for name, image in (("T1w", brain), ("T2w", np.where(brain > 0, 260 - brain, 0).astype(np.float32))):
        nib.Nifti1Image(image.transpose(2, 1, 0), AFFINES[turn]).to_filename(tmp_path / f"sub-01_{name}.nii.gz")
        bench.viewer.open(str(tmp_path / f"sub-01_{name}.nii.gz"), plugin="napari-nifti")
    source, acquired = bench.viewer.layers
    bench.dock.form.image.choose(source)
    bench.dock.form.range.setCurrentText(SliceRange.SLAB.value)
    bench.dock.form.extent.first.setValue(5)
    bench.dock.form.extent.last.setValue(8)
    bench.run(timeout=60_000)
    panel = bench.dock.acquired

    def figures():
        panel.reference.choose(acquired)
        panel.compare()
        bench.qtbot.waitUntil(lambda: not panel._working, timeout=30_000)
        return panel.figures.text()

    before = figures()
    assert "PSNR" in before
    save(bench)
    bench.qtbot.mouseClick(bench.dock.results.remove, Qt.MouseButton.LeftButton)
    bench.viewer.open(str(out / "sub-01_T1w_T2_mean.nii.gz"), plugin="napari-nifti")
    assert figures() == before


@pytest.mark.parametrize("reach", [SliceRange.ROI, SliceRange.ROI_SLICES, SliceRange.SLAB, SliceRange.ALL])
def test_what_was_not_asked_for_is_nothing_in_a_result_that_was_reopened(bench, engine, out, brain, tmp_path, reach):
    """Files hold 0 there: the error map and its figures, the lesion check and the cursor are as they were before."""
    layers = {}
    for name, data in (("sub-01_T1w", brain), ("sub-01_T2w", np.where(brain > 0, 200 - brain, 0))):
        nib.Nifti1Image(data.transpose(2, 1, 0), AFFINES["RAS"]).to_filename(tmp_path / f"{name}.nii.gz")
        (layers[name],) = bench.viewer.open(str(tmp_path / f"{name}.nii.gz"), plugin="napari-nifti")
    source, truth = layers.values()
    form, panel = bench.dock.form, bench.dock.acquired
    form.image.choose(source)
    form.samples.setValue(3)
    mask = np.zeros(source.data.shape, int)
    mask[4:8, 7:13, 5:11] = 1
    roi = bench.viewer.add_labels(mask, name="lesion", **drawn_on(source))
    form.range.setCurrentText(reach.value)
    if reach is SliceRange.SLAB:
        form.extent._slab = (4, 7)
    bench.run(timeout=60_000)
    save(bench)
    around = np.zeros_like(mask)
    around[3:10, 5:15, 3:13] = 1
    roi.data = around

    def told():
        """Of the result that is shown."""
        run = bench.dock._shown
        panel.figures.clear()
        panel.reference.choose(truth)
        panel.compare()
        bench.qtbot.waitUntil(lambda: bool(panel.figures.text()), timeout=60_000)
        (error,) = [layer for layer in run.layers.alive() if result_record(layer).get("kind") == "error"]
        cursor = []
        for voxel in ((6, 10, 8), (6, 10, 3), (9, 10, 8), (0, 0, 0)):
            event = SimpleNamespace(position=run.layers.mean.data_to_world(voxel))
            bench.dock.uncertainty._on_move(bench.viewer, event)
            cursor.append(bench.dock.uncertainty.cursor_text.text())
        return panel.figures.text(), error.data, cursor, measured(bench.viewer, run.layers.mean, truth, roi)

    figures, error, cursor, (report, notes) = told()
    for kind in ("mean", "std"):
        bench.viewer.open(str(out / f"sub-01_T1w_T2_{kind}.nii.gz"), plugin="napari-nifti")
    bench.dock.results.runs.setCurrentIndex(1)
    bench.dock.results.runs.activated.emit(1)
    assert bench.dock._shown.title.endswith("saved")
    again = told()
    assert again[0] == figures
    np.testing.assert_allclose(again[1], error, atol=1e-6)
    assert again[2] == cursor and ("not computed" in cursor[2]) == (reach is not SliceRange.ALL)
    assert again[3][1] == notes and again[3][0].n_voxels == report.n_voxels
    assert again[3][0].r == pytest.approx(report.r, abs=1e-5)
    assert again[3][0].contrast == pytest.approx(report.contrast, abs=1e-4)


def test_two_models_of_one_family_are_told_apart(bench, engine, out, brain, checkpoints, tmp_path):
    write_card(checkpoints, "mine", "direct", ["T1->T2"])
    source = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(brain.transpose(2, 1, 0), AFFINES["RAS"]).to_filename(source)
    bench.viewer.open(str(source), plugin="napari-nifti")
    for name in ("one-direct", "mine"):
        bench.dock.form.choose(Contrast.T1, Contrast.T2, name)
        bench.run(timeout=60_000)
    titles = ["sub-01_T1w → T2 (one-direct)", "sub-01_T1w → T2 (mine)"]
    assert [run.title for run in bench.dock._results()] == titles and bench.dock.save.toolTip().startswith(titles[1])
    means = {"sub-01_T1w_T2_mean (one-direct)", "sub-01_T1w_T2_mean (mine)"}
    assert {layer.name for layer in bench.viewer.layers} == {"sub-01_T1w.nii", *means}
    save(bench)
    (checkpoints / "mine.safetensors").unlink()  # the shipped one is another all the same
    bench.viewer.open(str(out / "sub-01_T1w_T2_mean.nii.gz"), plugin="napari-nifti")
    assert bench.dock._results()[-1].title == "sub-01_T1w → T2 (mine), saved"


def test_a_reopened_result_of_one_answer_has_no_spread(bench, engine, out, brain, tmp_path):
    source = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(brain.transpose(2, 1, 0), AFFINES["RAS"]).to_filename(source)
    bench.viewer.open(str(source), plugin="napari-nifti")
    bench.dock.form.choose(Contrast.T1, Contrast.T2, "one-direct")
    bench.run(timeout=60_000)
    save(bench)
    bench.qtbot.mouseClick(bench.dock.results.remove, Qt.MouseButton.LeftButton)
    for kind in ("mean", "std"):
        bench.viewer.open(str(out / f"sub-01_T1w_T2_{kind}.nii.gz"), plugin="napari-nifti")
    shown = bench.dock._shown
    assert shown.title == "sub-01_T1w → T2 (direct), saved" and len(shown.layers.made) == 2
    assert shown.layers.std is None and not bench.dock.uncertainty.isVisible()
