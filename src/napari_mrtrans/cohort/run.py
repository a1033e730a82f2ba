"""A cohort from beginning to end: plan, compute what is not done yet, sum up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..asked.one_run import one_run
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.derivatives import description, ignored
from ..devices import resolve_device
from ..errors import MrtransError
from ..paths import check_folder, holds_something, write_together
from ..transformation.job import sampler_notice
from ..transformation.request import Request
from ..transformation.whole_volume import check_kept
from ..wording import plural
from .cluster import check_dask, compute, connect, seen
from .page import page
from .plan import Order, Output, Scan, check_output, find_scans
from .summary import Ledger, Row, others, table
from .thumbnail import redraw
from .work import Outcome, never, one_by_one, remove_unfinished

LOCK = ".napari-mrtrans-cohort.lock"


@dataclass(frozen=True)
class Progress:
    """Told when a scan is finished and about every second.

    Attributes:
        done: Scans computed so far, with the part that is done of those being computed.
        total: Scans to compute; those of an earlier run are not among them.
        seconds: Since the first was sent out.
    """

    done: float
    total: int
    seconds: float

    @property
    def per_hour(self) -> float:
        """Scans."""
        return 3600 * self.done / self.seconds if self.seconds else 0.0

    @property
    def minutes_left(self) -> float:
        """At this rate; infinite before there is one."""
        return 60 * (self.total - self.done) / self.per_hour if self.per_hour else math.inf


@dataclass(frozen=True)
class Cohort:
    """What there is in the end.

    Attributes:
        rows: Of every scan, worst first.
        computed: How many were computed now.
        files: Table and page.
    """

    rows: list[Row]
    computed: int
    files: list[Path]


@dataclass(frozen=True)
class Workers:
    """Who computes.

    Attributes:
        count: One-thread processes on this machine; None = as many as it has room for.
        scheduler: Address of a running Dask scheduler, instead.
        here: Nobody but this process, one scan after the other: Dask is not needed.
    """

    count: int | None = None
    scheduler: str | None = None
    here: bool = False


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes, and may stop it.

    Attributes:
        progress: Told how far it is.
        say: Told one-line notices.
        ledger: Given what has become of each scan, at the beginning and at each change, with how much of the unfinished
            ones is done.
        cancelled: Asked now and then; what is finished is kept.
    """

    progress: Callable[[Progress], None] | None = None
    say: Callable[[str], None] = print
    ledger: Callable[[Ledger, dict[Scan, float]], None] | None = None
    cancelled: Callable[[], bool] = never


def run(
    folder: Path,
    output: Output,
    checkpoint: Checkpoint,
    request: Request,
    *,
    workers: Workers = Workers(),
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = print,
) -> Cohort:
    """Transform every scan of a BIDS folder; what an earlier run has finished is not done again.

    Args:
        folder: The data set.
        output: Where results go.
        checkpoint: Serves the pair.
        request: What is wanted of every scan; its source says which scans.
        workers: Who computes.
        progress: Told how far it is.
        say: Told one-line notices.

    Raises:
        MrtransError: nothing was computed; or the run was stopped, with what had been finished kept and summed up.
    """
    check_dask()
    check_sampler_of(checkpoint, request)
    scans = find_scans(folder, request.pair.source, say)
    check_folder(output.folder)
    check_output(output.folder, folder)
    return run_scans(scans, output, checkpoint, request, workers=workers, watch=Watch(progress, say))


def check_sampler_of(checkpoint: Checkpoint, request: Request) -> None:
    """See that there is the sampler that is asked for, and that it comes to an end in so many steps.

    Raises:
        MrtransError: it is not so.
    """
    sampler_notice(request, checkpoint)


