"""The dock: choose, press Transform, watch slices arrive with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from ...errors import MrtransError
from ...follow.slice_cache import SliceCache
from .. import shortcuts
from ..layers import ResultLayers
from ..run_dock import RunDock
from ..source import show_slice, slice_on_screen, slider_number, slider_numbers
from ..state import DockState
from ..wording import in_slider_numbers, passing
from .acquired import AcquiredPanel
from .beside_box import BesideBox
from .extent import SliceRange
from .files import FileButtons
from .follow import FollowRun
from .form import TransformForm
from .kept_runs import kept_runs
from .result_list import ResultList
from .run import Run
from .saved_run import SavedRun, saved_runs
from .sigma_card import SigmaCard
from .uncertainty import UncertaintyPanel

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...transformation.streaming import SliceUpdate
    from .saved_run import Result

#: After the last edit of the form, what is followed changes.
SETTLE_MS = 300


class TransformWidget(RunDock):
    """Contrast transformation of the chosen image layer."""

    form: TransformForm
    _run: Run | None

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(TransformForm(napari_viewer), "Transform", parent)
        self._viewer = napari_viewer
        self.results = ResultList()
        self.files, self.acquired = FileButtons(napari_viewer), AcquiredPanel(napari_viewer)
        self.save, self.report = self.files.save, self.files.report
        self.compare = BesideBox(napari_viewer)
        self.uncertainty = UncertaintyPanel(napari_viewer)
        self.card = SigmaCard()
        self.card.hide()
        self._build(self.results, self.files, self.compare, self.card, self.acquired, self.uncertainty)
        self._slices = SliceCache()
        self._runs = kept_runs(napari_viewer)
        self._saved: list[SavedRun] = []
        self._shown: Result | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._refollow)
        self.form.edited.connect(self._settle.start)
        self.form.image.renamed.connect(self._on_inserted)
        self.results.chosen.connect(self._on_result_chosen)
        self.results.removed.connect(self._on_result_removed)
        self.files.told.connect(self._say)
        self.files.written.connect(self._say_written)
        self.files.failed.connect(self._complain)
        self.acquired.failed.connect(self._complain)
        self.acquired.chosen.connect(partial(setattr, self.report, "reference"))
        self.card.slice_clicked.connect(self._on_slice_clicked)
        for event in (napari_viewer.dims.events.point, napari_viewer.dims.events.range):
            event.connect(self._mark_slice)
        napari_viewer.layers.events.removed.connect(self._on_removed)
        napari_viewer.layers.events.inserted.connect(self._on_inserted, position="last")
        self._bind_keys()
        self._on_choice()

    def _bind_keys(self) -> None:
        actions: dict[str, Callable[[], object]] = {
            "start": self.button.click,
            "follow": self.toggle_following,
            "next_model": partial(self.form.step_model, 1),
            "previous_model": partial(self.form.step_model, -1),
            "flip": self.uncertainty.film.click,
        }
        shortcuts.bind(self, actions)
        self.button.setToolTip(f"{shortcuts.shown('start')}. Following the slider: {shortcuts.shown('follow')}")

    def _end(self) -> None:
        run = self._run if self._state.busy else None
        super()._end()
        self._runs = self._runs.left(run)
        self.compare.setChecked(False)
        self.uncertainty.end()

    @property
    def layers(self) -> ResultLayers | None:
        """The layers of the current or last run."""
        return None if self._run is None else self._run.layers

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

    def _on_start(self, run: Run) -> None:
        self.form.remember()

    def _on_begin(self, run: Run) -> None:
        self.files.offer(None)
        self._forget()
        self._runs.append(run)
        self._show_run(run)

    def _show_run(self, run: Result | None) -> None:
        self._shown = run
        self.card.show_run(run)
        self.uncertainty.show_run(run)
        self.compare.show_run(run)
        self.acquired.show_run(run)
        self._mark_slice()

    def _on_choice(self) -> None:
        if not self._state.busy:
            self._show_results()
        super()._on_choice()

    def _results(self) -> list[Result]:
        """What was made of the image that is chosen; where all are gone, what is shown can still be saved."""
        layer = self.form.layer
        self._saved = saved_runs(self._viewer, self._saved)
        runs: list[Result] = [*self._runs, *self._saved]
        mine = [run for run in runs if (run is self._shown if layer is None else run.about(layer))]
        return [run for run in mine if run.gathered.finished]

    def _forget(self) -> None:
        """Runs of which no layer is left need not be kept; the one shown can still be saved."""
        self._runs[:] = [run for run in self._runs if run is self._shown or any(run.layers.alive())]

    def _show_results(self, wanted: Result | None = None) -> None:
        """The result ``wanted`` of those of the chosen image, else the one shown, else the last; or nothing."""
        runs = self._results()
        run = next((run for run in (wanted, self._shown) if run in runs), runs[-1] if runs else None)
        self.results.show_runs(runs, run)
        if run is not self._shown:
            self._run = run if isinstance(run, Run) else None
            self._show_run(run)
        self.uncertainty.refresh()
        self.acquired.refresh()
        self.files.offer(run)

    def _on_result_chosen(self, wanted: Result) -> None:
        """Show it alone: chosen in turn, results can be compared by eye."""
        if self._state.busy:
            return
        self.uncertainty.show_plainly()  # before its layers come back
        self.compare.show_run(wanted)
        for run in self._results():
            shown = (run.layers.mean, run.layers.std if self.compare.isChecked() else None) if run is wanted else ()
            for layer in run.layers.alive():
                layer.visible = layer in shown
        if wanted.layers.mean in self._viewer.layers:
            self._viewer.layers.selection.active = wanted.layers.mean
        self._show_results(wanted)

    def _on_result_removed(self, run: Result) -> None:
        if self._state.busy:
            return
        if isinstance(run, Run) and run in self._runs:
            self._runs.remove(run)
        for layer in list(run.layers.alive()):
            self._viewer.layers.remove(layer)
        self._show_results()

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
            before.layers.finish()
            self._begin(run)

    def _on_removed(self, event: Any = None) -> None:
        if not isalive(self):
            return
        if self._following is not None and self._following.lost:
            self.cancel()
        if not self._state.busy:
            self._forget()
            self._show_results()

    def _on_inserted(self, event: Any = None) -> None:
        """It may be a part of a saved result, or the image of which one was made."""
        if isalive(self) and not self._state.busy:
            self._show_results()

    @property
    def _editable(self) -> bool:
        return super()._editable or self._following is not None

    @property
    def _button_text(self) -> str:
        return super()._button_text if self._following is None else "Stop following"

    def _set_state(self, state: DockState) -> None:
        self.results.setEnabled(not state.busy)
        super()._set_state(state)
        if not state.busy and self._worker is None and self._ending is None:
            self._forget()  # whose layers another has taken over
            self._show_results()  # not what ended before its first slice

    def _on_yield(self, update: SliceUpdate) -> None:
        run = self._run
        if run is None:
            return
        if self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
        run.add(update)
        begun = None if isinstance(run, FollowRun) else run.work.request.start_slice
        if update.done == 1 and update.index != begun == slice_on_screen(self._viewer, run.source, run.axis):
            # A slab or a ROI elsewhere: nobody would see that anything came.
            show_slice(self._viewer, run.source, run.axis, update.index)

    def _redraw(self) -> None:
        run = self._run
        if run is None:
            return
        run.notices += run.monitor.notices()
        if self._state.busy:
            self._say(next((line for line in reversed(run.notices) if not passing(line)), ""))
        if run.layers.add_next_layer() and self.compare.isChecked():
            # One more picture in the row: each has become smaller.
            self._viewer.reset_view()
        run.layers.refresh()
        self.card.redraw(run)

    def _on_error(self, error: Exception) -> None:
        """The engine counts slices along the array, the user along the slider."""
        run, line = self._run, str(error)
        if run is not None:
            line = in_slider_numbers(line, partial(slider_number, self._viewer, run.anchor, run.axis))
        self._fail(line)

    def _on_closed(self) -> None:
        self.results.show_runs(self._results(), self._run)
        self.uncertainty.refresh()
        self.acquired.refresh()
        if self._run is not None:
            self.progress.show_count(self._run.countdown.done, self._run.countdown.total, "")
        if self._state is DockState.FAILED:
            self._show_results()

    def _on_slice_clicked(self, index: int) -> None:
        if (run := self._shown) is not None:
            show_slice(self._viewer, run.anchor, run.axis, index)

    def _mark_slice(self, event: Any = None) -> None:
        if (run := self._shown) is not None and isalive(self):
            self.card.plot.set_numbers(*slider_numbers(self._viewer, run.anchor, run.axis))
            self.card.plot.set_current(slice_on_screen(self._viewer, run.anchor, run.axis))
