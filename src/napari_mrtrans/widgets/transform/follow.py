"""Following the slider: a run that computes what is on screen for as long as it is not stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from ...follow.scheduling import Stage
from ...follow.slice_cache import SliceCache
from ...wording import plural
from ..layer_kinds import KeepSamples
from ..source import axis_in_view, slice_on_screen, slider_number
from .follow_layers import FollowLayers
from .follow_worker import FollowMonitor, follow_worker
from .run import Run, RunSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...checkpoints.checkpoint import Checkpoint
    from ...transformation.streaming import SliceUpdate
    from .progress import ProgressLine
    from .worker import TransformWorker


_WORDS = {
    Stage.EMPTY: "no head here",
    Stage.WAITING: "computing…",
    Stage.PREVIEWED: "preview, refining…",
    Stage.FINISHED: "finished",
}


class FollowRun(Run):
    """One model on one layer, slice by slice as the user scrolls.

    Args:
        viewer: Whose sliders are followed.
        settings: The numbers of the run.
        layer: The source.
        checkpoint: The model.
        cache: Slices computed before, which outlives the run.
        previous: Another run whose layers, if they are of the same source, this one's take the place of.

    Raises:
        MrtransError: the layer is not one 3-D scalar image.
    """

    layers_type = FollowLayers
    layers: FollowLayers
    monitor: FollowMonitor

    def __init__(
        self,
        viewer: ViewerModel,
        settings: RunSettings,
        layer: Image,
        checkpoint: Checkpoint,
        cache: SliceCache,
        previous: FollowRun | None = None,
    ) -> None:
        axial = replace(settings.request, three_planes=False)
        super().__init__(
            viewer, replace(settings, request=axial), layer, checkpoint, monitor=FollowMonitor(cache=cache)
        )
        if settings.keep_samples is not KeepSamples.NONE:
            self.notices.append("Samples are not kept while the slider is followed.")
        if settings.request.three_planes:
            self.notices.append("While the slider is followed, axial slices are seen alone, without the other planes.")
        if previous is not None and previous.source is layer:
            self.layers.take_over(previous.layers)
        self._events = (viewer.dims.events.point, viewer.dims.events.order, viewer.dims.events.ndisplay)
        self._index = 0
        self._all_in_view = False

    @property
    def lost(self) -> bool:
        """The source or its result was deleted."""
        return self.source not in self._viewer.layers or self.layers.lost

    def repeats(self, other: FollowRun) -> bool:
        """It would give the same slices as another run on the same layer."""
        mine, theirs = (
            (run.work.checkpoint, replace(run.work.request, start_slice=None).to_json(), run.std_kind, run.axis)
            for run in (self, other)
        )
        return self.source is other.source and mine == theirs

    def worker(self) -> TransformWorker:
        """What computes it, not yet started; the viewer's sliders are followed from now on."""
        for event in self._events:
            event.connect(self._look)
        self._look()
        return follow_worker(self.work, self.monitor)

    def close(self) -> None:
        """Let go of the sliders and leave finished slices only."""
        for event in self._events:
            event.disconnect(self._look)
        self.gathered.expect(self.monitor.scheduler.offered)
        super().close()

    def _remember_pace(self) -> None:
        """Slices that were remembered took no time, and those waited for took the user's."""

    def add(self, update: SliceUpdate) -> None:
        """Take in a preview or a finished slice."""
        shown = self._all_in_view or update.index == self._index
        self.countdown.advance(update.done, update.total or self.countdown.total or self.monitor.scheduler.offered)
        if update.preview:
            self.layers.add_preview(update, shown=shown)
        else:
            self.gathered.add(update)
            self.layers.add(update, shown=shown)
            self.tally.add(update.index, update.sigma_hat, update.voxels, update.signs)
        if shown and not self._all_in_view:
            self.layers.refresh()

    def show_progress(self, progress: ProgressLine) -> None:
        """Tell how far the slice on screen is, or all of them where no slider moves through them."""
        done, total = self.countdown.done, self.countdown.total or self.monitor.scheduler.offered
        stage = self.monitor.scheduler.stage(self._index)
        if stage is Stage.UNKNOWN:
            return
        if self._all_in_view:
            text = f"all slices are in view · {done}/{total} finished"
        else:
            number = slider_number(self._viewer, self.anchor, self.axis, self._index)
            text = f"slice {number} · {_WORDS[stage]}"
        progress.show_count(done, total, text)

    def ending(self) -> str:
        """What is said once it has ended without an error."""
        why = "Stopped following: a layer was removed." if self.lost else "Stopped following."
        return f"{why} {plural(self.countdown.done, 'slice')} kept."

    def _look(self, event: Any = None) -> None:
        """Tell the scheduler what is on screen now."""
        self._index = slice_on_screen(self._viewer, self.anchor, self.axis)
        self._all_in_view = axis_in_view(self._viewer, self.anchor, self.axis)
        self.monitor.scheduler.look_at(self._index, everything=self._all_in_view)
