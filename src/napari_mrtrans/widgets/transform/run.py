"""One press of Transform: what was asked, where it goes, and how far it is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ...errors import MrtransError
from ...paths import LONGEST_NAME
from ...scan.masked import unmasked
from ...scan.volume import Volume
from ...transformation.engine import MAX_HELD
from ...transformation.gathered import Gathered
from ...transformation.names import KINDS, file_name
from ...transformation.request import Request
from ...wording import plural
from ..choices import short_name
from ..dicom_reader import told_path
from ..file_grid import FileGrid
from ..layer_kinds import KeepSamples, LayerKinds
from ..layers import ResultLayers
from ..lesion.latest import ended
from ..pace import remember
from ..reopened import made_of, remember_source
from ..source import LayerSource, axial_axis, check_layer, is_acquired, layer_affine, layer_stem, slice_on_screen
from ..tally import SigmaTally
from .progress import Countdown, ProgressLine
from .worker import Monitor, TransformWorker, Work, nothing, transform_worker

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...checkpoints.checkpoint import Checkpoint
    from ...transformation.acquired import Acquired
    from ...transformation.ensemble import Ensemble
    from ...transformation.streaming import SliceUpdate
    from ..compare.worker import ReferenceRequest


@dataclass(frozen=True, eq=False)
class RunSettings:
    """What a form says besides image and checkpoint.

    ``this_slice``: only the slice on screen.
    """

    request: Request
    this_slice: bool = False
    keep_samples: KeepSamples = KeepSamples.NONE
    calibrated: bool = True


class Run:
    """Built in the GUI thread from a form as it stands; later changes of the form do not touch it.

    Args:
        viewer: Where the layers go.
        settings: The numbers of the run.
        layer: The source.
        checkpoint: The model.
        monitor: Shared with the worker.
        name: Of the model in the layers' names; without it, as lists of models call it.

    Raises:
        MrtransError: the layer is not one 3-D scalar image, its name is too long for files, or more samples are to be
            kept than the engine holds.
    """

    layers_type: type[ResultLayers] = ResultLayers
    #: Slices are gathered for the files of the result, also of a run whose layers were deleted.
    can_be_saved = True
    #: The input is at hand, to be shown in a report.
    source_found = True

    def __init__(
        self,
        viewer: ViewerModel,
        settings: RunSettings,
        layer: Image,
        checkpoint: Checkpoint,
        *,
        monitor: Monitor | None = None,
        name: str = "",
    ) -> None:
        check_layer(layer)
        if self.can_be_saved:
            _check_name(layer, settings.request.pair.target.value)
        asked = settings.request
        self._viewer = viewer
        self.pair = pair = asked.pair
        self.n = 1 if checkpoint.deterministic else asked.n or checkpoint.card.sampler.n
        if settings.keep_samples is not KeepSamples.NONE and self.n > MAX_HELD:
            raise MrtransError(f"At most {MAX_HELD} samples can be kept. Lower Samples, or set Keep samples to No.")
        affine = layer_affine(layer)
        self.axis = axial_axis(affine)
        self.n_slices = int(layer.data.shape[self.axis])
        self.deterministic = checkpoint.deterministic
        self.label = name or short_name(checkpoint.card.model, checkpoint.name, pair)
        self.label += "" if self.deterministic else f", n={self.n}"
        self.label += ", three planes" if asked.three_planes else ""
        self.monitor = monitor or Monitor()
        self.countdown = Countdown()
        self.notices: list[str] = []
        self.source = layer
        self.tally = SigmaTally(self.n_slices)
        self._id = uuid4().hex
        remember_source(self._id, layer)
        self.path = Path(layer.source.path) if layer.source.path else None
        self._told = told_path(layer)
        self._grid = FileGrid.of(layer.data.shape, affine, layer.metadata)
        self._compared: tuple[Any, NDArray[np.float64], Acquired] | None = None
        self._began, self.seconds, self.saved = perf_counter(), 0.0, False
        on_screen = slice_on_screen(viewer, layer, self.axis)
        self.work = Work(
            LayerSource.of(layer, pair.source),
            checkpoint,
            replace(
                asked,
                n=self.n,
                start_slice=on_screen,
                slices=(on_screen, on_screen + 1) if settings.this_slice else asked.slices,
            ),
            self._make_ready,
        )
        self.layers = self.layers_type(
            viewer,
            layer,
            axis=self.axis,
            kinds=LayerKinds(self.n, settings.keep_samples, self.deterministic, settings.calibrated),
            stem=f"{layer_stem(layer)}_{pair.target.value}",
            label=self.label,
            record=self._record,
        )
        self.gathered = Gathered(layer.data.shape, self.axis)
        calibration = checkpoint.calibration
        self.ood = calibration.ood if calibration else None
        corrected = pair.key in checkpoint.spread and settings.calibrated and self.n > 1
        self.std_kind = "calibrated" if corrected else "population"

    @property
    def title(self) -> str:
        """``sub-01_T1w → T2 (flow, n=20)``."""
        return f"{self.work.source.name} → {self.pair.target} ({self.label})"

    def about(self, layer: Image | None) -> bool:
        """It is what was made of ``layer``, or what made it; where its source is gone, of that file opened again."""
        if layer is None or layer is self.source or layer in self.layers.made:
            return layer is not None
        record = {"run": self._id, "input": self.work.source.name}
        return is_acquired(layer) and made_of(record, layer, layer_stem(layer), self._viewer.layers)

    @property
    def anchor(self) -> Image:
        """A layer that lies where the result lies, still there when the source is gone."""
        return self.layers.mean or self.source

    def worker(self) -> TransformWorker:
        """What computes it, not yet started."""
        return transform_worker(self.work, self.monitor)

    def _make_ready(self) -> None:
        """In the worker's thread: take memory, and look at files."""
        self.layers.reserve()
        if self.can_be_saved:
            self.gathered.begin(self.work.checkpoint, self.work.request)

    def add(self, update: SliceUpdate) -> None:
        """Take in one finished slice."""
        self.countdown.advance(update.done, update.total)
        if self.can_be_saved:
            self.gathered.add(update)
        self.layers.add(update)
        self.tally.add(update.index, update.sigma_hat, update.voxels, update.signs)

    def show_progress(self, progress: ProgressLine) -> None:
        """Tell how far it is."""
        step = self.monitor.step
        if step is not None:
            self.countdown.start()
        if self.countdown.done:
            progress.show_count(self.countdown.done, self.countdown.total, self.countdown.text())
        elif step is not None:
            progress.show_waiting(f"first slice · step {step[0]}/{step[1]}")

    def close(self) -> None:
        """Nothing more will come."""
        self.work.begin = nothing  # what the worker holds outlives the run, whose layers it must not keep
        self.seconds = round(perf_counter() - self._began, 3)
        if self.complete:
            self.layers.fill_rest()
            self._remember_pace()
        ended(self.layers.mean)

    def _remember_pace(self) -> None:
        request = self.work.request
        if request.steps is None and request.sampler is None and not request.three_planes:
            remember(self.work.checkpoint.name, self.countdown.done * self.n, self.countdown.seconds)

    def finish_one(self) -> bool:
        """One more step of completing the layers, short enough for the window; False when all is done."""
        return self.layers.finish_one()

    @property
    def complete(self) -> bool:
        """Every slice with head has come."""
        countdown, request = self.countdown, self.work.request
        return request.slices is None and request.roi is None and 0 < countdown.total == countdown.done

    def ensemble(self) -> Ensemble:
        """What has come, on the grid of the file that the source came from; takes its time, not for the GUI thread.

        Raises:
            MrtransError: the source is no volume any more.
        """
        work = self.work
        voxels = self._grid.array(unmasked(work.source.data))
        name, affine, header = work.source.name, self._grid.affine, self._grid.header
        volume = Volume.from_file(voxels, affine, header, contrast=self.pair.source, name=name, path=self._told)
        turned = self.gathered.turned(self._grid.turn)
        ensemble = turned.ensemble(volume, work.checkpoint, work.request, self.seconds, self.notices)
        samples = self.layers.samples
        return ensemble if samples is None else replace(ensemble, samples=self._turned(samples))

    def value_at(self, voxel: tuple[int, ...]) -> float:
        """The mean there; NaN where nothing was computed."""
        mean = self.layers.mean
        return float("nan") if mean is None else float(mean.data[voxel])

    @property
    def upside_down(self) -> bool:
        """The axial axis of the source's file runs against that of its layer."""
        return bool(self._grid.turn[self.axis, 1] < 0)

    def in_file(self, data: NDArray[Any]) -> NDArray[Any]:
        """Voxels of the layer in the order of the source's file."""
        return self._grid.array(data)

    def compared(self, reference: ReferenceRequest) -> Acquired:
        """An acquired image on the layer's voxels; takes its time, not for the GUI thread.

        Raises:
            MrtransError: it does not overlap, or is not of the same head.
        """
        from ...transformation.acquired import acquired_on

        known, work, place = self._compared, self.work, reference.to_reference
        if known is None or known[0] is not reference.source.data or not np.array_equal(known[1], place):
            volume = acquired_on(reference.source.volume(), work.source.volume(), work.request, place)
            self._compared = known = (reference.source.data, place, volume)
        return known[2]

    def _turned(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.moveaxis(self._grid.array(np.moveaxis(samples, 0, -1)), -1, 0)

    def ending(self) -> str:
        """What is said once it has ended without an error."""
        count = plural(self.countdown.done, "slice")
        return f"Cancelled. {count} kept." if self.monitor.cancel.is_set() else f"Done: {count}."

    def _record(self) -> dict[str, Any]:
        checkpoint, request = self.work.checkpoint, self.work.request
        record = {
            "run": self._id,
            "input": self.work.source.name,
            "checkpoint": checkpoint.name,
            "sha256": checkpoint.sha256,
            "model": checkpoint.card.model,
            "source": self.pair.source.value,
            "target": self.pair.target.value,
            "seed": request.seed,
            "n": self.n,
            "units": checkpoint.card.units,
        }
        if not self.deterministic:
            record["std"] = self.std_kind
        if not checkpoint.single_pass:
            record["sampler"] = request.sampler or checkpoint.card.sampler.name
            record["steps"] = request.steps or checkpoint.card.sampler.steps
        return record


def _check_name(layer: Image, target: str) -> None:
    """See, before the work, that the files of a result can be called as its layer is."""
    longest = max(len(os.fsencode(file_name(layer_stem(layer), target, kind))) for kind in KINDS)
    if longest > LONGEST_NAME:
        raise MrtransError(
            f"The names of the results' files would have {longest} bytes, and {LONGEST_NAME} are possible; rename the "
            "layer."
        )
