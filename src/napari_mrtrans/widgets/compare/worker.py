"""The background run of a comparison: the reference first, then one model after the other in one generator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from napari.qt.threading import thread_worker
from numpy.typing import NDArray

from ...errors import MrtransError
from ..lesion.roi import image_to_image
from ..source import LayerSource, check_layer
from ..transform import worker
from ..transform.worker import Monitor, TransformWorker, Work, guarded, plain_error

if TYPE_CHECKING:
    from napari.layers import Image

    from ...scan.contrasts import Contrast
    from ...transformation.streaming import SliceUpdate


@dataclass(frozen=True, eq=False)
class ReferenceRequest:
    """An acquired image, and the 4x4 from voxel index of what is transformed to its own."""

    source: LayerSource
    to_reference: NDArray[np.float64]

    @classmethod
    def of(cls, reference: Image, contrast: Contrast, beside: Image) -> ReferenceRequest:
        """An acquired image of ``contrast``, for what lies where ``beside`` lies.

        Raises:
            MrtransError: it is not one 3-D scalar image.
        """
        check_layer(reference)
        return cls(LayerSource.of(reference, contrast), image_to_image(beside, reference))


@dataclass(frozen=True, eq=False)
class ComparisonRequest:
    """The models to run, all on one volume; ``reference``: what their means are compared with."""

    runs: tuple[Work, ...]
    reference: ReferenceRequest | None


@dataclass(frozen=True, eq=False)
class ReferenceReady:
    """The acquired image on the volume's grid, normalised, NaN where it has no voxels; ``white``: what 1 was before."""

    image: NDArray[np.float32]
    white: float


@dataclass(frozen=True, eq=False)
class SliceDone:
    """A finished slice of model number ``model``."""

    model: int
    update: SliceUpdate


@dataclass(frozen=True, eq=False)
class ModelEnded:
    """No more slices of model number ``model`` will come; ``error``: why, where it was an error."""

    model: int
    seconds: float
    ssim: float | None
    psnr: float | None
    error: str


Event = ReferenceReady | SliceDone | ModelEnded


def _run(request: ComparisonRequest, monitor: Monitor) -> Iterator[Event]:
    truth: _Truth | None = None
    failure: MrtransError | None = None
    try:
        truth = _prepared(request, monitor)
    except Exception as error:
        failure = plain_error(error, request.runs[0].request, None)
    if failure is not None:
        raise failure
    if truth is not None:
        yield ReferenceReady(truth.image, truth.white)
    for number, one in enumerate(request.runs):
        if monitor.cancel.is_set():
            return
        monitor.step = None
        yield from _one_model(number, one, monitor, truth)


#: ``compare_worker(request, monitor)`` makes a worker that yields an :data:`Event` at a time.
compare_worker = thread_worker(_run, worker_class=TransformWorker, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Truth:
    """What means are compared with, where, across which axis the slices lie, and what is white in it."""

    image: NDArray[np.float32]
    head: NDArray[np.bool_]
    axis: int
    white: float


def _prepared(request: ComparisonRequest, monitor: Monitor) -> _Truth | None:
    """Whatever all models share is done once, ahead of their clocks: the brain of a whole head, and the reference."""
    from ...prepare.whole_head import fit_for_models

    first, wanted = request.runs[0], request.reference
    monitor.stage = "Preparing the images…"
    asked = first.request
    prepared = fit_for_models(first.source.volume(), asked.mask, asked.prepare, monitor.notify)
    if wanted is None:
        return None
    from ...scan.intensity import white_level
    from ...transformation.acquired import acquired_on

    reference, source = wanted.source.volume(), first.source.volume()
    acquired = acquired_on(reference, source, asked, wanted.to_reference, monitor.notify)
    own = fit_for_models(reference, None, asked.prepare, lambda line: None)
    white = white_level(own.data, own.head & (own.data > 0) if own.known else own.head, asked.target)
    return _Truth(acquired.image, acquired.head, prepared.volume.axial_axis, white)


def _one_model(number: int, work: Work, monitor: Monitor, truth: _Truth | None) -> Iterator[Event]:
    means: dict[int, NDArray[np.float32]] = {}
    began: list[float] = []
    error = ""

    def start() -> Iterable[SliceUpdate]:
        work.begin()
        updates = worker.stream(work, monitor)  # imports torch, which is not this model's time
        began.append(monotonic())
        return updates

    try:
        for update in guarded(start, work.request):
            means[update.index] = update.mean
            yield SliceDone(number, update)
    except MrtransError as caught:
        error = str(caught)
    seconds = monotonic() - began[0] if began else 0.0
    yield ModelEnded(number, seconds, *_agreement(means, truth), error)


def _agreement(means: dict[int, NDArray[np.float32]], truth: _Truth | None) -> tuple[float | None, float | None]:
    if truth is None or not means:
        return None, None
    from ...metrics.comparison import agreement

    prediction = np.zeros(truth.image.shape, np.float32)
    for index, mean in means.items():
        np.moveaxis(prediction, truth.axis, 0)[index] = mean
    found = agreement(prediction, truth.image, truth.head, truth.axis, list(means))
    return found.ssim, found.psnr
