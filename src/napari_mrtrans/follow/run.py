"""Transformation of whatever slice a user looks at, for as long as they look: a preview first, then the full ensemble.

Volume, network and grid are prepared once. What to compute next is the :class:`~.scheduling.Scheduler`'s to say; what
was computed before, for these or other settings, the :class:`~.slice_cache.SliceCache` knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..checkpoints.checkpoint import Checkpoint
from ..prepare.whole_head import fit_for_models
from ..scan.contrasts import Contrast
from ..scan.volume import Volume
from ..transformation.engine import Cancelled
from ..transformation.job import Job, check_pair, check_request
from ..transformation.streaming import SliceRunner, SliceUpdate, check_batch
from .scheduling import Scheduler, Task
from .slice_cache import SliceCache

#: A preview is the mean of this many samples of one step, which is the model's conditional mean seen through so many
#: starting noises: within 0.02 of the mean of 20 samples on the built-in brain, where the std is 0.07.
PREVIEW_SAMPLES = 4
#: Network images at once on a CPU: a slice that is scrolled past is given up between two calls.
CPU_BATCH = 4


@dataclass(frozen=True, eq=False)
class FollowRequest:
    """What is wanted of every slice; the fields are arguments of :func:`napari_mrtrans.stream`."""

    volume: Volume
    checkpoint: Checkpoint
    target: Contrast
    source: Contrast | None = None
    n: int | None = None
    seed: int = 0
    steps: int | None = None
    sampler: str | None = None
    device: str = "auto"
    batch: int | str = "auto"
    prepare: bool | None = None

    def key(self) -> tuple[object, ...]:
        """Everything that a slice's result depends on besides its index (reads checkpoint and voxels)."""
        calibration = self.checkpoint.calibration
        return (
            self.checkpoint.sha256,
            "" if calibration is None else calibration.model_dump_json(),
            volume_digest(self.volume),
            self.source or self.volume.contrast,
            self.target,
            self.n,
            self.seed,
            self.steps,
            self.sampler,
            self.prepare,
        )


def volume_digest(volume: Volume) -> str:
    """Digest of voxels and grid, by which a volume is known again."""
    digest = hashlib.blake2b(repr(volume.data.shape).encode(), digest_size=16)
    digest.update(volume.affine.tobytes())
    digest.update(np.ascontiguousarray(volume.data).data)
    return digest.hexdigest()


def follow(
    request: FollowRequest,
    scheduler: Scheduler,
    cache: SliceCache,
    *,
    on_step: Callable[[int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> Iterator[SliceUpdate]:
    """Compute slices as ``scheduler`` asks for them, until it is closed.

    Args:
        request: What is wanted.
        scheduler: Told which slices there are, asked what comes next.
        cache: Its slices of the same request are yielded first; finished ones are put there.
        on_step: Told (done, total) network calls of the current batch.
        status: Told one-line notices for the user.

    Yields:
        Previews and finished slices. ``done`` counts the finished ones, those remembered included; ``total`` is 0 until
        the volume is prepared. Between two of them it waits, without a limit, for the user to move on.

    Raises:
        MrtransError: the request cannot be served.
        OutOfMemory: memory ran out even at batch 1; slices yielded before are good.
    """
    say = status or (lambda line: None)
    pair = check_pair(request.volume, request.checkpoint, request.source, request.target)
    batch = check_batch(request.batch)
    key = request.key()
    for update in cache.of(key):
        scheduler.finish(Task(update.index, preview=False))
        yield replace(update, done=scheduler.finished, total=0)
    volume, mask = fit_for_models(request.volume, None, request.prepare, say)
    job = check_request(
        volume, request.checkpoint, pair.target, pair.source, request.n, request.seed,
        steps=request.steps, sampler=request.sampler, mask=mask,
    )  # fmt: skip
    task: Task | None = None
    runners = _runners(job, request, batch, lambda: task is None or not scheduler.wanted(task), on_step, say)
    count = len(job.mask)
    scheduler.offer([job.orientation.slice_index(i, count) for i in job.order], previews=True in runners)
    while (task := scheduler.next()) is not None:
        runner = runners[task.preview]
        try:
            ((index, samples),) = runner.compute([job.orientation.slice_index(task.index, count)])
        except Cancelled:
            scheduler.drop(task)
            continue
        scheduler.finish(task)
        update = runner.update(index, samples, scheduler.finished, len(job.order))
        if not task.preview:
            cache.put(key, update)
        yield replace(update, preview=task.preview)


def _runners(
    job: Job,
    request: FollowRequest,
    batch: int | None,
    cancel: Callable[[], bool],
    on_step: Callable[[int, int], None] | None,
    say: Callable[[str], None],
) -> dict[bool, SliceRunner]:
    """Of finished slices under False, of previews under True where those are quicker."""
    from ..devices import resolve_device

    checkpoint = request.checkpoint
    if batch is None and resolve_device(request.device)[0].type == "cpu":
        batch = CPU_BATCH
    full = SliceRunner(job, checkpoint, request.device, batch, cancel, on_step, say)
    quick = replace(job, n=min(job.n, PREVIEW_SAMPLES), steps=1, sampler="dpm++2m", repair=False)
    evaluations = job.n * (1 if checkpoint.single_pass else job.steps)
    return {False: full, True: full.with_job(quick)} if evaluations > 2 * quick.n else {False: full}
