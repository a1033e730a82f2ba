"""The button that writes what ``napari-mrtrans transform`` writes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton, QWidget

from ...errors import MrtransError
from ...paths import check_folder
from ...transformation.names import KINDS, file_name
from ..background import in_background
from ..lesion.roi import moved_by_hand

if TYPE_CHECKING:
    from .result_folder import ResultFolder
    from .run import Run

_REMEDY = "Choose another folder."
#: Pixels for the name of a run on the button.
NAME_WIDTH = 150
_IDLE = "Save results…"
_TIP = (
    "Mean, std and samples if they were kept, as NIfTI on the grid of the source's file, and a JSON report: the files "
    "that napari-mrtrans transform writes. After a cancel, those of the finished slices."
)


class SaveButton(QPushButton):
    """Asks for a folder and saves a run there, in the background.

    Args:
        folder: Where results go.
        parent: The widget around it.

    Signals:
        told: One line on what was saved, and one if the image was moved by hand.
        failed: One line on why nothing was.
    """

    told = Signal(str)
    failed = Signal(str)

    def __init__(self, folder: ResultFolder, parent: QWidget | None = None) -> None:
        super().__init__(_IDLE, parent)
        self._run: Run | None = None
        self._folder = folder
        self._saving = False
        self.clicked.connect(self._ask)
        self.offer(None)

    def offer(self, run: Run | None) -> None:
        """Save this run when pressed, if it has a finished slice; None: nothing can be saved now."""
        self._run = run if run is not None and run.gathered.finished else None
        self._name()
        self.setEnabled(self._run is not None and not self._saving)
        self.setVisible(self._run is not None or self._saving)

    def _name(self) -> None:
        """Say which run it is; the whole of it is in the tooltip, since it may be too long."""
        if self._saving:
            self.setText("Saving…")
            return
        title = "" if self._run is None else self._run.title
        room = self.fontMetrics().elidedText(title, Qt.TextElideMode.ElideMiddle, NAME_WIDTH)
        self.setText(f"Save {room.replace('&', '&&')}…" if title else _IDLE)  # no key of the button
        self.setToolTip(f"{title}\n{_TIP}" if title else _TIP)

    def _ask(self) -> None:
        run = self._run
        if run is None:
            return
        chosen = QFileDialog.getExistingDirectory(self, "Save results to", str(self._folder.proposed(run.path)))
        if chosen:
            self.save(Path(chosen))

    def save(self, folder: Path) -> None:
        """Save to ``folder``; asks before files of an earlier result are replaced."""
        run = self._run
        if run is None:
            return
        try:
            check_folder(folder, _REMEDY)
        except MrtransError as error:
            self.failed.emit(str(error))
            return
        names = (file_name(run.work.source.name, run.pair.target.value, kind) for kind in KINDS)
        there = [name for name in names if os.path.exists(folder / name)]  # noqa: PTH110 (Path.exists may raise)
        if there and not self._may_replace(folder, there):
            return
        self._folder.chosen(folder, run.path)
        self._saving = True
        self._name()
        self.setEnabled(False)
        tell = partial(self._on_saved, run, moved_by_hand(run.source))
        in_background(lambda: run.ensemble().save(folder, _REMEDY, overwrite=True), tell, "Nothing was saved: ")

    def _may_replace(self, folder: Path, names: list[str]) -> bool:
        question = f"{len(names)} of these files are in '{folder}' already ({names[0]}, …). Replace them?"
        return QMessageBox.question(self, "Save results", question) == QMessageBox.StandardButton.Yes

    def _on_saved(self, run: Run, notes: list[str], files: dict[str, Path] | None, problem: str) -> None:
        run.saved = run.saved or files is not None
        if not isalive(self):
            return
        self._saving = False
        self.offer(self._run)
        if files is None:
            self.failed.emit(problem)
        else:
            paths = list(files.values())
            said = f"Saved {len(paths)} files to '{paths[0].parent}', {paths[0].name} and others."
            self.told.emit("\n".join([said, *notes]))
