"""Many scans, with the real engine on tiny heads and a tiny checkpoint."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from napari.utils import progress
from qtpy.QtCore import Qt, QThreadPool

from helpers import bids_folder, head, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoints import library
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.widgets.assumed import AXIAL_KEY
from napari_mrtrans.widgets.cohort import form as form_module
from napari_mrtrans.widgets.cohort.dock import CohortWidget
from napari_mrtrans.widgets.cohort.run import Queue, _as_stored, _still_holds
from napari_mrtrans.widgets.cohort.table import NAME, SIGMA, VERDICT
from napari_mrtrans.widgets.sample_data import layer_of
from napari_mrtrans.widgets.source import LayerSource, guess_layer_contrast, result_record
from napari_mrtrans.widgets.start_dock import REFRESH_MS
from napari_mrtrans.widgets.state import DockState

from ..test_source import AFFINES, open_nifti

SHAPE = (20, 24, 8)
VOXELS = np.diag([1.0, 1.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    tiny_checkpoint(folder / "tiny-flow.safetensors")
    return folder


class Hands:
    """The dock, and the hands of a user."""

    def __init__(self, viewer: Any, dock: CohortWidget, qtbot: Any) -> None:
        self.viewer, self.dock, self.qtbot = viewer, dock, qtbot

    def press(self) -> None:
        assert self.dock.button.isEnabled()
        self.qtbot.mouseClick(self.dock.button, Qt.MouseButton.LeftButton)

    def wait(self, *states: DockState) -> None:
        self.qtbot.waitUntil(lambda: self.dock.state in states, timeout=120_000)
        self.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=60_000)

    def run(self) -> None:
        self.press()
        self.wait(DockState.DONE, DockState.FAILED)

    def choose(self, folder: Path, out: Path | None = None) -> None:
        self.dock.form.folder.line.setText(str(folder))
        if out is not None:
            self.dock.form.out.line.setText(str(out))

    def column(self, number: int) -> list[str]:
        table = self.dock.table
        return [table.item(line, number).text() for line in range(table.rowCount())]

    @property
    def states(self) -> list[str]:
        """Of each scan; nothing is judged by a checkpoint without a calibration."""
        said = [text.partition(":")[0] for text in self.column(VERDICT)]
        return ["done" if text == "not calibrated" else text for text in said]

    def double_click(self, line: int) -> None:
        table = self.dock.table
        where = table.visualItemRect(table.item(line, NAME)).center()
        for click in (self.qtbot.mouseClick, self.qtbot.mouseDClick):
            click(table.viewport(), Qt.MouseButton.LeftButton, pos=where)


@pytest.fixture
def hands(
    make_napari_viewer: Callable, qtbot: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hands]:
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path / "nothing-shipped")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(trained))
    viewer = make_napari_viewer(show=True)
    dock = CohortWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Many scans")
    dock.form.samples.setValue(2)
    yield Hands(viewer, dock, qtbot)
    dock.cancel()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=60_000)


def test_a_bids_folder_from_start_to_the_layers_of_a_row(hands: Hands, tmp_path: Path) -> None:
    """One scan is broken: it is named, and the others go on; a second start has nothing to do but that one."""
    data = bids_folder(tmp_path / "data", 3, SHAPE, VOXELS)
    (data / "sub-01" / "anat" / "sub-01_T1w.nii.gz").write_bytes(b"nothing")
    hands.choose(data)
    out = data / "derivatives" / "napari-mrtrans"
    assert hands.dock.form.out.path == out
    hands.dock.form.target.setCurrentText("T2")
    hands.run()
    assert hands.dock.state is DockState.DONE
    assert hands.dock.message.text() == f"2 of 3 scans done, 1 failed (see the table), in '{out}'."
    assert hands.column(NAME) == ["sub-00_T1w", "sub-01_T1w", "sub-02_T1w"]
    assert hands.states == ["done", "failed", "done"]
    assert hands.column(VERDICT)[1].startswith("failed: 'sub-01_T1w.nii.gz' cannot be read as NIfTI")
    assert hands.column(VERDICT)[0] == "not calibrated"
    report = json.loads((out / "sub-02" / "anat" / "sub-02_desc-synthetic_T2w.json").read_text())
    assert hands.column(SIGMA)[2] == f"{report['sigma_hat']:.4f}"
    assert (out / "cohort_T1_T2.html").is_file()

    assert not progress._all_instances  # nothing goes on in the activity dock
    hands.dock.table.setCurrentCell(2, NAME)
    hands.qtbot.keyClick(hands.dock.table, Qt.Key.Key_Return)
    assert hands.dock.message.text().startswith("2 of 3 scans done")
    source, mean, std = hands.viewer.layers
    assert [guess_layer_contrast(layer) for layer in (source, mean)] == ["T1", "T2"]
    assert [result_record(layer).get("kind") for layer in (source, mean, std)] == [None, "mean", "std"]
    assert result_record(mean)["checkpoint"] == "tiny-flow"
    assert (std.visible, std.colormap.name, mean.contrast_limits) == (False, "magma", [0.0, 1.0])
    hands.double_click(2)
    assert len(hands.viewer.layers) == 3
    hands.double_click(1)
    assert hands.dock.message.text().startswith("sub-01_T1w.nii.gz: ")

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_T2w.nii.gz")}
    save_nifti(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz", head(SHAPE), VOXELS)
    hands.run()
    assert hands.states == ["done"] * 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failed_scan_names_no_option_of_a_command(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.cohort import work

    def fails(*_: object, **__: object) -> None:
        raise MrtransError("No plausible brain found; give a brain mask with --mask.")

    monkeypatch.setattr(work, "_make", fails)
    save_nifti(tmp_path / "data" / "0-T1.nii.gz", head(SHAPE), VOXELS)
    hands.choose(tmp_path / "data")
    hands.dock.form.target.setCurrentText("T2")
    hands.run()
    told = "No plausible brain found; choose a brain mask in MR contrast transformation."
    assert hands.column(VERDICT) == [f"failed: {told}"]
    hands.double_click(0)
    assert hands.dock.message.text() == f"0-T1.nii.gz: {told}"


def test_a_cancel_keeps_what_is_finished_and_start_goes_on(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a plain folder; the scan that was at work is not done."""
    from napari_mrtrans.cohort import work

    for number in range(3):
        save_nifti(tmp_path / "data" / f"{number}-T1.nii.gz", head(SHAPE, seed=number), VOXELS)
    (tmp_path / "data" / "scan0007.nii.gz").write_bytes(b"")
    real, calls = work._make, []

    def make(scan: Any, order: Any, tell: Any, cancelled: Callable[[], bool]) -> None:
        calls.append(scan.stem)
        if len(calls) == 2:
            tell(0.5)
            while not cancelled():
                time.sleep(0.01)
        real(scan, order, tell, cancelled)

    monkeypatch.setattr(work, "_make", make)
    hands.choose(tmp_path / "data", tmp_path / "out")
    hands.press()
    hands.qtbot.waitUntil(lambda: hands.dock.table.rowCount() == 3 and hands.states[1] == "50 %", timeout=120_000)
    assert hands.states == ["done", "50 %", "waiting"]
    assert hands.dock.progress.text.startswith("1 of 3 scans · ")
    assert "1-T1 50 %" in hands.dock.progress.text
    assert not hands.dock.form.isEnabled()
    hands.double_click(2)
    hands.qtbot.wait(2 * REFRESH_MS)
    assert hands.dock.message.text() == "2-T1.nii.gz is not done yet."
    hands.double_click(0)
    assert hands.dock.message.text() == "1 file of unknown contrast left out, e.g. 'scan0007.nii.gz'."
    hands.press()
    assert hands.dock.button.text() == "Cancelling…"
    hands.wait(DockState.CANCELLED)
    assert hands.states == ["done", "not done", "not done"]
    assert hands.dock.message.text().startswith("Cancelled. 1 of 3 scans done, in ")
    assert hands.dock.message.text().splitlines()[0].endswith("Start goes on.")
    hands.run()
    assert hands.states == ["done"] * 3
    assert calls == ["0-T1", "1-T1", "1-T1", "2-T1"]
    assert len(list((tmp_path / "out").glob("*_mean.nii.gz"))) == 3

    hands.dock.table.horizontalHeader().sectionClicked.emit(NAME)
    hands.dock.table.sortItems(NAME, Qt.SortOrder.DescendingOrder)
    assert hands.column(NAME) == ["2-T1", "1-T1", "0-T1"]
    hands.double_click(0)
    assert any(layer.name.startswith("2-T1") for layer in hands.viewer.layers)


