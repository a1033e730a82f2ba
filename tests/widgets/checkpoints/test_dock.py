"""The checkpoint manager in a real viewer: table and card, installing, downloading, removing."""

from __future__ import annotations

import re
import threading
from unittest.mock import Mock

import pytest
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_mrtrans.checkpoints.installing import DownloadCancelled
from napari_mrtrans.checkpoints.library import list_checkpoints
from napari_mrtrans.errors import CheckpointError
from napari_mrtrans.widgets.checkpoints import dock as module
from napari_mrtrans.widgets.checkpoints.dock import CheckpointsWidget
from napari_mrtrans.widgets.checkpoints.download_dialog import DownloadDialog
from napari_mrtrans.widgets.transform.dock import TransformWidget

from ..conftest import write_card

SHA = "ab" * 32


class Manager:
    """The dock with the hands of a user."""

    def __init__(self, viewer, qtbot):
        self.viewer, self.qtbot = viewer, qtbot
        self.dock = CheckpointsWidget(viewer)
        viewer.window.add_dock_widget(self.dock, name="Checkpoints")

    def rows(self):
        table = self.dock.table
        return [[table.item(row, column).text() for column in range(6)] for row in range(table.rowCount())]

    def click(self, button):
        assert button.isEnabled()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        self.qtbot.waitUntil(lambda: not self.dock.busy)

    def choose(self, name):
        row = [cells[0] for cells in self.rows()].index(name)
        item = self.dock.table.visualItemRect(self.dock.table.item(row, 0)).center()
        self.qtbot.mouseClick(self.dock.table.viewport(), Qt.MouseButton.LeftButton, pos=item)


@pytest.fixture
def manager(make_napari_viewer, qtbot, checkpoints):
    """Two checkpoints come with the plugin, one is the user's."""
    write_card(checkpoints, "mine", "direct", ["FLAIR->T1"])
    manager = Manager(make_napari_viewer(show=True), qtbot)
    yield manager
    manager.dock.stop()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)


@pytest.fixture
def errors(monkeypatch):
    """Every line the dock passes to napari's ``show_error``."""
    lines = []
    monkeypatch.setattr("napari_mrtrans.widgets.dock.show_error", lines.append)
    return lines


@pytest.fixture
def new(tmp_path, monkeypatch):
    """A file that is chosen in the dialog."""
    (tmp_path / "elsewhere").mkdir()
    path = write_card(tmp_path / "elsewhere", "new-flow", "flow", ["PD->T1"])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    return path


def test_table_and_card(manager):
    rows = manager.rows()
    sizes = [row.pop(3) for row in rows]
    assert rows == [
        ["many-flow", "flow", "3", "plugin", "no"],
        ["one-direct", "direct", "T1→T2", "plugin", "no"],
        ["mine", "direct", "FLAIR→T1", "you", "no"],
    ]
    assert all(re.fullmatch(r"0\.\d kB", size) for size in sizes), sizes
    manager.choose("one-direct")
    text = manager.dock.card.toPlainText()
    assert text.startswith("one-direct  (direct, ")
    assert "trained on: Phantoms [CC0]" in text and "SHA-256: " in text


def test_what_comes_with_the_plugin_cannot_be_removed_and_says_why(manager):
    manager.choose("many-flow")
    assert not manager.dock.remove.isEnabled()
    assert "comes with the plugin" in manager.dock.remove.toolTip()
    manager.choose("mine")
    assert manager.dock.remove.isEnabled()


def test_remove_asks_first(manager, monkeypatch, checkpoints):
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    manager.choose("mine")
    manager.click(manager.dock.remove)
    assert (checkpoints / "mine.safetensors").exists()
    manager.click(manager.dock.remove)
    assert not (checkpoints / "mine.safetensors").exists()
    assert [cells[0] for cells in manager.rows()] == ["many-flow", "one-direct"]
    assert manager.dock.message.text() == "Removed 'mine'."


def test_what_a_pool_needs_is_refused_before_the_question(manager, monkeypatch, checkpoints):
    asked = []
    monkeypatch.setattr(QMessageBox, "question", lambda *_: asked.append(True))
    monkeypatch.setattr(
        "napari_mrtrans.checkpoints.removing.check_unpooled", Mock(side_effect=CheckpointError("a pool needs it"))
    )
    manager.choose("mine")
    manager.click(manager.dock.remove)
    assert not asked and (checkpoints / "mine.safetensors").exists()
    assert "a pool needs it" in manager.dock.message.text()


def test_installed_from_a_file_other_docks_offer_it(manager, new, brain):
    other = TransformWidget(manager.viewer)
    manager.viewer.window.add_dock_widget(other)
    manager.viewer.add_image(brain, name="sub-01_PD")
    assert other.form.checkpoint is None
    manager.click(manager.dock.install)
    assert manager.dock.message.text() == "Installed 'new-flow'."
    assert manager.dock.table.checkpoint.name == "new-flow"
    assert other.form.checkpoint.name == "new-flow"
    assert other.button.isEnabled()


