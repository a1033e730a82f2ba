"""Transformation of whatever slice a user looks at, for as long as they look: a preview first, then the full ensemble.

Volume, network and grid are prepared once. What to compute next is the :class:`~.scheduling.Scheduler`'s to say; what
was computed before, for these or other settings, the :class:`~.slice_cache.SliceCache` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.pool import members_of
from ..scan.volume import Volume
from ..transformation.engine import Cancelled
from ..transformation.job import Job, open_job
from ..transformation.request import Request
from ..transformation.streaming import Hooks, SliceRunner, SliceUpdate
from .scheduling import Scheduler, Task
from .slice_cache import SliceCache

#: A preview is the mean of this many samples of one step, which is the model's conditional mean seen through so many
#: starting noises: within 0.02 of the mean of 20 samples on the built-in brain, where the std is 0.07.
PREVIEW_SAMPLES = 4
#: Network images at once on a CPU: a slice that is scrolled past is given up between two calls.
CPU_BATCH = 4


@dataclass(frozen=True, eq=False)
class Followed:
    """What is looked at, and what is wanted of every slice of it."""

    volume: Volume
    checkpoint: Checkpoint
    request: Request

    def key(self) -> tuple[str, ...]:
        """Everything that a slice's result depends on besides its index (reads checkpoint and voxels)."""
        checkpoint = self.checkpoint
        asked = self.request.resolved(checkpoint, self.volume).result_key()
        return checkpoint.sha256, checkpoint.calibration_digest, self.volume.digest(), asked


def follow(
    followed: Followed,
    scheduler: Scheduler,
    cache: SliceCache,
    *,
    on_step: Callable[[int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> Iterator[SliceUpdate]:
    """Compute slices as ``scheduler`` asks for them, until it is closed.

    Args:
        followed: What is wanted.
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
    key = followed.key()
    for update in cache.of(key):
        scheduler.finish(Task(update.index, preview=False))
        yield replace(update, done=scheduler.finished, total=0)
    job = open_job(followed.volume, followed.checkpoint, followed.request, say)
    task: Task | None = None
    hooks = Hooks(lambda: task is None or not scheduler.wanted(task), on_step, say)
    runners = _runners(job, followed.checkpoint, hooks)
    count = len(job.mask)
    scheduler.offer([job.orientation.slice_index(i, count) for i in job.order], previews=True in runners)
    while (task := scheduler.next()) is not None:
        runner = runners[task.preview]
        try:
            ((index, samples),) = runner.compute([job.orientation.slice_index(task.index, count)])
        except Cancelled:  # scrolled past
            continue
        scheduler.finish(task)
        update = replace(runner.update(index, samples), done=scheduler.finished, total=len(job.order))
        if not task.preview:
            cache.put(key, update)
        yield replace(update, preview=task.preview)


def _runners(job: Job, checkpoint: Checkpoint, hooks: Hooks) -> dict[bool, SliceRunner]:
    """Of finished slices under False, of previews under True where those are quicker."""
    from ..devices import resolve_device

    batch = CPU_BATCH if resolve_device(job.request.device)[0].type == "cpu" else None
    full = SliceRunner(job, checkpoint, hooks, batch)
    asked = replace(job.request, n=min(job.n, PREVIEW_SAMPLES), steps=1, sampler="dpm++2m", repair=False)
    quick = replace(job, request=asked)
    evaluations = job.n * (1 if checkpoint.single_pass else job.steps)
    if evaluations <= 2 * quick.n or _knows_noise_alone(checkpoint):
        return {False: full}
    return {False: full, True: full.with_job(quick)}


def _knows_noise_alone(checkpoint: Checkpoint) -> bool:
    """Whether a network tells the noise in an image: one step from the largest σ would show its error a hundred times
    magnified."""
    cards = [member.card for member in members_of(checkpoint)]
    return any(c.model in ("ddpm", "ncsn") and c.options.get("prediction", "noise") == "noise" for c in cards)