def test_a_scan_that_is_left_out_has_no_row(hands: Hands, tmp_path: Path) -> None:
    """It had an empty one, was counted as not done for ever, and what to do named an option of the command."""
    anat = tmp_path / "data" / "sub-01" / "anat"
    for acquisition in ("0.8mm", "08mm"):
        save_nifti(anat / f"sub-01_acq-{acquisition}_T1w.nii.gz", head(SHAPE), VOXELS)
    hands.choose(tmp_path / "data", tmp_path / "out")
    hands.dock.form.target.setCurrentText("T2")
    hands.run()
    assert hands.states == ["done"]
    assert hands.dock.message.text().splitlines() == [
        f"1 of 1 scan done, in '{tmp_path / 'out'}'.",
        "'sub-01_acq-08mm_T1w.nii.gz' is left out: its result would be called as that of "
        "'sub-01_acq-0.8mm_T1w.nii.gz'; rename one.",
    ]


def test_it_ends_with_its_window(hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be one of several: napari ends its workers with the last."""
    save_nifti(tmp_path / "data" / "0-T1.nii.gz", head(SHAPE), VOXELS)
    ended = threading.Event()

    def compute(queue: Queue) -> None:
        queue.monitor.cancel.wait()
        ended.set()

    monkeypatch.setattr(Queue, "compute", compute)
    hands.choose(tmp_path / "data", tmp_path / "out")
    hands.press()
    hands.dock.deleteLater()
    hands.qtbot.waitUntil(ended.is_set, timeout=2000)
    assert not progress._all_instances  # in another window's activity dock


def test_images_of_the_window(hands: Hands, tmp_path: Path) -> None:
    """One of a file, one in memory, one unticked; their results lie in one folder."""
    from napari_mrtrans.scan.volume import Volume

    stored = VOXELS @ np.diag([-1.0, -1.0, 1.0, 1.0])
    file = save_nifti(tmp_path / "in" / "a_T1w.nii.gz", head(SHAPE), stored)
    hands.viewer.open(str(file), plugin="napari-nifti")
    memory = Volume(head(SHAPE, seed=1), VOXELS, name="b_T1w")
    for volume in (memory, Volume(head(SHAPE, seed=2), VOXELS, name="c_T2w")):
        data, options, _ = layer_of(volume)
        hands.viewer.add_image(data, **options)
    form = hands.dock.form
    form.origin.setCurrentText("Images in this window")
    assert form.problem == "'c_T2w' is T2, not T1; untick it, or choose another contrast."
    assert not hands.dock.button.isEnabled()
    form.layers.item(2).setCheckState(Qt.CheckState.Unchecked)
    assert form.out.path == tmp_path / "in" / "derivatives" / "napari-mrtrans" and form.problem == ""
    form.layers.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert form.out.line.text() == ""  # what was suggested is of the image that is not ticked any more
    assert form.problem == "Choose the output folder."  # what is in memory only has no place
    form.out.line.setText(str(tmp_path / "out"))
    form.layers.item(0).setCheckState(Qt.CheckState.Checked)
    assert form.out.path == tmp_path / "out"
    form.target.setCurrentText("T2")
    hands.run()
    assert hands.states == ["done", "done"], hands.dock.message.text()
    assert [path.name for path in (tmp_path / "out" / "sources").iterdir()] == ["b_T1w.nii"]
    np.testing.assert_array_equal(Volume.load(tmp_path / "out" / "sources" / "b_T1w.nii").data.sum(), memory.data.sum())
    reports = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*_T2.json")}
    assert reports["a_T1w_T2"]["input"] == str(file)
    count = len(hands.viewer.layers)
    hands.double_click(0)
    assert len(hands.viewer.layers) == count + 2  # the source is open already
    layer = hands.viewer.layers["b_T1w"]
    layer.visible = False
    hands.double_click(1)
    assert len(hands.viewer.layers) == count + 4 and layer.visible  # so is this one, not to be opened as its copy
    assert form.layers.chosen == [hands.viewer.layers["a_T1w.nii"], layer]  # else Start would count a person twice
    # Denoised, say: what the window shows is what is transformed.
    hands.viewer.layers["a_T1w.nii"].data = edited = 1.1 * head(SHAPE, seed=4).T
    form.out.line.setText(str(tmp_path / "edited"))
    hands.run()
    copy = tmp_path / "edited" / "sources" / "a_T1w.nii"
    np.testing.assert_allclose(Volume.load(copy).data, edited.T[::-1, ::-1], rtol=1e-6)
    np.testing.assert_array_equal(Volume.load(copy).affine, stored)  # that of its file
    assert json.loads((tmp_path / "edited" / "a_T1w_T2.json").read_text())["input"] == str(copy)
    form.out.line.setText(str(tmp_path / "out"))
    hands.viewer.layers["b_T1w"].data = head(SHAPE, seed=3).T
    hands.run()
    copy = tmp_path / "out" / "sources" / "b_T1w.nii"
    assert hands.dock.message.text().startswith(f"'{copy}' is a copy of another image of that name; choose another")
    np.testing.assert_array_equal(Volume.load(copy).data.sum(), memory.data.sum())
    hands.viewer.layers["c_T2w"].name = "b_T1w.nii"
    form.layers.item(2).setCheckState(Qt.CheckState.Checked)
    hands.viewer.layers["b_T1w.nii"].name = "B_T1w"
    hands.run()
    assert hands.dock.message.text() == (
        "Two images are called 'B_T1w', and so would be their results; rename one of them."
    )


def test_masks_are_ticked_by_hand_only(hands: Hands) -> None:
    form = hands.dock.form
    form.origin.setCurrentText("Images in this window")
    for name in ("a_T1w", "a_T1w_brain_mask"):
        hands.viewer.add_image(head(SHAPE).T, name=name)
    assert [layer.name for layer in form.layers.chosen] == ["a_T1w"]
    form.layers.item(1).setCheckState(Qt.CheckState.Checked)
    hands.viewer.layers[1].name = "b_T1w_brain_mask"
    assert [layer.name for layer in form.layers.chosen] == ["a_T1w", "b_T1w_brain_mask"]


def test_an_image_that_does_not_tell_its_axial_axis_is_refused(hands: Hands, tmp_path: Path) -> None:
    form = hands.dock.form
    form.origin.setCurrentText("Images in this window")
    form.out.line.setText(str(tmp_path / "out"))
    image = hands.viewer.add_image(head(SHAPE), name="a_T1w")
    hands.press()
    assert hands.dock.message.text().startswith("'a_T1w' has no affine that tells which axis is axial; choose it")
    image.metadata[AXIAL_KEY] = 2
    ((source, _),) = form.asked().images
    assert source.volume().axial_axis == 2


@pytest.mark.parametrize("name", AFFINES)
def test_however_a_file_is_stored_its_layer_is_no_edit(name: str, tmp_path: Path) -> None:
    """Nor is NaN around a brain one."""
    data = np.where(head(SHAPE) > 0, head(SHAPE), np.nan)
    file = save_nifti(tmp_path / "a_T1w.nii.gz", data, AFFINES[name])
    voxels, options = open_nifti(file)
    for factor, expected in ((1, True), (2, False)):
        shown = _as_stored(LayerSource.of(Image(factor * voxels, **options), Contrast.T1))
        assert _still_holds(file, shown) is expected
        np.testing.assert_allclose(shown.affine, AFFINES[name], atol=1e-5)


def test_files_of_one_name_keep_their_results_and_rows_open_what_is_there(hands: Hands, tmp_path: Path) -> None:
    """Layers, not files, name the results; opened again after another run, they are of that one."""
    for person in (1, 2):
        file = save_nifti(tmp_path / f"patient{person}" / "T1.nii.gz", head(SHAPE, seed=person), VOXELS)
        hands.viewer.open(str(file), plugin="napari-nifti")
    hands.viewer.layers[0].name = "anna T1"
    form = hands.dock.form
    form.origin.setCurrentText("Images in this window")
    form.out.line.setText(str(tmp_path / "out"))
    form.target.setCurrentText("T2")
    hands.run()
    assert hands.states == ["done", "done"], hands.dock.message.text()
    reports = {path.stem: json.loads(path.read_text())["input"] for path in (tmp_path / "out").glob("*_T2.json")}
    assert {name: Path(path).parent.name for name, path in reports.items()} == {
        "anna T1_T2": "patient1", "T1 [1]_T2": "patient2"
    }  # fmt: skip
    hands.double_click(0)
    before = np.array(hands.viewer.layers[-2].data)
    form.seed.setValue(5)
    hands.run()
    (tmp_path / "patient1" / "T1.nii.gz").rename(tmp_path / "gone.nii.gz")
    hands.viewer.layers.remove("anna T1")
    hands.double_click(0)
    mean, std = hands.viewer.layers[-2:]
    assert not np.allclose(np.array(mean.data), before) and mean.visible
    assert (std.visible, std.colormap.name) == (False, "magma") and len(hands.viewer.layers) == 3
    # Damaged or gone, it is told in a line.
    path = Path(mean.source.path)
    path.write_bytes(b"no gzip")
    hands.double_click(0)
    assert "The result of T1.nii.gz cannot be opened:" in hands.dock.message.text()
    path.unlink()
    hands.double_click(0)
    assert hands.dock.message.text().endswith(f"'{path.name}' is not there any more; run the scan again.")


MISTAKES = {
    "no folder": ("", "Choose the folder of the scans."),
    "nowhere": ("nowhere", "'{0}' is no folder; choose another."),
    "empty": ("empty", "'{0}' holds no NIfTI files (.nii, .nii.gz); choose another folder."),
    "contrast": ("other", "'{0}' holds no T1 by the names of its files, only 1 FLAIR; choose another contrast."),
    "file": ("other", "Cannot write to '{1}' ('{1}' is no folder). Choose another output folder."),
    "among": ("other", "The output '{1}' lies among the scans of '{0}'; choose another output folder, or one below"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_line(hands: Hands, tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    save_nifti(tmp_path / "other" / "a_FLAIR.nii.gz", head(SHAPE))
    (tmp_path / "file").write_text("")
    name, expected = MISTAKES[kind]
    out = {"file": tmp_path / "file", "among": tmp_path / "other" / "out"}.get(kind, tmp_path / "out")
    if name:
        hands.choose(tmp_path / name, out)
    if hands.dock.button.isEnabled():
        hands.run()
    line = hands.dock.message.text()
    assert line.startswith(expected.format(tmp_path / name, out)), line
    assert "\n" not in line
    assert not list(tmp_path.rglob("*_mean.nii.gz"))


def test_what_is_mended_is_no_longer_told(hands: Hands, tmp_path: Path) -> None:
    hands.choose(tmp_path / "later", tmp_path / "out")
    assert hands.dock.message.text() == f"'{tmp_path / 'later'}' is no folder; choose another."
    (tmp_path / "later").mkdir()
    hands.dock.parent().hide()
    hands.dock.parent().show()
    assert hands.dock.message.text() == "" and hands.dock.button.isEnabled()


def test_a_look_that_fails_once_is_not_the_last(hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(hands.dock.form, "reload", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="Stale"):
                hands.dock._reload()
    hands.choose(tmp_path, tmp_path / "out")
    assert hands.dock.message.text() == "" and hands.dock.button.isEnabled()


def test_what_a_folder_holds_is_told_before_the_start(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a_T1", "b_T1", "b_FLAIR", "scan0007"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    form = hands.dock.form
    for source, line in (
        ("T1", "2 T1 scans.\n1 file of unknown contrast left out, e.g. 'scan0007.nii.gz'."),
        ("PD", f"'{tmp_path}' holds no PD by the names of its files, only 2 T1, 1 FLAIR, 1 unknown; choose another "
         "contrast."),
    ):  # fmt: skip
        form.source.setCurrentText(source)
        hands.choose(tmp_path)
        assert not form.found.isVisible()
        hands.qtbot.waitUntil(form.found.isVisible, timeout=20_000)
        assert form.found.text() == line
    form.origin.setCurrentText("Images in this window")
    assert not form.found.isVisible()
    form.origin.setCurrentText("A folder")
    assert form.found.isVisible()
    hands.viewer.add_image(head(SHAPE).T, name="a_FLAIR")
    form.origin.setCurrentText("Images in this window")
    assert form.source.currentText() == "FLAIR"
    hands.qtbot.wait(2 * form_module.SETTLE_MS)
    form.origin.setCurrentText("A folder")
    hands.qtbot.waitUntil(form.found.isVisible, timeout=20_000)
    assert form.found.text().startswith("1 FLAIR scan.")

    asked: list[tuple[Path, Callable[[str], None]]] = []
    monkeypatch.setattr(
        "napari_mrtrans.widgets.cohort.form.look_later", lambda folder, _, tell: asked.append((folder, tell))
    )
    (tmp_path / "next").mkdir()
    hands.dock._reload()
    hands.qtbot.waitUntil(lambda: len(asked) == 1)
    hands.choose(tmp_path / "next")
    asked[0][1]("9 T1 scans.")  # of the folder before
    assert form.found.text() == ""
    hands.qtbot.waitUntil(lambda: len(asked) == 2)
    asked[1][1]("1 T1 scan.")
    assert asked[1][0] == tmp_path / "next" and form.found.text() == "1 T1 scan."


def test_a_folder_that_cannot_be_looked_at_is_told(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise ValueError("odd folder")

    monkeypatch.setattr("napari_mrtrans.widgets.cohort.look.look", fail)
    hands.choose(tmp_path)
    hands.qtbot.waitUntil(hands.dock.form.found.isVisible, timeout=5000)
    assert hands.dock.form.found.text() == "Unexpected ValueError: odd folder"


def test_who_cannot_see_the_form_hears_what_its_fields_are(hands: Hands) -> None:
    form = hands.dock.form
    for field in (form.source, form.target, form.samples, form.seed):
        assert field.accessibleName()


def test_three_planes(hands: Hands, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offered where the model can; of two scans one is too thick for it, which is said."""
    both = tmp_path / "both"
    tiny_checkpoint(both / "tiny-flow.safetensors")
    tiny_checkpoint(both / "side-direct.safetensors", "direct")
    tiny_checkpoint(both / "side-direct.planes.safetensors", "direct", seed=7)
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(both))
    data = bids_folder(tmp_path / "data", 1, (20, 24, 34), np.diag([1.0, 1.0, 2.0, 1.0]))
    save_nifti(data / "sub-09" / "anat" / "sub-09_T1w.nii.gz", head(SHAPE), VOXELS)
    hands.choose(data)
    form = hands.dock.form
    form.reload()
    form.target.setCurrentText("T2")
    form.model.setCurrentText("flow · T1→T2")
    assert not form.three_planes.isEnabled()
    form.model.setCurrentText("direct · T1→T2")
    form.three_planes.setChecked(True)
    hands.run()
    assert hands.states == ["done", "failed"]
    assert "Three planes take voxels of 2 mm at most" in hands.column(VERDICT)[1]
    report = json.loads(next((data / "derivatives").rglob("sub-00*synthetic_T2w.json")).read_text())
    assert report["request"]["three_planes"] is True


def test_without_dask_there_are_no_workers_to_choose(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    assert form_module.has_dask() is not hands.dock.form.workers.isHidden()
    monkeypatch.setattr(form_module, "find_spec", lambda name: None)
    dock = CohortWidget(hands.viewer)
    hands.qtbot.addWidget(dock)
    assert dock.form.workers.isHidden()
