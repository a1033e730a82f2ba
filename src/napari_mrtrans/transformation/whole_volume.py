"""A whole volume through a checkpoint: all its slices gathered into an :class:`Ensemble`, and what they say of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import load_checkpoint
from ..devices import made_on
from ..errors import MrtransError, PartOnly
from ..ood.score import FEWEST
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume, check_volume
from .engine import MAX_HELD
from .ensemble import Ensemble
from .gathered import Gathered, otherwise_made
from .job import Job, evenly_spread, make_job, open_job
from .request import Asked, Request, mask_digest
from .slice_signs import can_be_judged
from .streaming import Hooks, SliceStore, SliceUpdate, run_job


def transform(
    volume: Volume,
    checkpoint: Checkpoint | str | Path,
    *,
    keep_samples: bool = False,
    progress: Callable[[SliceUpdate], None] | None = None,
    status: Callable[[str], None] | None = None,
    **asked: Unpack[Asked],
) -> Ensemble:
    """Transform a whole volume (or a range of slices).

    Args:
        volume: The input.
        checkpoint: Serves the pair; also by name or file (:func:`~napari_mrtrans.load_checkpoint`).
        keep_samples: Keep all samples (n times the memory of the volume).
        progress: Told every finished slice.
        status: Told one-line notices for the user.
        **asked: ``target``, and whatever else of :class:`~napari_mrtrans.transformation.request.Request` is wanted.

    Raises:
        MrtransError: the request cannot be served.
        SliceError: some slices failed; its ``result`` is the Ensemble of the others.
        OutOfMemory: at some slice; its ``result`` is the Ensemble of those before, None at the first.
    """
    check_volume(volume)
    request = Request(**asked)  # type: ignore[arg-type]
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(checkpoint)
    return transform_request(volume, checkpoint, request, keep_samples=keep_samples, progress=progress, status=status)


def transform_request(
    volume: Volume,
    checkpoint: Checkpoint,
    request: Request,
    *,
    keep_samples: bool = False,
    progress: Callable[[SliceUpdate], None] | None = None,
    status: Callable[[str], None] | None = None,
    store: SliceStore | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Ensemble:
    """The same of a request that is made already.

    ``store`` has slices of an earlier run and takes new ones; ``cancelled`` is asked between network evaluations, and
    where it says so, the Ensemble is of the slices that were finished.
    """
    began = time.perf_counter()
    notices: list[str] = []

    def note(line: str) -> None:
        notices.append(line)
        if status is not None:
            status(line)

    check_kept(request.resolved(checkpoint, volume), keep_samples)
    job = open_job(volume, checkpoint, request, note)
    gathered = _empty(job, keep_samples)
    if store is not None:
        store.keep_to(mask_digest(job.prepared.head), made_on(job.request.device))
    hooks = Hooks(status=note) if cancelled is None else Hooks(cancelled, status=note)
    failure: PartOnly | None = None
    try:
        for update in run_job(job, checkpoint, hooks, store):
            gathered.add(update)
            if progress is not None:
                progress(update)
    except PartOnly as error:
        failure = error
        notices.append(str(error))
    makers = store.makers if store is not None else []
    for maker in makers[1:]:
        then, here = otherwise_made(makers[0], maker)
        if then:
            note(f"Some slices were made on {then}, others on {here}: the last bits may differ.")
    seconds = round(time.perf_counter() - began, 3)
    result = gathered.ensemble(volume, checkpoint, job.request, seconds, list(dict.fromkeys(notices)))
    if makers:
        result.info["made_on"] = makers[0]
    if failure is not None:
        failure.result = result if result.info["slices"] else None
        raise failure
    return result


def check_kept(request: Request, keep_samples: bool) -> None:
    """See that the samples of a resolved request can be kept, if they are to be.

    Raises:
        MrtransError: there are too many.
    """
    if keep_samples and request.n is not None and request.n > MAX_HELD:
        raise MrtransError(f"At most {MAX_HELD} samples can be kept; lower n or drop --save-samples.")


def _empty(job: Job, keep_samples: bool = False) -> Gathered:
    volume = job.prepared.volume
    samples = job.n if keep_samples else 0
    return Gathered(volume.data.shape, volume.axial_axis, median=job.n <= MAX_HELD, samples=samples)


def _to_judge(prepared: PreparedVolume, count: int) -> range:
    """Evenly spread slices. Of a slab, at whose ends none is judged, those between, if enough of them can be."""
    chosen, known = evenly_spread(prepared, count), can_be_judged(prepared.area, prepared.spacing[0])
    judged = sum(known[prepared.orientation.slice_index(i, len(known))] for i in chosen)
    return evenly_spread(prepared, count, known) if judged < FEWEST <= min(count, known.sum()) else chosen


def assess(volume: Volume, checkpoint: Checkpoint, request: Request, *, count: int = 5) -> dict[str, Any]:
    """How unlike the training scans a volume is, from ``count`` evenly spread axial slices.

    Returns:
        The part of :attr:`Ensemble.info` that tells it.

    Raises:
        MrtransError: the request cannot be served.
    """
    notices: list[str] = []
    prepared = open_job(volume, checkpoint, request, notices.append).prepared
    job = make_job(prepared, checkpoint, replace(request, slices=_to_judge(prepared, count)))
    gathered = _empty(job)
    for update in run_job(job, checkpoint, Hooks(status=notices.append)):
        gathered.add(update)
    info = gathered.ensemble(volume, checkpoint, job.request, 0.0).info
    names = ("input", "source", "target", "checkpoint", "sha256", "n", "seed", "slices_done", "sigma_hat")
    return {
        **{name: info[name] for name in (*names, "ood_probability", "verdict", "ood_reason", "ood_scores")},
        "notices": notices,
    }
