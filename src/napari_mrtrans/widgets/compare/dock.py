"""The third dock: several models on one image, their figures in one table and their means side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...errors import MrtransError
from ...paths import write_together
from ..checkpoints.installed import installed
from ..state import DockState
from ..transform.progress import ProgressLine
from ..transform.worker import TransformWorker
from .form import CompareForm
from .run import Comparison
from .side_by_side import SideBySide
from .table import CompareTable
from .worker import Event, SliceDone

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: Redraws while slices arrive, as in the dock of the transformation.
REFRESH_MS = 250

_BUTTON = {
    DockState.LOADING: "Cancel",
    DockState.RUNNING: "Cancel",
    DockState.CANCELLING: "Cancelling…",
}


class CompareWidget(QWidget):
    """Runs the ticked models one after the other on the chosen image.

    Signals:
        state_changed: The new :class:`DockState`.
    """

    state_changed = Signal(object)

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._state = DockState.NO_IMAGE
        self._worker: TransformWorker | None = None
        self.comparison: Comparison | None = None
        self.form = CompareForm(napari_viewer)
        self.button = QPushButton("Run")
        self.progress = ProgressLine()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.table = CompareTable()
        self.copy = QPushButton("Copy CSV")
        self.save = QPushButton("Save CSV…")
        self.grid = QPushButton("Side by side")
        self._results = QWidget()
        self._grid = SideBySide(napari_viewer)
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._tick)
        self.button.clicked.connect(self._on_button)
        self.form.changed.connect(self._on_choice)
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._save)
        self.grid.toggled.connect(self._on_grid)
        napari_viewer.layers.events.removed.connect(self._on_removed)
        installed.changed.connect(self._reload)
        self._on_choice()

    def _build(self) -> None:
        note = QLabel("Research use only. Not for diagnosis.")
        note.setEnabled(False)
        self.button.setMinimumHeight(32)
        self.grid.setCheckable(True)
        self.grid.setToolTip("The reference and the mean of each model next to each other; again: as it was before.")
        buttons = QHBoxLayout()
        for button in (self.grid, self.copy, self.save):
            buttons.addWidget(button)
        results = QVBoxLayout(self._results)
        results.setContentsMargins(0, 0, 0, 0)
        results.addWidget(self.table)
        results.addLayout(buttons)
        self._results.hide()
        column = QVBoxLayout(self)
        column.setSpacing(8)
        for widget in (self.form, self.button, self.progress, self.message, self._results):
            column.addWidget(widget)
        column.addStretch(1)
        column.addWidget(note)
        self.setMinimumWidth(340)

    @property
    def state(self) -> DockState:
        """What the dock is doing."""
        return self._state

    def start(self) -> None:
        """Run the ticked models."""
        if self._state.busy:
            return
        try:
            comparison = Comparison(self._viewer, self.form)
        except MrtransError as error:
            self._fail(str(error))
            return
        self.grid.setChecked(False)
        self.comparison = comparison
        self._show_table()
        self._say("")
        self._worker = worker = comparison.worker()
        worker.yielded.connect(self._on_event)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._set_state(DockState.LOADING)
        self.progress.show_waiting("Loading the models…")
        self._timer.start()
        worker.start()

    def cancel(self) -> None:
        """Stop at the next network evaluation; finished models and slices stay."""
        worker = self._worker
        if worker is None or not self._state.busy:
            return
        worker.quit()
        if self._state is not DockState.LOADING:
            self._set_state(DockState.CANCELLING)
            return
        # Neither an import of torch nor a reference being prepared can be interrupted: that worker ends by itself.
        worker.yielded.disconnect(self._on_event)
        worker.errored.disconnect(self._on_error)
        worker.finished.disconnect(self._on_finished)
        self._on_finished()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """A dock closed for good has lost its parent once this event is over: then nobody could press Cancel."""
        super().hideEvent(event)
        QTimer.singleShot(0, self._cancel_if_removed)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Checkpoints may have been installed meanwhile."""
        super().showEvent(event)
        self._reload()

    def _reload(self) -> None:
        if isalive(self) and not self._state.busy:
            self.form.reload()

    def _cancel_if_removed(self) -> None:
        if isalive(self) and self.parent() is None:
            self.cancel()

    def _set_state(self, state: DockState) -> None:
        self._state = state
        self.form.setEnabled(not state.busy)
        self.button.setText(_BUTTON.get(state, "Run"))
        self.button.setEnabled(state not in (DockState.NO_IMAGE, DockState.CANCELLING))
        self.state_changed.emit(state)

    def _on_button(self) -> None:
        if self._state.busy:
            self.cancel()
        else:
            self.start()

    def _on_choice(self) -> None:
        if self._state.busy:
            return
        self._set_state(DockState.NO_IMAGE if self.form.layer is None else DockState.READY)
        self._say(self.form.problem)

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _on_event(self, event: Event) -> None:
        if self.comparison is None:
            return
        if self._state is DockState.LOADING and isinstance(event, SliceDone):
            self._set_state(DockState.RUNNING)
        self.comparison.add(event)
        if not isinstance(event, SliceDone):
            self._show_table()

    def _tick(self) -> None:
        """Show what came in since the last time."""
        comparison = self.comparison
        if comparison is None:
            return
        if comparison.redraw() and self.grid.isChecked():
            self._grid.show(comparison.pictures)
        if self._state.busy:
            self._say("\n".join(comparison.notices))
        if comparison.monitor.step is not None and self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
        self._show_table()
        comparison.show_progress(self.progress)

    def _show_table(self) -> None:
        if self.comparison is not None:
            self._results.show()
            self.table.show_rows(self.comparison.rows, self.comparison.measured)

    def _on_error(self, error: Exception) -> None:
        self._fail(str(error))

    def _fail(self, text: str) -> None:
        self._set_state(DockState.FAILED)
        self._say(text)
        show_error(text)

    def _on_finished(self) -> None:
        comparison, self._worker = self.comparison, None
        self._timer.stop()
        if comparison is None:
            return
        self._tick()
        comparison.close()
        self._show_table()
        self.progress.reset()
        if self._state is DockState.FAILED:
            self._results.hide()
            return
        cancelled = comparison.monitor.cancel.is_set()
        failed = not cancelled and not comparison.succeeded
        self._set_state(DockState.CANCELLED if cancelled else DockState.FAILED if failed else DockState.DONE)
        self._say("\n".join([comparison.ending(), *comparison.notices]))

    def _on_removed(self, event: Any) -> None:
        if isalive(self) and self._state.busy and self.comparison is not None:
            self.comparison.on_removed(event.value)

    def _on_grid(self, on: bool) -> None:
        if on and self.comparison is not None:
            self._grid.show(self.comparison.pictures)
        else:
            self._grid.leave()

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if self.comparison is not None and clipboard is not None:
            clipboard.setText(self.comparison.csv())
            show_info("Copied.")

    def _save(self) -> None:
        if self.comparison is None:
            return
        chosen, _ = QFileDialog.getSaveFileName(self, "Save CSV", "comparison.csv", "Comma-separated values (*.csv)")
        if not chosen:
            return
        path = Path(chosen)
        try:
            write_together(path.parent, {path.name: self.comparison.csv()}, "Choose another folder.")
        except MrtransError as error:
            show_error(str(error))
