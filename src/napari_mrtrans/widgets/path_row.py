"""A folder to type or to choose."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from ..paths import typed


class PathRow(QWidget):
    """A line for a folder's path, and a button that opens a dialog.

    Args:
        title: Of the dialog.
        button: What its button says.
        parent: The widget around it.

    Signals:
        changed: Another path stands there.
        chosen: One was chosen in the dialog, perhaps the same.
    """

    changed = Signal()
    chosen = Signal()

    def __init__(self, title: str, button: str = "…", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self.line = QLineEdit()
        self.line.setAccessibleName(title)
        self.button = QPushButton(button)
        self.button.setToolTip(f"{title}…")
        if button == "…":
            self.button.setFixedWidth(32)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)
        self.line.textChanged.connect(self.changed)
        self.button.clicked.connect(self._choose)

    @property
    def path(self) -> Path | None:
        """The folder; None where nothing is typed."""
        text = self.line.text().strip()
        return typed(text) if text else None

    def _choose(self) -> None:
        start = str(self.path or Path.home())
        chosen = QFileDialog.getExistingDirectory(self, self._title, start)
        if chosen:
            self.line.setText(chosen)
            self.chosen.emit()
