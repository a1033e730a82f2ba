"""A row that offers what was begun and not finished."""

from __future__ import annotations

import time

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...asked.begun import Begun, unfinished


class UnfinishedRow(QWidget):
    """The newest adaptation that napari's end, or the machine's, has cut short; hidden where there is none.

    Signals:
        resumed: The user wants to go on with this one.
        dropped: The user wants it gone.
    """

    resumed = Signal(object)
    dropped = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._begun: list[Begun] = []
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.resume, self.drop = QPushButton("Go on"), QPushButton("Discard it")
        self.resume.clicked.connect(lambda: self.resumed.emit(self.one))
        self.drop.clicked.connect(lambda: self.dropped.emit(self.one))
        buttons = QHBoxLayout()
        buttons.addWidget(self.resume)
        buttons.addWidget(self.drop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.label)
        column.addLayout(buttons)
        self.hide()

    @property
    def one(self) -> Begun | None:
        """The one that is offered."""
        return self._begun[0] if self._begun else None

    def reload(self) -> None:
        """Look again at what there is."""
        self._begun = unfinished()
        one = self.one
        if one is not None:
            more = f" ({len(self._begun) - 1} more after it)" if len(self._begun) > 1 else ""
            when = time.strftime("%d %b, %H:%M", time.localtime(one.began))
            self.label.setText(f"'{one.name}' was not finished ({one.minutes:g} min asked, last run {when}){more}.")
        self.setVisible(one is not None)
