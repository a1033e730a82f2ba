"""The dock of the installed checkpoints: look at them, install, download, remove."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...checkpoints.card_text import details, headline, provenance
from ...checkpoints.installing import download, install
from ...checkpoints.library import is_shipped, list_checkpoints
from ...checkpoints.removing import removable, remove
from ...errors import MrtransError
from ...paths import user_checkpoint_dir
from ..background import in_background
from ..dock import Dock, research_note
from ..preferences import defaults
from ..transform.progress import ProgressLine
from .download_dialog import DownloadDialog
from .installed import installed
from .table import CheckpointTable
from .transfer import Job, Transfer

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...checkpoints.checkpoint import Checkpoint

REFRESH_MS = 200
_OWN_ONLY = "It comes with the plugin and cannot be removed. Only checkpoints from your own folder can."


class CheckpointsWidget(Dock):
    """Table of the installed checkpoints, the card of the chosen one, and what can be done about them."""

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        defaults()  # they say which folder is the user's
        self.table = CheckpointTable()
        self.card = QPlainTextEdit()
        self.card.setReadOnly(True)
        self.card.setAccessibleName("Card of the chosen checkpoint")
        self.install = QPushButton("Install from file…")
        self.install.setToolTip("Check a .safetensors file that napari-mrtrans-train made, and copy it to your folder.")
        self.download = QPushButton("Download…")
        self.download.setToolTip("From an address, checked against the SHA-256 that its makers publish.")
        self.remove = QPushButton("Remove")
        self.cancel = QPushButton("Cancel download")
        self.progress = ProgressLine()
        self._transfer: Transfer | None = None
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._tick)
        self.table.chosen.connect(self._on_chosen)
        self.install.clicked.connect(self._on_install)
        self.download.clicked.connect(self._on_download)
        self.remove.clicked.connect(self._on_remove)
        self.cancel.clicked.connect(self.stop)
        installed.changed.connect(self.reload)
        self._set_busy(False)
        self.reload()

    def _build(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.install, self.download, self.remove):
            buttons.addWidget(button)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self.table, 1)
        column.addWidget(self.card, 1)
        column.addLayout(buttons)
        for widget in (self.progress, self.cancel, self.message):
            column.addWidget(widget)
        column.addWidget(research_note())
        self._scroll(column, 420)

    @property
    def busy(self) -> bool:
        """Something is being installed."""
        return self._transfer is not None

    def reload(self, choose: str | None = None) -> None:
        """Look again at what is installed; files that cannot be used are named."""
        if not isalive(self):
            return
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            self.table.show_checkpoints(list_checkpoints(), choose)
        lines = list(dict.fromkeys(str(remark.message) for remark in remarks))
        if defaults().checkpoint_folder and not user_checkpoint_dir().is_dir():
            lines.append(f"The folder of the preferences is not there yet: '{user_checkpoint_dir()}'.")
        self._say("\n".join(lines))
        self.table.setToolTip(f"Your own folder: {user_checkpoint_dir()}")

    def stop(self) -> None:
        """Give up the download that is going on."""
        if self._transfer is not None:
            self._transfer.cancel.set()
            if isalive(self):
                self.cancel.setEnabled(False)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Files may have come or gone meanwhile."""
        super().showEvent(event)
        if not self.busy:
            self.reload()

    def _end(self) -> None:
        self.stop()

    def _on_chosen(self) -> None:
        checkpoint = self.table.checkpoint
        own = checkpoint is not None and not is_shipped(checkpoint)
        self.remove.setEnabled(own and not self.busy)
        self.remove.setToolTip("" if own else _OWN_ONLY)
        self.card.setPlainText(_card(checkpoint) if checkpoint is not None else "No checkpoint is installed.")

    def _on_install(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Install a checkpoint", str(Path.home()), "Checkpoints (*.safetensors)"
        )
        if path:
            self._begin(lambda say: install(path, say=say), "Checking and copying…")

    def _on_download(self) -> None:
        asked = DownloadDialog.ask(self)
        if asked is None:
            return
        url, sha256 = asked
        transfer = Transfer()
        self._begin(
            lambda say: download(url, sha256, progress=transfer.report, cancel=transfer.cancel.is_set),
            "Connecting…",
            transfer,
        )

    def _begin(self, job: Job, text: str, transfer: Transfer | None = None) -> None:
        self._transfer = transfer or Transfer()
        self._at_end.stop = self._transfer.cancel.set
        self._set_busy(True, cancellable=transfer is not None)
        self._say("")
        self.progress.show_waiting(text)
        self._timer.start()
        said: list[str] = []
        in_background(partial(job, said.append), partial(self._on_installed, said), "Nothing was installed: ")

    def _tick(self) -> None:
        transfer = self._transfer
        if transfer is None or not transfer.done:
            return
        megabytes = f"{transfer.done / 1e6:.1f} MB"
        if transfer.total:
            # a bar counts in int32
            self.progress.show_count(
                transfer.done >> 10, transfer.total >> 10, f"{megabytes} of {transfer.total / 1e6:.1f} MB"
            )
        else:
            self.progress.show_waiting(megabytes)

    def _on_installed(self, said: list[str], made: Checkpoint | None, problem: str) -> None:
        if not isalive(self):
            return
        cancelled = self._transfer is not None and self._transfer.cancel.is_set()
        self._transfer = None
        self._timer.stop()
        self.progress.reset()
        self._set_busy(False)
        if made is None:
            if cancelled:
                self._say(problem)
            else:
                self._complain(problem)
            return
        installed.changed.emit()
        self.reload(made.name)
        self._say("\n".join(said) or f"Installed '{made.name}'.")

    def _on_remove(self) -> None:
        checkpoint = self.table.checkpoint
        if checkpoint is None:
            return
        question = f"Delete '{checkpoint.name}' ({checkpoint.path}) for good?"
        try:
            removable(checkpoint.name)  # before the question is asked
            if QMessageBox.question(self, "Remove a checkpoint", question) != QMessageBox.StandardButton.Yes:
                return
            remove(checkpoint.name)
        except MrtransError as error:
            self._complain(str(error))
            return
        installed.changed.emit()
        self._say(f"Removed '{checkpoint.name}'.")

    def _set_busy(self, busy: bool, *, cancellable: bool = False) -> None:
        for button in (self.install, self.download):
            button.setEnabled(not busy)
        self.progress.setVisible(busy)
        self.cancel.setVisible(cancellable)
        self.cancel.setEnabled(True)
        self._on_chosen()


def _card(checkpoint: Checkpoint) -> str:
    try:
        lines = [*details(checkpoint), *provenance(checkpoint)]
        return "\n".join([headline(checkpoint), *(f"{label}: {text}" for label, text in lines)])
    except (MrtransError, OSError):
        return f"'{checkpoint.path}' cannot be read any more; it may have been moved, deleted or damaged."
