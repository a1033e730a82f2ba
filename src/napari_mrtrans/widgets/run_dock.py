"""A dock with a form, a button, and the run that the button starts and stops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QWidget

from ..errors import MrtransError
from .compare.reference_combo import ReferenceCombo
from .opening import OpenRow, files_of, open_scans
from .pair_form import PairForm
from .source import is_acquired, is_mask
from .start_dock import REFRESH_MS, StartDock
from .state import DockState
from .transform.progress import ProgressLine
from .wording import passing

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from .transform.worker import Monitor, TransformWorker

#: Between layers that are added at the end: each holds up the window for a moment.
WIND_UP_MS = 15


class Startable(Protocol):
    """What a dock needs of a run.

    Attributes:
        monitor: Shared with the worker.
        notices: What was told on the way, a line each.
    """

    monitor: Monitor
    notices: list[str]

    @property
    def title(self) -> str:
        """What it makes of what."""

    def worker(self) -> TransformWorker:
        """What computes it, not yet started."""

    def show_progress(self, progress: ProgressLine) -> None:
        """Tell how far it is."""

    def close(self) -> None:
        """Nothing more will come."""

    def finish_one(self) -> bool:
        """One more step of completing the layers, short enough for the window; False when all is done."""

    def ending(self) -> str:
        """What is said once it has ended without an error."""


class RunDock(StartDock):
    """Starts a run of what its form says, and stops it; which run that is and what it shows is for the subclass.

    Args:
        form: What to run.
        start: What the button says while nothing runs.
        parent: The widget around it.

    Signals:
        state_changed: The new :class:`DockState`.
    """

    form: PairForm
    state_changed = Signal(object)
    _viewer: ViewerModel

    def __init__(self, form: PairForm, start: str, parent: QWidget | None = None) -> None:
        super().__init__(form, start, parent)
        self._state = DockState.NO_IMAGE
        self._unopened = ""
        self.opening = OpenRow()
        self.opening.chosen.connect(self.open_scans)
        self.opening.sample.connect(self._open_sample)
        self.setAcceptDrops(True)
        self._run: Startable | None = None
        self._worker: TransformWorker | None = None
        self._ending: Startable | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._tick)
        self._winding_up = QTimer(self)
        self._winding_up.setInterval(WIND_UP_MS)
        self._winding_up.timeout.connect(self._wind_up)

    def _build(self, *results: QWidget) -> None:
        """One column, ``results`` below what every dock has."""
        self._stack((self.form, self.button, self.progress, self.message, self.opening, *results), 340)

    def open_scans(self, paths: Iterable[Path]) -> None:
        """Add the layers of NIfTI files and DICOM, and choose the first scan among them.

        What cannot be opened is said, until something else was opened.
        """
        there = list(self._viewer.layers)
        problems = open_scans(self._viewer, paths)
        if not self._state.busy:
            self._choose_scan([layer for layer in self._viewer.layers if layer not in there])
        if problems:
            self._complain("\n".join(problems))
        if problems or self.message.text() == self._unopened:
            self._say("\n".join(filter(None, [*problems, "" if self._state.busy else self.form.problem])))
            self._unopened = self.message.text() if problems else ""

    def _choose_scan(self, opened: Sequence[Layer]) -> None:
        """Choose the first scan of what was opened here, unless one of that was taken as a reference of the chosen."""
        if any(combo.layer in opened for combo in self.findChildren(ReferenceCombo)):
            return
        image = self.form.image
        scans = [layer for layer in image.layers if layer in opened and is_acquired(layer) and not is_mask(layer)]
        if scans:
            image.choose(scans[0])

    def _open_sample(self) -> None:
        self._viewer.open_sample("napari-mrtrans", "icbm152")

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Files are taken."""
        if event is not None and files_of(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Open them."""
        if event is not None:
            event.acceptProposedAction()
            self.open_scans(files_of(event.mimeData()))

    def start(self) -> None:
        """Run what the form says."""
        if self._state.busy:
            return
        try:
            run = self._new_run()
        except MrtransError as error:
            self._fail(str(error))
            return
        self._on_start(run)
        self._begin(run)

    def _new_run(self) -> Startable:
        """A run of what the form says.

        Raises:
            MrtransError: the form has a problem, or what it says cannot be run.
        """
        raise NotImplementedError

    def _on_start(self, run: Any) -> None:
        """The user has started ``run``."""

    def _begin(self, run: Any) -> None:
        while self._ending is not None:
            self._wind_up()
        self._run = run
        self._on_begin(run)
        self._say("")
        self._worker = None
        self._set_state(DockState.LOADING)
        self.progress.show_waiting(run.monitor.stage)
        # While it is made, napari handles what waits, a second click among it: there is nothing to cancel yet.
        self._begin_activity(run.title, run.monitor.stop)
        self._worker = worker = run.worker()
        worker.yielded.connect(self._on_yield)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._timer.start()
        worker.start()

    def _on_begin(self, run: Any) -> None:
        """Another run is about to begin: show that it has nothing yet."""

    def cancel(self) -> None:
        """Stop at the next network evaluation; what is finished stays."""
        worker = self._worker
        if worker is None or not self._state.busy:
            return
        worker.quit()
        if not isalive(self):
            return
        if self._state is not DockState.LOADING:
            self._set_state(DockState.CANCELLING)
            return
        # Neither an import of torch nor a reference being prepared can be interrupted, and nobody should have to wait
        # for it: that worker ends by itself.
        self._let_go(worker)
        self._on_finished()

    def _let_go(self, worker: TransformWorker) -> None:
        worker.quit()
        worker.yielded.disconnect(self._on_yield)
        worker.errored.disconnect(self._on_error)
        worker.finished.disconnect(self._on_finished)

    def _end(self) -> None:
        self.cancel()
        super()._end()

    @property
    def _asked(self) -> object:
        return self.form.layer, self.form.pair, self.form.problem

    def _set_state(self, state: DockState) -> None:
        super()._set_state(state)
        self.opening.setVisible(state is DockState.NO_IMAGE)
        self.state_changed.emit(state)

    def _on_choice(self) -> None:
        if self._state.busy:
            return
        self._set_state(DockState.NO_IMAGE if self.form.layer is None else DockState.READY)
        self._say(self.form.problem)
        self.progress.reset()  # it was about the choice before

    def _on_yield(self, result: Any) -> None:
        """The worker sent something."""
        raise NotImplementedError

    def _tick(self) -> None:
        run = self._run
        if run is None:
            return
        self._redraw()
        if run.monitor.step is not None and self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
        if self._state is DockState.LOADING:
            self.progress.show_waiting(run.monitor.stage)
        run.show_progress(self.progress)
        if self._activity is not None:
            self._activity.show(*self.progress.count)

    def _redraw(self) -> None:
        """Show what came in since the last time."""
        raise NotImplementedError

    def _on_error(self, error: Exception) -> None:
        self._fail(str(error))

    def _on_finished(self) -> None:
        run, self._worker = self._run, None
        self._timer.stop()
        if run is None:
            return
        self._tick()
        run.close()
        self._ending = run
        self._wind_up()

    def _wind_up(self) -> None:
        """Complete the layers, one step each time the event loop comes round; then say how it ended."""
        run = self._ending
        if run is not None and run.finish_one():
            self._winding_up.start()
            return
        self._winding_up.stop()
        self._ending = None
        self._end_activity()
        if run is None or run is not self._run:
            return
        self._on_closed()
        failed = self._state is DockState.FAILED
        if not failed:
            self._set_state(self._outcome())
        self._catch_up()
        if failed:
            return
        lines = [run.ending(), *(line for line in run.notices if not passing(line)), self.form.problem]
        self._say("\n".join(filter(None, lines)))
        if run.title:
            self._announce(f"{run.title}: {run.ending()}")

    def _on_closed(self) -> None:
        """The run is complete, or has failed: show the last of it."""

    def _outcome(self) -> DockState:
        """How a run that did not fail has ended."""
        cancelled = self._run is not None and self._run.monitor.cancel.is_set()
        return DockState.CANCELLED if cancelled else DockState.DONE