def test_what_was_brought_to_one_that_is_installed_is_told(manager, new, monkeypatch):
    manager.click(manager.dock.install)
    (there,) = [one for one in list_checkpoints() if one.name == "new-flow"]
    line = "'new-flow' is installed already; brought its calibration to 'here'."

    def brought(path, say):
        say(line)
        return there

    monkeypatch.setattr(module, "install", brought)
    manager.click(manager.dock.install)
    assert manager.dock.message.text() == line


def test_a_damaged_file_is_one_line(manager, new, errors):
    new.write_bytes(new.read_bytes()[:-1])
    manager.click(manager.dock.install)
    assert errors == ["'new-flow.safetensors' is truncated; install it again."]
    assert manager.dock.message.text() == errors[0]
    assert len(manager.rows()) == 3


def test_a_damaged_file_in_the_folder_is_named(manager, checkpoints):
    (checkpoints / "bad.safetensors").write_bytes(b"x")
    manager.dock.reload()
    assert manager.dock.message.text().startswith("'bad.safetensors' is truncated")
    assert len(manager.rows()) == 3


def test_a_fault_of_ours_is_one_line(manager, new, errors, monkeypatch):
    monkeypatch.setattr(module, "install", lambda path, say: 1 / 0)
    manager.click(manager.dock.install)
    assert errors == ["Nothing was installed: ZeroDivisionError: division by zero"]
    assert manager.dock.install.isEnabled()


def test_download_shows_how_far_it_is_and_can_be_cancelled(manager, errors, monkeypatch):
    told = threading.Event()

    def slow(url, sha256, *, progress, cancel):
        assert (url, sha256) == ("https://x/y", SHA)
        progress(3_000_000, 8_000_000)
        told.set()
        while not cancel():
            told.wait(0.01)
        raise DownloadCancelled("The download was cancelled; nothing was installed.")

    monkeypatch.setattr(module, "download", slow)
    monkeypatch.setattr(DownloadDialog, "ask", lambda *_: ("https://x/y", SHA))
    manager.qtbot.mouseClick(manager.dock.download, Qt.MouseButton.LeftButton)
    manager.qtbot.waitUntil(lambda: manager.dock.progress.text == "3.0 MB of 8.0 MB")
    assert not manager.dock.install.isEnabled()
    manager.click(manager.dock.cancel)
    assert manager.dock.message.text() == "The download was cancelled; nothing was installed."
    assert not errors and not manager.dock.cancel.isVisible()


def test_a_download_ends_with_its_window(manager, monkeypatch):
    """Which may be one of several: napari ends its workers with the last."""
    cancelled = threading.Event()

    def slow(url, sha256, *, progress, cancel):
        while not cancel():
            cancelled.wait(0.01)
        cancelled.set()
        raise DownloadCancelled("The download was cancelled; nothing was installed.")

    monkeypatch.setattr(module, "download", slow)
    monkeypatch.setattr(DownloadDialog, "ask", lambda *_: ("https://x/y", SHA))
    manager.qtbot.mouseClick(manager.dock.download, Qt.MouseButton.LeftButton)
    assert manager.dock.busy
    manager.dock.deleteLater()
    manager.qtbot.waitUntil(cancelled.is_set, timeout=2000)


def test_a_failed_download_is_told(manager, errors, monkeypatch):
    def fail(*_, **__):
        raise CheckpointError("Cannot download 'https://x/y' (no connection). Try again or elsewhere.")

    monkeypatch.setattr(module, "download", fail)
    monkeypatch.setattr(DownloadDialog, "ask", lambda *_: ("https://x/y", SHA))
    manager.click(manager.dock.download)
    assert errors[0].startswith("Cannot download")


def test_dialog_takes_nothing_but_an_address_and_a_whole_digest(manager, qtbot):
    dialog = DownloadDialog(manager.dock)
    qtbot.addWidget(dialog)
    dialog.accept()
    assert dialog.problem.text() == "Which file? Copy its address."
    qtbot.keyClicks(dialog.url, "https://x/y.safetensors")
    qtbot.keyClicks(dialog.sha256, "ab12")
    dialog.accept()
    assert dialog.result() == 0 and "64 hexadecimal digits" in dialog.problem.text()
    dialog.sha256.setText(SHA)
    dialog.accept()
    assert dialog.result() == DownloadDialog.DialogCode.Accepted


def test_nothing_is_left_of_a_dialog(manager, monkeypatch):
    monkeypatch.setattr(DownloadDialog, "exec", lambda _: DownloadDialog.DialogCode.Rejected)
    for _ in range(3):
        assert DownloadDialog.ask(manager.dock) is None
    manager.qtbot.waitUntil(lambda: not manager.dock.findChildren(DownloadDialog))


def test_dock_from_the_menu(make_napari_viewer, checkpoints):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mrtrans", "Checkpoints")
    assert isinstance(widget, CheckpointsWidget)


def test_a_row_whose_file_is_gone_says_so(manager, checkpoints):
    (checkpoints / "mine.safetensors").unlink()
    manager.choose("mine")
    assert "mine.safetensors' cannot be read any more" in manager.dock.card.toPlainText()
