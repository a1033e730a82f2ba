"""The dock *Adapt to my scanner*: a form, a process that trains, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QMessageBox, QWidget

from ...asked.begun import Begun, drop
from ...checkpoints.checkpoint import read_checkpoint
from ...checkpoints.installing import install
from ...errors import MrtransError
from ...wording import clock
from ..background import in_background
from ..checkpoints.installed import installed
from ..start_dock import StartDock
from ..state import DockState
from ..wording import for_adapting
from .curve import ErrorCurve
from .form import AdaptForm
from .preview import PreviewRow
from .result import ResultPanel
from .run import AdaptRun, discard
from .scans import sessions_of, write_sessions
from .unfinished import UnfinishedRow
from .use import use

if TYPE_CHECKING:
    import napari

#: Steps of the bar.
WHOLE = 1000


class AdaptWidget(StartDock):
    """Adapts a model to the sessions of one scanner, in a process of its own."""

    form: AdaptForm
    _busy_texts: Mapping[DockState, str] = {
        DockState.LOADING: "Cancel",
        DockState.RUNNING: "Cancel and keep the best so far",
        DockState.CANCELLING: "Discard",
    }

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(AdaptForm(napari_viewer), "Adapt", parent)
        self._viewer = napari_viewer
        self.unfinished = UnfinishedRow()
        self.curve, self.preview = ErrorCurve(), PreviewRow()
        self.result = ResultPanel()
        self._run: AdaptRun | None = None
        above: tuple[QWidget, ...] = (self.unfinished, self.form, self.button, self.progress, self.message)
        self._show_training(False)
        self._stack((*above, self.result, self.preview, self.curve), 360)
        self.unfinished.resumed.connect(self.resume)
        self.unfinished.dropped.connect(self._on_drop)
        self.result.wanted.connect(self._on_use)
        self.result.discarded.connect(self._on_discard)
        self.unfinished.reload()
        self._on_choice()

    def start(self) -> None:
        """Adapt as the form says."""
        if self._state.busy:
            return
        self.form.reload()
        try:
            begun = self.form.begun()
        except MrtransError as error:
            self._fail(str(error))
            return
        sessions = sessions_of(self.form.pairs.pairs) if self.form.from_layers else []

        def write() -> Begun:
            """The images first: what is found later to go on with is complete."""
            write_sessions(sessions, begun.data)
            return begun.written()

        self._begin(begun, write)

    def resume(self, begun: Begun) -> None:
        """Go on with what was not finished."""
        if not self._state.busy:
            self._begin(begun, begun.written)

    def _begin(self, begun: Begun, write: Callable[[], Begun]) -> None:
        self.result.hide()
        self.curve.clear()
        self.preview.clear()
        self._show_training(False)
        self._say("")
        self._set_state(DockState.LOADING)
        self.progress.show_waiting("Starting, and reading scans…")
        self._run = run = AdaptRun(begun, write)
        run.told.connect(self._on_told)
        run.succeeded.connect(self._on_result)
        run.failed.connect(self._on_failed)
        run.dropped.connect(self._on_ended_early)
        self._begin_activity(f"Adapting {begun.name}", run.leave)
        run.start()

    def cancel(self) -> None:
        """Once: keep the best so far; where nothing was learned yet, and the second time, drop it."""
        if self._run is None:
            return
        if self._state is DockState.RUNNING:
            self._run.keep_best()
            self._set_state(DockState.CANCELLING)
            self._say("Ending with the best so far, which is judged first.")
        elif self._state.busy:
            self._run.drop(everything=self._state is DockState.CANCELLING)

    def _end(self) -> None:
        """The dock is gone: what runs saves what there is, and can be gone on with."""
        if self._run is not None:
            self._run.leave()
        super()._end()

    def _look_again(self) -> None:
        self.unfinished.reload()
        super()._look_again()

    @property
    def _asked(self) -> object:
        """What a run has made takes its name: that must not hide how it ended."""
        return self.form.problem if self._state is DockState.READY else None

    def _set_state(self, state: DockState) -> None:
        super()._set_state(state)
        self.unfinished.setEnabled(not state.busy)
        if state is DockState.CANCELLING:
            self.button.setEnabled(True)  # once more: nothing is kept

    def _on_button(self) -> None:
        asked = self._state is DockState.CANCELLING
        if asked and not self._sure("Discard what was trained so far?"):
            return
        if not asked or self._state is DockState.CANCELLING:  # or it has ended while the question stood
            super()._on_button()

    def _on_told(self, told: dict[str, Any]) -> None:
        if not isalive(self):
            return
        if "notice" in told:
            if self._state is DockState.LOADING:
                self.progress.show_waiting("Reading scans…")
                self._say(for_adapting(told["notice"]))
            return
        if self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
            self._say("")
            self._show_training(True)
        if "curve" in told:
            self.curve.show_curve(told["phase"], told["curve"])
        if "preview" in told:
            self.preview.show_preview(told["preview"])
        left = "" if self._state is DockState.CANCELLING else f" · {clock(told['seconds_left'])} left"
        self.progress.show_count(round(WHOLE * told["done"]), WHOLE, f"{told['phase']}{left}")
        if self._activity is not None:
            self._activity.show(*self.progress.count)

    def _show_training(self, shown: bool) -> None:
        self.curve.setVisible(shown)
        self.preview.setVisible(shown)

    def _close(self, state: DockState, line: str) -> bool:
        """The run has ended; False: so has the dock."""
        self._end_activity()
        self._run = None
        if not isalive(self):
            return False
        self.progress.reset()
        self._set_state(state)
        self._catch_up()
        self.unfinished.reload()
        self._say(line)
        return True

    def _on_ended_early(self, kept: bool) -> None:
        if self._close(DockState.CANCELLED, "Cancelled; nothing was installed." if kept else "Discarded."):
            self._show_training(False)

    def _on_failed(self, problem: str) -> None:
        if self._close(DockState.FAILED, ""):
            self._fail(for_adapting(problem))

    def _on_result(self, told: dict[str, Any]) -> None:
        if not self._close(DockState.DONE, ""):
            return
        self.result.show_result(told)
        installed.changed.emit()
        self._announce(f"{told['name']}: {'better' if told['better'] else 'not better'} than before")

    def _on_use(self) -> None:
        if self.result.told["installed"]:
            self._use()
        else:
            self.result.setEnabled(False)  # what is being installed cannot be discarded
            in_background(partial(install, self.result.told["path"]), self._on_installed)

    def _on_installed(self, made: Any, problem: str) -> None:
        if not isalive(self):
            return
        self.result.setEnabled(True)
        if problem:
            self._complain(for_adapting(problem))
            return
        self.result.show_installed(str(made.path))
        installed.changed.emit()
        self._use()

    def _use(self) -> None:
        try:
            self._say(use(self._viewer, self, read_checkpoint(self.result.told["path"])))
        except MrtransError as error:
            self._complain(str(error))

    def _on_discard(self) -> None:
        told = self.result.told
        if not self._sure(f"Delete '{told['name']}' and its page for good?"):
            return
        try:
            discard(told)
        except MrtransError as error:
            self._complain(str(error))
            return
        self.result.hide()
        self._show_training(False)
        installed.changed.emit()
        self._set_state(DockState.READY)
        self._say(f"'{told['name']}' was deleted.")

    def _on_drop(self, begun: Begun) -> None:
        if self._sure(f"Discard what was trained of '{begun.name}'?"):
            in_background(partial(drop, begun.folder), self._on_dropped)

    def _on_dropped(self, _: object, problem: str) -> None:
        self._reload()
        if problem and isalive(self):
            self._complain(for_adapting(problem))

    def _sure(self, question: str) -> bool:
        return QMessageBox.question(self, "Adapt to my scanner", question) == QMessageBox.StandardButton.Yes