def run_scans(
    scans: Sequence[Scan],
    output: Output,
    checkpoint: Checkpoint,
    request: Request,
    *,
    workers: Workers = Workers(),
    watch: Watch = Watch(),
) -> Cohort:
    """The same for these scans, each of which has a place of its own below the output folder.

    Raises:
        MrtransError: see :func:`run`.
    """
    count = workers.count
    if not workers.here and workers.scheduler is None and resolve_device(request.device)[0].type != "cpu":
        count = count or 1  # they would share the one accelerator
    order = Order.make(output, checkpoint, request)
    scans = order.apart(scans, watch.say)
    check_kept(order.request, output.keep_samples)
    about = description(order.out, "Contrast transformation with uncertainty", "cohort")
    if order.bids:
        about |= ignored(order.out)
    write_together(order.out, about)
    busy = MrtransError(f"Another run computes into '{output.folder}'; wait for it, or choose another folder with -o.")
    with one_run(order.out / LOCK, busy):
        order.claim()
        remove_unfinished(scans, order)  # of a run that was killed
        ledger = Ledger.read(order, scans)
        order.check_free(ledger.todo)
        before = ledger.count
        watch.say(plural(len(scans), "scan") + (f", {before} of them done before." if before else "."))
        if replaced := sum(holds_something(order.record(scan)) for scan in ledger.todo):
            watch.say(f"Replacing {plural(replaced, 'result')} of another checkpoint, other settings or changed scans.")
        try:
            _compute_all(ledger, replace(workers, count=count), watch)
            if order.thumbnails:
                todo = set(ledger.todo)
                redraw(order, (scan for scan in scans if scan not in todo and not watch.cancelled()))
        finally:
            remove_unfinished(scans, order)
            found = ledger.rows()
            files = _write(ledger, found, checkpoint, watch.say)
        return Cohort(found, ledger.count - before, files)


def _compute_all(ledger: Ledger, workers: Workers, watch: Watch) -> None:
    """What is not done yet, here or on Dask."""
    todo, shares = ledger.todo, dict[Scan, float]()
    if watch.ledger is not None:
        watch.ledger(ledger, shares)
    if not todo:
        return
    if workers.here:
        _note(one_by_one(todo, ledger.order, shares, watch.cancelled), ledger, shares, watch)
        return
    with connect(workers.scheduler, workers.count, len(todo)) as client:
        if not client.nthreads():
            watch.say("The scheduler has no workers yet; waiting for them.")
        outcomes = compute(client, todo, ledger.order, shares)
        _note(outcomes if workers.scheduler is None else seen(outcomes, ledger.order), ledger, shares, watch)


def _note(outcomes: Generator[Outcome | None], ledger: Ledger, shares: dict[Scan, float], watch: Watch) -> None:
    """Take down outcomes as they come, and tell of them."""
    total, finished, began = len(ledger.todo), 0, time.monotonic()
    with closing(outcomes), _told_at_once(watch):
        for outcome in outcomes:
            if outcome is not None:
                if outcome.stop:
                    raise MrtransError(f"{outcome.reason}")
                finished += 1
                ledger.note(outcome)
                if outcome.reason is not None:
                    watch.say(f"{outcome.scan.path.name}: {outcome.reason}")
            if watch.progress is not None:
                watch.progress(Progress(finished + sum(list(shares.values())), total, time.monotonic() - began))
            if watch.ledger is not None:
                watch.ledger(ledger, shares)
            if watch.cancelled():
                return


@contextmanager
def _told_at_once(watch: Watch) -> Iterator[None]:
    """Ctrl-C: workers take their time to end."""
    try:
        yield
    except KeyboardInterrupt:
        watch.say("Stopping…")
        raise


def _write(ledger: Ledger, found: list[Row], checkpoint: Checkpoint, say: Callable[[str], None]) -> list[Path]:
    """Table and page; of other scans of the table that lies there, too, as far as they belong to it still."""
    order = ledger.order
    stem = f"cohort_{order.source}_{order.target}"
    more, left_out = others(ledger, order.out / f"{stem}.tsv")
    for line in left_out:
        say(line)
    found = sorted([*found, *more], key=lambda row: row.rank)
    asked = order.request
    sampling = "" if checkpoint.deterministic else f", {asked.n} samples, seed {asked.seed}"
    sampling += "" if checkpoint.single_pass else f", {asked.sampler} with {asked.steps} steps"
    some = "" if asked.slices is None else f", slices {asked.slices[0]}:{asked.slices[1]} only"
    about = f"{checkpoint.name} ({order.sha256[:12]}){sampling}{some}. napari-mrtrans {order.version}."
    about = " ".join([about, *left_out])
    title = f"{order.source}→{order.target} of {plural(len(found), 'scan')}"
    document = page(title, about, found, order.out if order.thumbnails else None)
    return write_together(order.out, {f"{stem}.tsv": table(found), f"{stem}.html": document})
