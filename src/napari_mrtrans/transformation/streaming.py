"""A volume and a checkpoint in, finished slices out, nearest to the one on screen first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.calibration import Calibration
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import load_checkpoint
from ..devices import memory_line
from ..errors import MrtransError, OutOfMemory, SliceError
from ..ood.score import std_bias
from ..ood.signs import UNKNOWN, Signs
from ..scan.masks import inside as inside_of
from ..scan.volume import Volume, check_volume
from .engine import MAX_HELD, Cancelled, Engine, Moments
from .ensemble import sigma_hat
from .job import Job, open_job, sampler_notice
from .request import Asked, Request
from .slice_signs import COARSE_MM, can_be_judged, slice_features
from .slice_update import Hooks, SliceStore, SliceUpdate
from .statistics import repair_outliers
from .three_planes import OtherPlanes

logger = logging.getLogger(__name__)

#: So many slices that fail before one succeeds are the fault of what they have in common.
GIVE_UP = 3
#: Network images at once when the user says "auto". A CPU gains nothing from several slices at once, so it takes one,
#: and the slice on screen is there sooner.
AUTO_BATCH = {"mps": 40, "cuda": 160}
CPU_BATCH = 32
#: Twice the share of the variance that both of an antithetic pair have in common, for they are not exactly opposite:
#: 0.10 (ncsn) to 0.16 (cgan).
SHARED = 0.13


def stream(
    volume: Volume,
    checkpoint: Checkpoint | str | Path,
    *,
    cancel: Callable[[], bool] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
    **asked: Unpack[Asked],
) -> Iterator[SliceUpdate]:
    """Transform slice by slice, outwards from ``start_slice``.

    The starting noise depends on ``seed``, the sample's number and where the slice lies, and changes slowly from slice
    to slice, so each sample is a coherent volume (:class:`~napari_mrtrans.models.noise.Noise`). Samples come in
    antithetic pairs, the noise of an odd one being the negative of the one before it: their mean needs fewer of them,
    and every second one is an independent draw; with ``antithetic=False`` all are. Same seed, machine and settings
    give the same bits; another batch size or slice order the same up to rounding.

    Args:
        volume: The input.
        checkpoint: Serves the pair; also by name or file (:func:`~napari_mrtrans.load_checkpoint`).
        cancel: Polled before every network call; when true, the generator ends.
        on_step: Told (done, total) network calls of the current batch.
        status: Told one-line notices for the user.
        **asked: ``target``, and whatever else of :class:`~napari_mrtrans.transformation.request.Request` is wanted.

    Yields:
        Finished slices.

    Raises:
        MrtransError: the request cannot be served; nothing has been computed then.
        OutOfMemory: memory ran out even at batch 1; slices yielded before are good.
        SliceError: after the last slice, that others failed.
    """
    check_volume(volume)
    hooks = Hooks(cancel, on_step, status or (lambda line: None))
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(checkpoint)
    yield from run(volume, checkpoint, Request(**asked), hooks)  # type: ignore[arg-type]


def run(volume: Volume, checkpoint: Checkpoint, request: Request, hooks: Hooks) -> Iterator[SliceUpdate]:
    """:func:`stream` of a request that is made already."""
    yield from run_job(open_job(volume, checkpoint, request, hooks.status), checkpoint, hooks)


def run_job(job: Job, checkpoint: Checkpoint, hooks: Hooks, store: SliceStore | None = None) -> Iterator[SliceUpdate]:
    """The slices of a job, in its order.

    Args:
        job: What to compute.
        checkpoint: With what.
        hooks: Of the run.
        store: Has slices of an earlier run, which are not computed again, and takes each new one.

    Raises:
        SliceError: after the last one, that some failed; the first error itself where it is not one slice's alone.
    """
    runner = SliceRunner(job, checkpoint, hooks)
    pending, kept = list(job.order), store.read() if store else {}
    done, total = 0, len(pending)
    failures: list[Exception] = []
    while pending:
        group = runner.group(pending)
        del pending[: len(group)]
        # A group is computed as a whole or not at all: in another one, rounding would be another.
        known = [kept.get(runner.array_index(index)) for index in group]
        updates: list[SliceUpdate] = [update for update in known if update is not None]
        if len(updates) < len(group):
            try:
                updates, failed, left = _computed(runner, group)
            except Cancelled:
                return
            pending[:0] = left
            failures += failed
            if failures and not done and not updates and (len(failures) >= GIVE_UP or not pending):
                raise failures[0]
            for update in updates if store else ():
                store.write(update)  # type: ignore[union-attr]
        for update in updates:
            done += 1
            yield replace(update, done=done, total=total)
    if failures:
        first = str(failures[0]) if isinstance(failures[0], MrtransError) else _plain(failures[0])
        raise SliceError(f"{len(failures)} of {total} slices failed, the others were kept. {first}")


def _computed(runner: SliceRunner, group: list[int]) -> tuple[list[SliceUpdate], list[Exception], list[int]]:
    """A group's slices, what went wrong, and those that memory was too short for at once.

    Where something went wrong, each slice is tried alone.
    """
    try:
        results = runner.compute(group)
        return [runner.update(index, result) for index, result in results], [], group[len(results) :]
    except (Cancelled, OutOfMemory):
        raise
    except Exception as error:
        logger.debug("Slices %s failed", group, exc_info=error)
        if len(group) == 1:
            return [], [error], []
    updates: list[SliceUpdate] = []
    failed: list[Exception] = []
    for index in group:
        one, errors, _ = _computed(runner, [index])
        updates += one
        failed += errors
    return updates, failed, []


def _plain(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


class SliceRunner:
    """A job on its device: the network is loaded once, and slices are computed in whatever order they are asked for.

    Args:
        job: What to compute.
        checkpoint: With what.
        hooks: Of the run.
        batch: Images for each network call where the request leaves it open; None = by device.

    Raises:
        MrtransError: no such sampler or device, or the checkpoint is damaged.
    """

    def __init__(self, job: Job, checkpoint: Checkpoint, hooks: Hooks, batch: int | None = None) -> None:
        from ..devices import resolve_device

        if told := sampler_notice(job.request, checkpoint):
            hooks.status(told)
        device, notice = resolve_device(job.request.device)
        if notice:
            hooks.status(notice)
        if job.request.repair and job.n > MAX_HELD:
            hooks.status(f"Outliers are not repaired: above {MAX_HELD} samples, no median is held.")
        correction = checkpoint.spread.get(job.request.pair.key) if job.n > 1 else None
        if correction is not None and correction.computed:
            hooks.status("Std is calibrated on PD computed from other contrasts; of an acquired PD it may hold less.")
        self._checkpoint, self._status = checkpoint, hooks.status
        others = None
        if job.request.three_planes:
            others = OtherPlanes(job, checkpoint, lambda side, other: SliceRunner(side, other, hooks), hooks.status)
        self._engine = Engine(job, checkpoint, device, hooks.cancel, hooks.on_step, others)
        self._size = job.request.batch_size or batch or AUTO_BATCH.get(device.type, min(job.n, CPU_BATCH))

    def with_job(self, job: Job) -> SliceRunner:
        """The same network on another job of the same volume, which may differ in samples, sampler and steps."""
        twin = copy(self)
        twin._engine = self._engine.with_job(job)
        return twin

    def group(self, pending: Sequence[int]) -> list[int]:
        """What :meth:`compute` takes next of ``pending``, memory permitting."""
        return self._engine.next_group(pending, self._size)

    def array_index(self, index: int) -> int:
        """Of a canonical one: along the volume's axial axis."""
        job = self._engine.job
        return job.orientation.slice_index(index, len(job.mask))

    def compute(self, pending: Sequence[int]) -> list[tuple[int, Moments | NDArray[np.float32]]]:
        """The first of ``pending`` (canonical indices), as many as fit one batch, each with its samples or moments.

        Raises:
            Cancelled: ``cancel`` said so.
            OutOfMemory: even at batch 1.
        """
        engine = self._engine
        while True:
            group = engine.next_group(pending, self._size)
            results, short = engine.transform(group, self._size)
            if not short:
                return list(zip(group, results, strict=True))
            if self._size == 1:
                number = engine.job.orientation.slice_index(group[0], len(engine.job.mask))
                raise OutOfMemory(memory_line(engine.device.type, f"at slice {number}. Finished slices were kept"))
            self._size = max(1, min(self._size, len(group) * engine.job.n) // 2)
            self._status(f"Out of memory; batch lowered to {self._size}.")

    def update(self, index: int, result: Moments | NDArray[np.float32]) -> SliceUpdate:
        """What :meth:`compute` gave for one slice, as statistics; how many are done is for the caller to say."""
        return _finish(self._engine, self._checkpoint, index, result)


def narrowed(n: int, antithetic: bool) -> float:
    """What the variance (divisor n) of ``n`` > 1 samples is of the true one, on average.

    In antithetic pairs it is nearly all of it, but for what both share, and one without a partner.
    """
    if not antithetic:
        return (n - 1) / n
    return 1 - SHARED / n - n % 2 / n**2


def _finish(engine: Engine, checkpoint: Checkpoint, index: int, result: Moments | NDArray[np.float32]) -> SliceUpdate:
    """Statistics of a slice, in the array's own orientation."""
    job = engine.job
    turn, inside = job.orientation.slice_to_array, job.mask[index]
    median = samples = None
    flagged = np.zeros_like(inside)
    if isinstance(result, Moments):
        mean = np.asarray(result.mean)
        std = robust = np.asarray(np.sqrt(result.square / result.count))
    else:
        mean = result.mean(axis=0, dtype=np.float64)
        std = robust = result.std(axis=0, dtype=np.float64)
        median, samples = turn(np.median(result, axis=0)), turn(result)
        if job.request.repair:
            mean, robust, flagged = repair_outliers(mean, std, result, inside)
    calibrated = None
    correction = checkpoint.spread.get(job.request.pair.key) if job.n > 1 else None
    if correction is not None:
        if correction.blur_mm:  # an outlier is its voxel's own affair
            usual = narrowed(max(checkpoint.card.sampler.n, 2), antithetic=True)
            spread = robust * (usual / narrowed(job.n, job.request.antithetic)) ** 0.5
        else:  # fitted to as many samples as are usual: that of fewer is smaller, unless it is averaged over voxels
            spread = std_bias(checkpoint.card.sampler.n) / std_bias(job.n, job.request.antithetic) * std
        calibrated = correction.image(spread, mean, job.images[index], inside, job.prepared.spacing[1:])
    number = job.orientation.slice_index(index, len(job.mask))
    update = SliceUpdate(
        index=number,
        mean=turn(mean.astype(np.float32)),
        std=turn(std.astype(np.float32)),
        median=median,
        samples=samples,
        sigma_hat=sigma_hat(robust, inside) if job.n > 1 else float("nan"),
        calibrated_std=None if calibrated is None else turn(calibrated),
        signs=_signs(engine, checkpoint.calibration, index),
        voxels=int(inside.sum()),
        done=0,
        total=0,
        repaired=int(flagged.sum()),
    )
    if not job.request.roi_only or job.request.roi is None:
        return update
    return update.within(np.take(inside_of(job.request.roi), number, axis=job.prepared.volume.axial_axis))


def _signs(engine: Engine, calibration: Calibration | None, index: int) -> Signs:
    """What speaks against a source slice."""
    job = engine.job
    ood, prepared, source = calibration.ood if calibration else None, job.prepared, job.request.pair.source
    spacing = prepared.spacing[0]
    if ood is None or not can_be_judged(prepared.area, spacing)[index]:
        return UNKNOWN
    features = slice_features(engine.source_slice, index, len(prepared.area), spacing, source)
    signs = ood.signs(features, source)[0]
    return signs._replace(kinds=()) if max(prepared.spacing[1:]) > COARSE_MM else signs
