"""The results that were made of an image: one of them is shown, or removed with all its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QMessageBox, QPushButton, QWidget

from ...wording import clock

if TYPE_CHECKING:
    from .saved_run import Result

#: Seconds of computing that are not thrown away unasked.
WORTH_ASKING = 60.0


class ResultList(QWidget):
    """A choice of runs, newest last.

    Signals:
        chosen: The run to show.
        removed: The run whose layers are to go.
    """

    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: list[Result] = []
        self.runs = QComboBox()
        self.runs.setAccessibleName("Results")
        self.runs.setToolTip("Results made of this image. The one chosen is shown, the others are hidden.")
        self.runs.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.runs.setMinimumContentsLength(12)
        self.remove = QPushButton("Remove")
        self.remove.setToolTip("Remove all layers of this result.")
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.runs, 1)
        line.addWidget(self.remove)
        self.runs.activated.connect(lambda index: self.chosen.emit(self._runs[index]))
        self.remove.clicked.connect(self._on_remove)
        self.show_runs([], None)

    def show_runs(self, runs: Sequence[Result], current: Result | None) -> None:
        """List these; hidden without any."""
        self._runs = list(runs)
        self.runs.clear()
        self.runs.addItems([f"{number}. {run.title}" for number, run in enumerate(runs, start=1)])
        if current in self._runs:
            self.runs.setCurrentIndex(self._runs.index(current))
        self.setVisible(bool(runs))

    def _on_remove(self) -> None:
        run = self._runs[self.runs.currentIndex()]
        if not run.saved and run.seconds >= WORTH_ASKING:
            question = f"'{run.title}' took {clock(run.seconds)} and has not been saved. Remove it?"
            if QMessageBox.question(self, "Remove a result", question) != QMessageBox.StandardButton.Yes:
                return
        self.removed.emit(run)
