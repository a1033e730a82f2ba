"""The dock that adapts, driven as by a user, with a stand-in for the command; once with the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock
from napari.utils import progress
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices

from helpers import tiny_checkpoint
from napari_mrtrans.asked.begun import Begun, unfinished
from napari_mrtrans.checkpoints.card import Grid
from napari_mrtrans.datasets.readers import read_folder
from napari_mrtrans.errors import CheckpointError
from napari_mrtrans.widgets.adapt import process
from napari_mrtrans.widgets.adapt.look import Found, look
from napari_mrtrans.widgets.adapt.table import SAMPLED, GainTable
from napari_mrtrans.widgets.assumed import AXIAL_KEY
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.dock import TransformWidget

from ..conftest import write_card
from .conftest import LEARNING, ROW, Adapting


def test_it_says_what_is_missing_before_anything_runs(adapting: Adapting) -> None:
    dock, form = adapting.dock, adapting.dock.form
    assert "Choose the folder" in dock.message.text() and not dock.button.isEnabled()
    adapting.choose_folder("sub-01/anat/sub-01_T1w.nii.gz")
    assert "No session has both contrasts of a pair that 'many-flow' serves" in dock.message.text()
    two = [f"sub-0{number}/anat/sub-0{number}_{contrast}.nii.gz" for number in (1, 2) for contrast in ("T1w", "T2w")]
    adapting.choose_folder(*two)
    assert form.found.text() == "2 people, 2 sessions: T1, T2"
    assert dock.message.text() == "" and dock.button.isEnabled()
    form.site.setText("../x")
    assert "cannot name a site" in dock.message.text() and not dock.button.isEnabled()
    write_card(adapting.user, "lab-flow", "flow", ["T1->T2"])
    form.site.setText("lab")
    assert "'lab-flow' is installed already; choose another name" in dock.message.text()
    other = Begun(Path("data"), "many-flow", "flow", 10.0, "ward").written()
    with FileLock(str(other.folder / ".adapt.lock")):
        form.site.setText("ward")
        assert "'ward-flow' is being made in another window" in dock.message.text() and not dock.button.isEnabled()
    form.folder.line.setText("/nowhere")
    adapting.qtbot.waitUntil(lambda: "does not exist; choose the right one." in dock.message.text())


def test_files_that_are_left_out_are_no_people(tmp_path: Path) -> None:
    (anat := tmp_path / "sub-01" / "anat").mkdir(parents=True)
    for part in ("run-01_T1w", "run-02_T1w", "T2w"):
        (anat / f"sub-01_{part}.nii.gz").touch()
    line = look(tmp_path).line
    assert line.startswith("1 person, 1 session: T1, T2. sub-01: sub-01_run-02_T1w.nii.gz left out, because ")
    assert line.endswith("; to take another, move or rename the one that you do not want")


def test_nothing_begins_while_the_folder_is_looked_at(adapting: Adapting, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Path, Callable[[Found], None]]] = []
    monkeypatch.setattr("napari_mrtrans.widgets.adapt.form.look_later", lambda *of: told.append(of))
    folder = adapting.scans("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    dock = adapting.dock
    dock.form.folder.line.setText(str(folder))
    adapting.qtbot.waitUntil(lambda: bool(told))
    assert dock.message.text() == "Looking at the folder…" and not dock.button.isEnabled()
    path, tell = told[-1]
    tell(look(path))
    assert path == folder and dock.message.text() == "" and dock.button.isEnabled()


def test_a_run_shows_how_it_improves_and_its_result_is_used(
    adapting: Adapting, brain: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapting.choose_folder()
    adapting.plan.waits = True
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    dock = adapting.dock
    adapting.qtbot.waitUntil(lambda: dock.progress.count == (420, 1000))
    assert dock.progress.text == "training · 5:48 left"
    assert dock.curve.curves == {"training": [(0.0, 1.0), (60.0, 0.9)]} and dock.curve.best == 0.9
    shown = {name: int(image.max()) for name, image in dock.preview.images.items()}
    assert shown == {"source": 63, "before": 95, "now": 127, "target": 160}  # white is 0.8
    assert dock.preview.isVisible() and dock.curve.isVisible() and not dock.form.isEnabled()
    words = adapting.words()
    assert words[words.index("--model") + 1] == "many-flow" and words[-2:] == ["--json", "--listen"]
    assert dock.button.text() == "Cancel and keep the best so far"
    adapting.press()
    assert adapting.end() is DockState.DONE
    # The result: a table, nothing left of what was only needed meanwhile.
    result = dock.result
    adapting.qtbot.wait(400)  # the folder is looked at again, which changes nothing
    assert dock.state is DockState.DONE and dock.message.text() == ""
    assert result.isVisible() and "lab-flow</b> is better: +1.07 dB on average" in result.verdict.text()
    cells = [[result.table.item(row, column).text() for column in range(4)] for row in range(3)]
    assert cells[0] == ["T1→T2", "22.9 → 24.0", "+1.15", "0.770 → 0.810"] and cells[2][0] == "mean"
    assert result.table.isColumnHidden(4)  # a model with one answer has no spread
    assert unfinished() == []
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    adapting.press(result.page)
    assert Path(opened[0]) == adapting.home / "lab-flow" / "report.html"
    # Use it now: installed, and chosen for the image that fits, in the dock that opens.
    adapting.viewer.add_image(brain, name="sub-01_FLAIR")
    adapting.viewer.add_image(brain, name="sub-01_T2w")
    adapting.viewer.add_image(brain, name="sub-02_FLAIR")
    adapting.press(result.use)
    adapting.qtbot.waitUntil(lambda: "is chosen in the dock" in dock.message.text())
    assert (adapting.user / "lab-flow.safetensors").exists() and result.use.text() == "Use it now"
    transform = adapting.viewer.window._qt_window.findChild(TransformWidget)
    assert transform.isVisible()
    assert (transform.form.layer.name, transform.form.checkpoint.name) == ("sub-01_T2w", "lab-flow")


def test_discard_deletes_the_installed_files_once_it_is_sure(adapting: Adapting, sure: list[str]) -> None:
    adapting.choose_folder()
    installed = write_card(adapting.user, "lab-flow", "flow", ["T1->T2"])
    installed.rename(aside := adapting.home.parent / "aside")
    adapting.plan.result |= {"installed": True, "path": str(installed)}
    adapting.plan.result |= {"better": False, "warnings": ["T1→T2 became worse by 0.30 dB."]}
    adapting.begin()
    assert adapting.end() is DockState.DONE
    aside.rename(installed)
    result = adapting.dock.result
    assert "is not better" in result.verdict.text() and "worse by 0.30 dB" in result.warnings.text()
    adapting.press(result.discard)
    assert sure == ["Delete 'lab-flow' and its page for good?"]
    assert not installed.exists() and not result.isVisible()
    adapting.qtbot.waitUntil(lambda: not (adapting.home / "lab-flow").exists())


def test_what_is_being_installed_cannot_be_discarded(adapting: Adapting, monkeypatch: pytest.MonkeyPatch) -> None:
    adapting.choose_folder()
    adapting.begin()
    assert adapting.end() is DockState.DONE
    go, result = threading.Event(), adapting.dock.result

    def slow(path: str) -> object:
        go.wait(10)
        raise CheckpointError("The disk is full; make room.")

    monkeypatch.setattr("napari_mrtrans.widgets.adapt.dock.install", slow)
    adapting.press(result.use)
    assert not result.discard.isEnabled() and not result.use.isEnabled()
    go.set()
    adapting.qtbot.waitUntil(lambda: adapting.dock.message.text() == "The disk is full; make room.")
    assert result.discard.isEnabled() and result.use.isEnabled()


def test_a_second_cancel_drops_it(adapting: Adapting, sure: list[str]) -> None:
    adapting.choose_folder()
    adapting.plan.waits, adapting.plan.ends_after = True, 60
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    adapting.press()
    assert adapting.dock.state is DockState.CANCELLING and adapting.dock.button.text() == "Discard"
    adapting.press()
    assert adapting.end() is DockState.CANCELLED and len(sure) == 1
    assert not (adapting.home / "lab-flow").exists() and not adapting.dock.result.isVisible()


def test_dropped_as_it_ends_nothing_of_it_stays(
    adapting: Adapting, sure: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapting.choose_folder()
    installed = write_card(adapting.user, "lab-flow", "flow", ["T1->T2"])
    installed.rename(aside := adapting.home.parent / "aside")
    adapting.plan.result |= {"installed": True, "path": str(installed)}
    adapting.plan.waits = True
    monkeypatch.setattr(process.AdaptProcess, "kill", lambda self: None)  # too late
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    aside.rename(installed)
    adapting.press()
    adapting.press()
    assert adapting.end() is DockState.CANCELLED and adapting.dock.message.text() == "Discarded."
    assert not installed.exists() and not (adapting.home / "lab-flow").exists()
    assert sure and not adapting.dock.result.isVisible()


def test_what_was_removed_elsewhere_can_be_discarded(adapting: Adapting, sure: list[str]) -> None:
    adapting.choose_folder()
    adapting.plan.result |= {"installed": True, "path": str(adapting.user / "lab-flow.safetensors")}
    adapting.begin()
    assert adapting.end() is DockState.DONE and sure == []
    adapting.press(adapting.dock.result.discard)
    assert not adapting.dock.result.isVisible() and not (adapting.home / "lab-flow").exists()
    assert adapting.dock.message.text() == "'lab-flow' was deleted."


def test_closed_it_saves_and_another_dock_goes_on(adapting: Adapting) -> None:
    adapting.choose_folder()
    adapting.plan.waits = True
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    window = adapting.viewer.window
    window.remove_dock_widget(adapting.dock)
    adapting.qtbot.waitUntil(lambda: not process._alive, timeout=10_000)
    assert (adapting.home / "lab-flow" / "left").read_text() == "saved"
    assert not progress._all_instances  # in napari's activity dock
    _, dock = window.add_plugin_dock_widget("napari-mrtrans", "Adapt to my scanner")
    adapting.qtbot.waitUntil(dock.unfinished.isVisible)
    assert "'lab-flow' was not finished" in dock.unfinished.label.text()
    dock.form.site.setText("lab")
    assert "go on with it or discard it" in dock.form._taken
    adapting.dock, adapting.plan.waits = dock, False
    adapting.plan.write()
    adapting.press(dock.unfinished.resume)
    assert adapting.end() is DockState.DONE
    words = adapting.words()
    assert words[words.index("-o") + 1] == str(adapting.home / "lab-flow")
    assert not dock.unfinished.isVisible()


@pytest.mark.parametrize("learned", [True, False])
def test_what_fails_is_one_line_and_leaves_nothing_half_done(
    learned: bool, adapting: Adapting, errors: list[str], sure: list[str]
) -> None:
    adapting.choose_folder()
    adapting.plan.learned = learned
    adapting.plan.error = (
        "Cannot write to 'x' (No space left on device). Make room; the same command then goes on where it was."
    )
    adapting.begin()
    assert adapting.end() is DockState.FAILED
    line = "Cannot write to 'x' (No space left on device). Make room; Go on then continues where it was."
    assert errors == [line] and adapting.dock.message.text() == line
    folder, row = adapting.home / "lab-flow", adapting.dock.unfinished
    assert folder.exists() is learned and row.isVisible() is learned
    if learned:
        adapting.press(row.drop)
        adapting.qtbot.waitUntil(lambda: not folder.exists() and not row.isVisible())
        assert len(sure) == 1


def test_killed_it_can_be_gone_on_with(adapting: Adapting, errors: list[str]) -> None:
    adapting.choose_folder()
    adapting.plan.waits = True
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    (one,) = process._alive
    one.kill()  # as by the system
    assert adapting.end() is DockState.FAILED
    assert errors == ["The process that trains was killed (by you, or for want of memory)."]
    assert adapting.dock.unfinished.one.name == "lab-flow"


def test_cancelled_before_anything_was_learned(adapting: Adapting) -> None:
    adapting.choose_folder()
    adapting.plan.waits, adapting.plan.learned, adapting.plan.lines = True, False, LEARNING[:1]
    adapting.begin()
    adapting.qtbot.waitUntil(lambda: "8 min of training" in adapting.dock.message.text(), timeout=10_000)
    assert adapting.dock.button.text() == "Cancel"
    adapting.press()
    assert adapting.end() is DockState.CANCELLED
    assert not (adapting.home / "lab-flow").exists() and not adapting.dock.unfinished.isVisible()


def placed(scale: float = 1.0) -> dict[str, object]:
    return {"metadata": {"affine": np.diag([scale, scale, scale, 1.0])}}


def test_open_images_become_sessions_of_the_people_they_show(adapting: Adapting, brain: np.ndarray) -> None:
    viewer, dock = adapting.viewer, adapting.dock
    dock.form.scans.setCurrentText("Open images")
    assert "Open two images of one person" in dock.message.text()
    for person in ("01", "02"):
        for contrast in ("T1w", "T2w", "FLAIR"):
            viewer.add_image(brain, name=f"sub-{person}_{contrast}", **placed(2.0 if contrast == "FLAIR" else 1.0))
    pairs = dock.form.pairs
    for source, target in (
        ("sub-01_T1w", "sub-01_T2w"),
        ("sub-02_T1w", "sub-02_FLAIR"),
        ("sub-01_T1w", "sub-01_FLAIR"),
    ):
        pairs.source.image.choose(viewer.layers[source])
        assert pairs.target.image.layer.name.startswith(source[:6])  # of the same person
        pairs.target.image.choose(viewer.layers[target])
        adapting.press(pairs.add)
    assert [str(one.pair) for one in pairs.pairs] == ["T1→T2", "T1→FLAIR", "T1→FLAIR"]
    adapting.plan.waits = True
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    words = adapting.words()
    assert words[words.index("--pairs") + 1] == "T1->T2,T1->FLAIR"
    scans = adapting.home / "lab-flow" / "scans"
    assert words[words.index("--data") + 1] == str(scans)
    found = {session.subject: sorted(session.contrasts) for session in read_folder(scans).sessions}
    assert found == {"sub-01": ["FLAIR", "T1", "T2"], "sub-02": ["FLAIR", "T1"]}
    saved = nib.load(next(scans.rglob("sub-02*FLAIR.nii.gz")))
    np.testing.assert_allclose(np.asarray(saved.dataobj), brain)
    assert saved.affine[0, 0] == 2.0  # on a grid of its own; the command registers it
    adapting.press()
    assert adapting.end() is DockState.DONE
    assert not scans.exists()


def test_images_that_do_not_belong_together_are_named(adapting: Adapting, brain: np.ndarray) -> None:
    viewer, dock = adapting.viewer, adapting.dock
    dock.form.scans.setCurrentText("Open images")
    viewer.add_image(brain, name="sub-01_T1w")
    assert dock.message.text() == "Open a second image of this person: the contrast that you want to get."
    viewer.add_image(brain, name="mystery")
    pairs = dock.form.pairs
    assert pairs.target.image.layer is viewer.layers["mystery"]
    viewer.layers.remove("mystery")
    viewer.add_image(brain, name="sub-02_T2w")
    pairs.source.image.choose(viewer.layers["sub-01_T1w"])
    pairs.target.image.choose(viewer.layers["sub-02_T2w"])
    assert "'sub-01_T1w' is of sub-01 and 'sub-02_T2w' of sub-02" in dock.message.text()
    assert not pairs.add.isEnabled() and not dock.button.isEnabled()
    pairs.target.image.choose(viewer.layers["sub-01_T1w"])
    assert "Source and target are the same image" in dock.message.text()
    viewer.layers["sub-02_T2w"].name = "sub-01_weighted"
    viewer.add_image(brain, name="sub-01_scan")
    pairs.target.image.choose(viewer.layers["sub-01_scan"])
    assert "Which contrast is 'sub-01_scan'?" in dock.message.text()
    pairs.target.contrast.setCurrentText("PD")
    assert "'many-flow' knows FLAIR, T1, T2; take another model for T1→PD." in dock.message.text()
    pairs.target.contrast.setCurrentText("FLAIR")
    assert dock.message.text() == "" and dock.button.isEnabled()


def test_a_target_chosen_by_hand_holds_until_it_is_gone(adapting: Adapting, brain: np.ndarray) -> None:
    viewer, pairs = adapting.viewer, adapting.dock.form.pairs
    adapting.dock.form.scans.setCurrentText("Open images")
    for name in ("sub-01_T1w", "sub-01_FLAIR", "sub-01_T2w"):
        viewer.add_image(brain, name=name)
    target = pairs.target.image
    target.choose(viewer.layers["sub-01_T2w"])
    target.activated.emit(target.currentIndex())
    viewer.add_image(brain, name="sub-01_PDw")
    assert target.layer is viewer.layers["sub-01_T2w"]
    viewer.layers.remove("sub-01_T2w")
    viewer.layers.remove("sub-01_FLAIR")
    viewer.add_image(brain, name="sub-02_PDw")
    assert target.layer is viewer.layers["sub-01_PDw"]


def test_images_that_do_not_tell_their_axial_axis_are_refused(adapting: Adapting, brain: np.ndarray) -> None:
    viewer, dock = adapting.viewer, adapting.dock
    dock.form.scans.setCurrentText("Open images")
    viewer.add_image(brain, name="sub-01_T1w", **placed(1.0))
    image = viewer.add_image(brain, name="sub-01_T2w")
    adapting.press()
    assert "'sub-01_T2w' has no affine that tells which axis is axial" in dock.message.text()
    image.metadata[AXIAL_KEY] = 0
    assert dock.form.begun().pairs == ("T1->T2",)


def test_a_mask_is_no_target_unless_its_contrast_is_said(adapting: Adapting, brain: np.ndarray) -> None:
    viewer, dock = adapting.viewer, adapting.dock
    dock.form.scans.setCurrentText("Open images")
    for name in ("sub-01_T1w", "sub-01_T2w_lesions"):
        viewer.add_image(brain, name=name)
    assert "Which contrast is 'sub-01_T2w_lesions'?" in dock.message.text()
    viewer.add_image(brain, name="sub-01_T2w")
    assert dock.form.pairs.target.image.layer is viewer.layers["sub-01_T2w"] and dock.message.text() == ""


def test_a_folder_that_cannot_be_written_is_one_line(adapting: Adapting, errors: list[str]) -> None:
    adapting.choose_folder()
    adapting.home.write_text("a file where the folder should be")
    adapting.plan.write()
    adapting.press()
    assert adapting.end() is DockState.FAILED
    (line,) = errors
    assert line.startswith("Cannot write to") and line.endswith("Make room or mend its permissions.")


@pytest.mark.nightly
def test_the_command_itself_adapts_a_tiny_network(
    adapting: Adapting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nightly, because importing torch in a process of its own takes longer than all the rest."""
    code = "import sys; from napari_mrtrans.cli.train import main; main()"
    words = (code, "phantom-site", "-o", str(tmp_path / "site"), "--people", "1", "--resolution-mm", "4")
    subprocess.run([sys.executable, "-P", "-c", *words], check=True, timeout=300)
    monkeypatch.undo()
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(adapting.user))
    monkeypatch.setattr("napari_mrtrans.asked.begun.adaptation_dir", lambda: adapting.home)
    tiny_checkpoint(adapting.user / "tiny.safetensors", "direct", grid=Grid(spacing_mm=4.0))
    form = adapting.dock.form
    form.reload()
    form.model.setCurrentText("tiny")
    form.minutes.setMinimum(0.01)
    form.minutes.setDecimals(2)
    form.minutes.setValue(0.02)
    form.folder.line.setText(str(tmp_path / "site" / "scanner-a"))
    adapting.qtbot.waitUntil(lambda: "1 person, 1 session: T1, T2, PD, FLAIR" in form.found.text(), timeout=10_000)
    told: list[dict[str, object]] = []
    adapting.qtbot.keyClick(form.site, Qt.Key.Key_End)
    adapting.press()
    adapting.dock._run.told.connect(told.append)
    adapting.qtbot.waitUntil(lambda: not adapting.dock.state.busy, timeout=600_000)
    assert adapting.dock.state is DockState.DONE, adapting.dock.message.text()
    assert any("preview" in line for line in told) and any("curve" in line for line in told)
    out = adapting.home / "lab-direct"
    assert json.loads((out / "figures.json").read_text())["pairs"]
    assert adapting.dock.result.table.rowCount() == 7  # six pairs and their mean
    assert (out / "lab-direct.safetensors").exists() and not (out / "asked.json").exists()


