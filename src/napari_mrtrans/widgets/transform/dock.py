"""The dock: choose, press Transform, watch slices arrive with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QVBoxLayout, QWidget

from ...errors import MrtransError
from ...follow.slice_cache import SliceCache
from .. import shortcuts
from ..checkpoints.installed import installed
from ..layers import ResultLayers
from ..source import show_slice, slice_on_screen
from ..state import DockState
from .follow import FollowRun
from .form import SliceRange, TransformForm
from .progress import ProgressLine
from .run import Run
from .save import SaveButton
from .sigma_card import SigmaCard
from .worker import TransformWorker

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...transformation.streaming import SliceUpdate

#: Redraws per second while slices arrive: smooth to the eye, and leaves the window free.
REFRESH_MS = 250
#: After the last edit of the form, what is followed changes.
SETTLE_MS = 300

_BUTTON = {
    DockState.LOADING: "Cancel",
    DockState.RUNNING: "Cancel",
    DockState.CANCELLING: "Cancelling…",
}


class TransformWidget(QWidget):
    """Contrast transformation of the chosen image layer.

    Signals:
        state_changed: The new :class:`DockState`.
    """

    state_changed = Signal(object)

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._state = DockState.NO_IMAGE
        self._run: Run | None = None
        self._worker: TransformWorker | None = None
        self.form = TransformForm(napari_viewer)
        self.button = QPushButton("Transform")
        self.progress = ProgressLine()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.save = SaveButton()
        self.compare = QCheckBox("Source, mean and std side by side")
        self.card = SigmaCard()
        self.card.hide()
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._tick)
        self._slices = SliceCache()
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._refollow)
        self.button.clicked.connect(self._on_button)
        self.form.changed.connect(self._on_choice)
        self.form.edited.connect(self._settle.start)
        self.compare.toggled.connect(self._on_compare)
        self.save.told.connect(self._say)
        self.save.failed.connect(self._on_not_saved)
        self.card.slice_clicked.connect(self._on_slice_clicked)
        napari_viewer.dims.events.point.connect(self._mark_slice)
        napari_viewer.layers.events.removed.connect(self._on_removed)
        installed.changed.connect(self._reload)
        self._bind_keys()
        self._on_choice()

    def _bind_keys(self) -> None:
        actions: dict[str, Callable[[], object]] = {
            "start": self.button.click,
            "follow": self.toggle_following,
            "next_model": partial(self.form.step_model, 1),
            "previous_model": partial(self.form.step_model, -1),
        }
        shortcuts.bind(self, actions)
        self.button.setToolTip(f"{shortcuts.shown('start')}. Following the slider: {shortcuts.shown('follow')}")

    def _build(self) -> None:
        note = QLabel("Research use only. Not for diagnosis.")
        note.setEnabled(False)
        column = QVBoxLayout(self)
        column.setSpacing(8)
        self.button.setMinimumHeight(32)
        for widget in (self.form, self.button, self.progress, self.message, self.save, self.compare, self.card):
            column.addWidget(widget)
        column.addStretch(1)
        column.addWidget(note)
        self.setMinimumWidth(340)

    @property
    def state(self) -> DockState:
        """What the dock is doing."""
        return self._state

    @property
    def layers(self) -> ResultLayers | None:
        """The layers of the current or last run."""
        return self._run.layers if self._run is not None else None

    def start(self) -> None:
        """Transform the chosen layer."""
        if self._state.busy:
            return
        try:
            run = self._new_run()
        except MrtransError as error:
            self._fail(str(error))
            return
        run.layers.show_std(self.compare.isChecked())
        self.form.remember()
        self._begin(run)

    def toggle_following(self) -> None:
        """Follow the slider, or stop doing so; while something else runs, nothing happens."""
        if self._following is not None:
            self.cancel()
        elif not self._state.busy:
            self.form.range.setCurrentText(SliceRange.FOLLOW.value)
            self.start()

    def _new_run(self) -> Run:
        """A run of what the form says, which goes on from the one that follows the slider now."""
        layer, pair, checkpoint = self.form.layer, self.form.pair, self.form.checkpoint
        if self.form.problem or layer is None or pair is None or checkpoint is None:
            raise MrtransError(self.form.problem)
        settings = self.form.settings(pair)
        if self.form.slice_range is not SliceRange.FOLLOW:
            return Run(self._viewer, settings, layer, checkpoint)
        return FollowRun(self._viewer, settings, layer, checkpoint, self._slices, self._following)

    def _begin(self, run: Run) -> None:
        self._run = run
        self.card.begin(run.n_slices)
        self.card.setVisible(run.n > 1 or run.ood is not None)
        self._mark_slice()
        self._say("")
        self._worker = worker = run.worker()
        worker.yielded.connect(self._on_update)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._set_state(DockState.LOADING)
        self.progress.show_waiting("Loading the model…")
        self._timer.start()
        worker.start()

    def cancel(self) -> None:
        """Stop at the next network evaluation; finished slices stay."""
        worker = self._worker
        if worker is None or not self._state.busy:
            return
        worker.quit()
        if self._state is not DockState.LOADING:
            self._set_state(DockState.CANCELLING)
            return
        # An import of torch cannot be interrupted, and nobody should have to wait for it: that worker ends by itself.
        self._let_go(worker)
        self._on_finished()

    def _let_go(self, worker: TransformWorker) -> None:
        worker.quit()
        worker.yielded.disconnect(self._on_update)
        worker.errored.disconnect(self._on_error)
        worker.finished.disconnect(self._on_finished)

    @property
    def _following(self) -> FollowRun | None:
        """The run that follows the slider now."""
        going_on = self._state in (DockState.LOADING, DockState.RUNNING)
        return self._run if going_on and isinstance(self._run, FollowRun) else None

    def _refollow(self) -> None:
        """The form was edited: while the slider is followed, go on with what it says now."""
        before, worker = self._following, self._worker
        if before is None or worker is None:
            return
        try:
            run = self._new_run()
        except MrtransError as error:
            before.notices.append(str(error))
            self.cancel()
            return
        if not isinstance(run, FollowRun):
            self.cancel()
        elif not run.repeats(before):
            self._let_go(worker)
            before.close()
            self._begin(run)

    def _on_removed(self, event: Any = None) -> None:
        if isalive(self) and self._following is not None and self._following.lost:
            self.cancel()

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
        following = self._following is not None
        self.form.setEnabled(not state.busy or following)
        self.button.setText("Stop following" if following else _BUTTON.get(state, "Transform"))
        self.button.setEnabled(state not in (DockState.NO_IMAGE, DockState.CANCELLING))
        self.save.offer(None if state.busy else self._run)
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

    def _on_update(self, update: SliceUpdate) -> None:
        run = self._run
        if run is None:
            return
        if self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
        run.add(update)
        if not update.preview:
            self.card.add(update.index, update.sigma_hat, update.voxels, update.novelty, update.artefact)

    def _tick(self) -> None:
        """Show what came in since the last time."""
        run = self._run
        if run is None:
            return
        run.notices += run.monitor.notices()
        if run.notices and self._state.busy:
            self._say(run.notices[-1])
        if run.layers.add_next_layer() and self.compare.isChecked():
            # One more picture in the row: each has become smaller.
            self._viewer.reset_view()
        run.layers.refresh()
        self.card.redraw(run.n, run.pair, run.ood)
        if run.monitor.step is not None and self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
        run.show_progress(self.progress)

    def _on_error(self, error: Exception) -> None:
        self._fail(str(error))

    def _on_not_saved(self, text: str) -> None:
        self._say(text)
        show_error(text)

    def _fail(self, text: str) -> None:
        self._set_state(DockState.FAILED)
        self._say(text)
        show_error(text)

    def _on_finished(self) -> None:
        run, self._worker = self._run, None
        self._timer.stop()
        if run is None:
            return
        self._tick()
        run.close()
        self.progress.show_count(run.countdown.done, run.countdown.total, "")
        if self._state is DockState.FAILED:
            return
        self._set_state(DockState.CANCELLED if run.monitor.cancel.is_set() else DockState.DONE)
        self._say("\n".join([run.ending(), *run.notices]))

    def _on_compare(self, side_by_side: bool) -> None:
        if self._run is not None:
            self._run.layers.show_std(side_by_side)
        self._viewer.canvas.grid.enabled = side_by_side
        self._viewer.reset_view()

    def _on_slice_clicked(self, index: int) -> None:
        run = self._run
        if run is not None:
            show_slice(self._viewer, run.anchor, run.axis, index)

    def _mark_slice(self, event: Any = None) -> None:
        run = self._run
        if run is not None and isalive(self):
            self.card.plot.set_current(slice_on_screen(self._viewer, run.anchor, run.axis))
