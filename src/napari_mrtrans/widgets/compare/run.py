"""One press of Run: the models, where each one's result goes, and the figures so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from ...errors import MrtransError
from ...metrics.comparison import ModelRow, table
from ...wording import plural
from ..lesion.roi import moved_by_hand, shown_elsewhere
from ..pace import remember
from ..placement import inherited
from ..source import RESULT_KEY, layer_stem, nifti_affine
from ..transform.progress import ProgressLine
from ..transform.run import Run
from ..transform.worker import Monitor, TransformWorker
from .layers import ComparedLayers
from .worker import ComparisonRequest, Event, ModelEnded, ReferenceReady, ReferenceRequest, SliceDone, compare_worker

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...scan.contrasts import Pair
    from .form import CompareForm


class _ModelRun(Run):
    """One of the models."""

    layers_type = ComparedLayers
    layers: ComparedLayers
    can_be_saved = False

    def _remember_pace(self) -> None:
        """The comparison does, by the worker's clock: slices come into the window later than they were computed."""


class Comparison:
    """Built in the GUI thread from the form as it stands; later changes of the form do not touch it.

    Attributes:
        rows: The figures of each model, in the order in which they run.
        notices: What was told on the way.

    Raises:
        MrtransError: the form has a problem, or the reference is not one 3-D scalar image.
    """

    def __init__(self, viewer: ViewerModel, form: CompareForm) -> None:
        layer, pair, reference = form.layer, form.pair, form.reference.layer
        if form.problem or layer is None or pair is None:
            raise MrtransError(form.problem)
        if reference is not None and reference is layer:
            raise MrtransError(f"'{layer.name}' is what is transformed; choose an acquired {pair.target} as reference.")
        self._viewer = viewer
        self._layer, self._reference = layer, reference
        self.monitor = Monitor()
        self.notices: list[str] = []
        if reference is not None and nifti_affine(layer) is not None and nifti_affine(reference) is not None:
            self.notices += moved_by_hand(layer, reference)
        settings = form.settings(pair)
        self._runs = [
            _ModelRun(viewer, settings, layer, checkpoint, monitor=self.monitor, name=name)
            for name, checkpoint in form.models.chosen
        ]
        for run in self._runs:
            run.layers.measured = reference is not None
        against = "" if reference is None else reference.name
        self.rows = [
            ModelRow(name, checkpoint.name, pair.key, run.n, settings.request.seed, reference=against)
            for (name, checkpoint), run in zip(form.models.chosen, self._runs, strict=True)
        ]
        self._white = float("nan")
        self._on_means: Image | None = None
        self._current = 0
        self._ended = 0
        self._request = ComparisonRequest(
            tuple(run.work for run in self._runs),
            None if reference is None else ReferenceRequest.of(reference, pair.target, layer),
        )

    @property
    def title(self) -> str:
        """``sub-01_T1w → T2 (6 models)``."""
        return f"{self._layer.name} → {self._runs[0].pair.target} ({plural(len(self._runs), 'model')})"

    @property
    def stem(self) -> str:
        """``sub-01_T1w_T2``, what a file of it begins with."""
        return f"{layer_stem(self._layer)}_{self._runs[0].pair.target}"

    def about(self, layer: Layer | None, pair: Pair | None) -> bool:
        """It is what came of this image and pair."""
        return layer is self._layer and pair == self._runs[0].pair

    @property
    def windows(self) -> dict[Layer, tuple[float, float]]:
        """Contrast limits of the reference that show it as the means are shown, once they are known."""
        known = self._reference is not None and self._on_means is None and np.isfinite(self._white)
        return {self._reference: (0.0, self._white)} if known and self._reference is not None else {}

    @property
    def measured(self) -> bool:
        """There is a reference."""
        return self._reference is not None

    @property
    def pictures(self) -> list[Layer]:
        """What is worth seeing side by side: the reference and each mean, those that are still there.

        Of a reference that the window shows elsewhere than it lies, what it is on the means' voxels.
        """
        shown = [self._on_means or self._reference, *(run.layers.mean for run in self._runs)]
        return [layer for layer in shown if layer is not None and layer in self._viewer.layers]

    @property
    def succeeded(self) -> int:
        """Models that ended, or were stopped, without an error."""
        return sum(bool(row.slices) and not row.error for row in self.rows)

    def worker(self) -> TransformWorker:
        """What computes it, not yet started."""
        return compare_worker(self._request, self.monitor)

    def add(self, event: Event) -> None:
        """Take in what the worker sent."""
        if isinstance(event, ReferenceReady):
            self._white = event.white
            for run in self._runs:
                run.layers.reference = event.image
            if self._reference is not None and shown_elsewhere(self._reference, self._layer):
                self._on_means = self._add_reference(event.image, self._reference)
            return
        self._current = event.model
        run, row = self._runs[event.model], self.rows[event.model]
        if isinstance(event, SliceDone):
            update = event.update
            run.add(update)
            row.slices = update.done
            row.sigma_hat = None if run.n == 1 else run.tally.overall
            return
        assert isinstance(event, ModelEnded)
        run.close()
        row.p_ood = run.tally.probability(run.n, run.pair, run.ood)
        row.seconds, row.ssim, row.psnr, row.error = event.seconds, event.ssim, event.psnr, event.error
        self._ended = event.model + 1
        remember(row.checkpoint, row.slices * row.n, event.seconds)

    def _add_reference(self, image: NDArray[np.float32], reference: Image) -> Image:
        """The reference on the voxels of the means, as a layer that lies where they lie; hidden until asked for."""
        placement = inherited(self._layer)
        placement["metadata"][RESULT_KEY] = {"kind": "reference"}
        shown = image.view()
        shown.flags.writeable = False
        stem = f"{layer_stem(self._layer)}_{self._runs[0].pair.target}_reference"
        name = f"{stem} ({layer_stem(reference)})"
        layer = Image(shown, rgb=False, name=name, contrast_limits=(0.0, 1.0), visible=False, **placement)
        layer.editable = False
        self._runs[0].layers.adopt("reference", layer)
        return layer

    def redraw(self) -> bool:
        """Show what came in since the last time; True where one more layer was added."""
        for text in self.monitor.notices():
            self.remark(text)
        added = any(run.layers.add_next_layer() for run in self._runs)
        for run in self._runs:
            run.layers.refresh()
        return added

    def remark(self, text: str) -> None:
        """Keep one line for the user; all models say the same of one volume."""
        if text not in self.notices:
            self.notices.append(text)

    def on_removed(self, layer: Layer) -> None:
        """Somebody deleted a layer while this runs."""
        if layer in (self._layer, self._reference):
            self.remark(f"'{layer.name}' was removed; the comparison goes on with what was read of it.")
        elif any(layer in run.layers.made for run in self._runs):
            self.remark(f"'{layer.name}' was removed; its figures stay.")

    def show_progress(self, progress: ProgressLine) -> None:
        """``flow · slice 3/40``."""
        current = min(max(self._current, self._ended), len(self._runs) - 1)
        countdown, name = self._runs[current].countdown, self.rows[current].model
        if countdown.total:
            done = sum(run.countdown.done for run in self._runs)
            text = f"{name} · slice {countdown.done}/{countdown.total}"
            progress.show_count(done, countdown.total * len(self._runs), text)
        elif self.monitor.step is not None:
            step, steps = self.monitor.step
            progress.show_waiting(f"{name} · first slice, step {step}/{steps}")

    def close(self) -> None:
        """Nothing more will come."""
        self.redraw()
        for run in self._runs[self._ended :]:
            run.close()

    def finish_one(self) -> bool:
        """One more step of completing the layers, short enough for the window; False when all is done."""
        return any(run.finish_one() for run in self._runs)

    def ending(self) -> str:
        """What is said once it has ended."""
        done = f"{self.succeeded} of {len(self.rows)} models"
        return f"Cancelled. {done} kept." if self.monitor.cancel.is_set() else f"Done: {done}."

    def csv(self) -> str:
        """The table as comma-separated values."""
        return table(self.rows)
