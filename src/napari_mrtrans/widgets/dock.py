"""What all docks have: one line for the user, a reminder, and an end when they are closed for good."""

from __future__ import annotations

from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QLabel, QWidget


class Dock(QWidget):
    """A dock of napari's window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.message = QLabel()
        self.message.setWordWrap(True)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """A dock closed for good has lost its parent once this event is over: then nobody could press Cancel."""
        super().hideEvent(event)
        QTimer.singleShot(0, self._end_if_removed)

    def _end_if_removed(self) -> None:
        if isalive(self) and self.parent() is None:
            self._end()

    def _end(self) -> None:
        """Stop what is going on: the dock is gone."""

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _complain(self, text: str) -> None:
        self._say(text)
        show_error(text)


def research_note() -> QLabel:
    """The line at the foot of a dock that shows results."""
    note = QLabel("Research use only. Not for diagnosis.")
    note.setEnabled(False)
    return note
