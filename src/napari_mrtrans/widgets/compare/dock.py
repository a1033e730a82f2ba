"""The third dock: several models on one image, their figures in one table and their means side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ..csv_buttons import CsvButtons
from ..run_dock import RunDock
from ..state import DockState
from ..wording import passing
from .form import CompareForm
from .run import Comparison
from .side_by_side import SideBySide
from .table import CompareTable
from .worker import Event, SliceDone

if TYPE_CHECKING:
    from napari.components import ViewerModel


class CompareWidget(RunDock):
    """Runs the ticked models one after the other on the chosen image."""

    form: CompareForm
    _run: Comparison | None

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(CompareForm(napari_viewer), "Run", parent)
        self._viewer = napari_viewer
        self.table = CompareTable()
        self._csv = CsvButtons(self._file, self)
        self.copy, self.save = self._csv.copy, self._csv.save
        self.grid = QPushButton("Side by side")
        self.grid.setCheckable(True)
        self.grid.setToolTip("The reference and the mean of each model next to each other; again: as it was before.")
        self._results = self._below()
        self._grid = SideBySide(napari_viewer)
        self._build(self._results)
        self.grid.toggled.connect(self._on_grid)
        napari_viewer.layers.events.removed.connect(self._on_removed)
        self._on_choice()

    def _below(self) -> QWidget:
        """What is there once something has run."""
        buttons = QHBoxLayout()
        for button in (self.grid, self.copy, self.save):
            buttons.addWidget(button)
        results = QWidget()
        column = QVBoxLayout(results)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(buttons)
        results.hide()
        return results

    @property
    def comparison(self) -> Comparison | None:
        """What runs or ran last."""
        return self._run

    def _new_run(self) -> Comparison:
        return Comparison(self._viewer, self.form)

    def _on_begin(self, run: Comparison) -> None:
        self.grid.setChecked(False)
        self._show_table()

    def _on_yield(self, event: Event) -> None:
        if self._run is None:
            return
        if self._state is DockState.LOADING and isinstance(event, SliceDone):
            self._set_state(DockState.RUNNING)
        self._run.add(event)
        if not isinstance(event, SliceDone):
            self._show_table()

    def _redraw(self) -> None:
        comparison = self._run
        if comparison is None:
            return
        if comparison.redraw() and self.grid.isChecked():
            self._grid.show(comparison.pictures, comparison.windows)
        if self._state.busy:
            self._say("\n".join(line for line in comparison.notices if not passing(line)))
        self._show_table()

    def _on_choice(self) -> None:
        """Of another image or target, nothing has been compared; what was comes back with its own."""
        super()._on_choice()
        if self._run is None or self._state.busy:
            return
        known = bool(self._run.succeeded) and self._run.about(self.form.layer, self.form.pair)
        self._results.setVisible(known)
        if not known:
            self.grid.setChecked(False)

    def _show_table(self) -> None:
        if self._run is not None:
            self._results.show()
            self.table.show_rows(self._run.rows, self._run.measured)

    def _on_closed(self) -> None:
        self._show_table()
        self.progress.reset()
        if self._state is DockState.FAILED:
            self._results.hide()

    def _outcome(self) -> DockState:
        outcome = super()._outcome()
        succeeded = self._run is not None and self._run.succeeded
        return DockState.FAILED if outcome is DockState.DONE and not succeeded else outcome

    def _end(self) -> None:
        super()._end()
        self.grid.setChecked(False)

    def _on_removed(self, event: Any) -> None:
        if isalive(self) and self._state.busy and self._run is not None:
            self._run.on_removed(event.value)

    def _on_grid(self, on: bool) -> None:
        if on and self._run is not None:
            self._grid.show(self._run.pictures, self._run.windows)
        else:
            self._grid.leave()

    def _file(self) -> tuple[str, str] | None:
        return None if self._run is None else (f"{self._run.stem}_comparison.csv", self._run.csv())
