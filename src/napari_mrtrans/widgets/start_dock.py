"""What docks that start something have: a form, a button that starts what it says and then cancels it, progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QPushButton, QWidget

from .activity import Activity
from .checkpoints.installed import installed
from .dock import Dock
from .layer_combo import LayerCombo
from .state import DockState
from .transform.progress import ProgressLine

#: Between redraws while something runs: smooth to the eye, and leaves the window free.
REFRESH_MS = 250


class StartDock(Dock):
    """Knows its state; what is started, and how it is shown, is for the subclass.

    Args:
        form: With a ``problem`` in a line, and a signal ``changed``.
        start: What the button says while nothing runs.
        parent: The widget around it.
    """

    #: What the button says while something runs.
    _busy_texts: Mapping[DockState, str] = {
        DockState.LOADING: "Cancel",
        DockState.RUNNING: "Cancel",
        DockState.CANCELLING: "Cancelling…",
    }

    def __init__(self, form: Any, start: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = DockState.READY
        self._start_text = start
        self._activity: Activity | None = None
        self._missed = False
        self._known: object = None
        self.form = form
        self.button = QPushButton(start)
        self.button.setMinimumHeight(32)
        self.progress = ProgressLine()
        self.button.clicked.connect(self._on_button)
        self.form.changed.connect(self._on_choice)
        installed.changed.connect(self._reload)

    @property
    def state(self) -> DockState:
        """What the dock is doing."""
        return self._state

    def start(self) -> None:
        """Do what the form says."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Stop it."""
        raise NotImplementedError

    def showEvent(self, event: QShowEvent | None) -> None:
        """Checkpoints may have been installed meanwhile."""
        super().showEvent(event)
        self._reload()

    def _reload(self) -> None:
        """Look again at what there is to choose from; that alone is no new choice: how the last run ended stays."""
        if not isalive(self) or self._later():
            return
        self.form.changed.disconnect(self._on_choice)
        try:
            self._look_again()
        finally:
            self.form.changed.connect(self._on_choice)
        if self._asked == self._known:
            self._set_state(self._state)
        else:
            self._on_choice()

    def _look_again(self) -> None:
        self.form.reload()

    @property
    def _asked(self) -> object:
        """Where this is not what it was when the state last changed, the user has to know."""
        return self.form.problem

    def _later(self) -> bool:
        """Whether something runs, of which the choice stays; :meth:`_catch_up` looks again once that has ended."""
        self._missed = self._missed or self._state.busy
        return self._state.busy

    def _catch_up(self) -> None:
        """Look again if checkpoints came or went while something ran, or one that has changed may be why it failed."""
        if (self._missed or self._state is DockState.FAILED) and not self._state.busy:
            self._missed = False
            self._reload()

    @property
    def _editable(self) -> bool:
        """The form may be changed."""
        return not self._state.busy

    @property
    def _button_text(self) -> str:
        return self._busy_texts.get(self._state, self._start_text)

    def _set_state(self, state: DockState) -> None:
        for combo in self.form.findChildren(LayerCombo):
            combo.keep = state.busy
            if not state.busy and combo is not getattr(self.form, "image", None):  # of which the form tells
                combo.let_go()
        self._state = state
        self._known = self._asked
        self.form.setEnabled(self._editable)
        self.button.setText(self._button_text)
        self.button.setEnabled(state is not DockState.CANCELLING and (state.busy or not self.form.problem))

    def _on_button(self) -> None:
        if self._state.busy:
            self.cancel()
        else:
            self.start()

    def _on_choice(self) -> None:
        if not self._state.busy:
            self._set_state(DockState.READY)
            self._say(self.form.problem)

    def _fail(self, line: str) -> None:
        self._set_state(DockState.FAILED)
        self._complain(line)

    def _begin_activity(self, title: str, stop: Callable[[], object]) -> None:
        """Show what runs in napari's activity dock, until it ends, or this dock does, which is to ``stop`` it."""
        self._end_activity()
        self._activity = activity = Activity(title)

        def end() -> None:
            stop()
            activity.close()

        self._at_end.stop = end

    def _end_activity(self) -> None:
        if self._activity is not None:
            self._activity.close()
        self._activity = None

    def _end(self) -> None:
        self._end_activity()

    def _announce(self, line: str) -> None:
        """Say how it ended to whoever does not see the dock."""
        if self.visibleRegion().isEmpty():  # hidden, or behind another tab
            show_info(line)
