"""Two buttons that hand a dock's table on: to the clipboard and to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QFileDialog, QPushButton, QWidget

from ..errors import MrtransError
from ..paths import write_together


class CsvButtons(QObject):
    """*Copy CSV* and *Save CSV…*.

    Args:
        table: Gives the file name to suggest and the comma-separated values; None where there are none.
        parent: The dock.
    """

    def __init__(self, table: Callable[[], tuple[str, str] | None], parent: QWidget) -> None:
        super().__init__(parent)
        self._table = table
        self._parent = parent
        self.copy = QPushButton("Copy CSV")
        self.save = QPushButton("Save CSV…")
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._save)

    def _copy(self) -> None:
        found, clipboard = self._table(), QApplication.clipboard()
        if found is not None and clipboard is not None:
            clipboard.setText(found[1])
            show_info("Copied.")

    def _save(self) -> None:
        found = self._table()
        if found is None:
            return
        suggested, text = found
        chosen, _ = QFileDialog.getSaveFileName(self._parent, "Save CSV", suggested, "Comma-separated values (*.csv)")
        if not chosen:
            return
        path = Path(chosen)
        try:
            write_together(path.parent, {path.name: text}, "Choose another folder.")
        except MrtransError as error:
            show_error(str(error))