def test_the_run_ends_while_it_is_asked_whether_to_drop_it(adapting: Adapting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then Yes drops nothing and, above all, begins nothing."""
    adapting.choose_folder()
    adapting.plan.waits, adapting.plan.ends_after = True, 1.0
    adapting.begin()
    adapting.wait_for(DockState.RUNNING)
    adapting.press()
    begun: list[object] = []
    monkeypatch.setattr(adapting.dock, "start", lambda: begun.append(None))

    def ended_meanwhile(question: str) -> bool:
        adapting.qtbot.waitUntil(lambda: not adapting.dock.state.busy, timeout=20_000)
        return True

    monkeypatch.setattr(adapting.dock, "_sure", ended_meanwhile)
    adapting.press()
    assert not begun and adapting.dock.state is DockState.DONE and adapting.dock.result.isVisible()


def test_a_column_of_the_table_is_of_one_coverage(qtbot) -> None:
    table = GainTable()
    qtbot.addWidget(table)
    spread = {"std_over_rmse": [0.9, 1.0], "covered": [0.7, 0.8]}
    mended, raw = {**ROW, **spread, "corrected": [0.88, 0.9]}, {**ROW, **spread, "corrected": None}
    for rows, expected in (([mended, raw], "0.70 → 0.80"), ([mended, mended], "0.88 → 0.90")):
        table.show_rows(rows)
        assert [table.item(row, SAMPLED[1]).text() for row in (0, 1)] == [expected] * 2
