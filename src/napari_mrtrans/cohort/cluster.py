"""Dask: a cluster of one-thread workers here or a scheduler elsewhere, and tasks sent to it as workers become free."""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing import resource_tracker
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from ..errors import MrtransError, fault_line
from ..paths import holds_something
from ..training.stopping import later
from .plan import Order, Scan
from .work import Outcome, work

if TYPE_CHECKING:
    from distributed import Client, Future

#: Seconds in which a scheduler must answer that is elsewhere, and, on a machine that may be busy, one of our own.
PATIENCE, OWN_PATIENCE = 10, 120
#: Seconds after which a cluster of our own is given up when none of its workers is left and none came back.
ALONE = 180
#: Memory that a worker takes with one of our models and a volume of 1 mm, in bytes.
WORKER_MEMORY = 2 << 30
#: Files that this process has open for each worker, connections included, and for everything else.
WORKER_FILES, OTHER_FILES = 12, 100
TOPIC = "napari-mrtrans-cohort"
#: Seconds in which what a worker elsewhere has written must be seen here: network disks remember what was not there.
UNSEEN = 90
#: Seconds between looks at new workers and at how far each scan is.
TICK = 1.0

REMEDY = "Cohorts need Dask: pip install 'napari-mrtrans[cluster]'."


def check_dask() -> None:
    """See before any work whether Dask is there.

    Raises:
        MrtransError: it is not.
    """
    try:
        import distributed  # noqa: F401
        import filelock  # noqa: F401
    except ImportError:
        raise MrtransError(REMEDY) from None


@contextmanager
def connect(scheduler: str | None, workers: int | None, tasks: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or else of a new cluster on this machine that ends with it.

    Args:
        scheduler: Such as ``tcp://host:8786``.
        workers: Processes of the new cluster; None = one for each core, as memory and the limit of open files allow.
        tasks: No more workers than these.

    Raises:
        MrtransError: no scheduler answers, or the new cluster's workers cannot be started.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    for name in ("distributed", "tornado.application", "asyncio"):  # their tracebacks are no news to the user
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set({"distributed.comm.timeouts.connect": OWN_PATIENCE if scheduler is None else PATIENCE}):
        if scheduler is None:
            count = min(tasks, workers or max(1, min(CPU_COUNT, MEMORY_LIMIT // WORKER_MEMORY)))
            room = _room_for(count)
            count = count if workers else min(count, room)
            with ExitStack() as stack:
                try:
                    with later(signal.SIGTERM), _deaf_to_ctrl_c():  # Dask closes no cluster that is half begun
                        # Dask's own memory limit pauses a worker for good when one scan is large; the system's stays.
                        cluster = LocalCluster(
                            n_workers=count, threads_per_worker=1, memory_limit=0, silence_logs=logging.CRITICAL,
                            # A free port for what its scheduler tells over HTTP, which else asks for 8787 every time.
                            dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
                        )  # fmt: skip
                        stack.enter_context(cluster)
                    client = stack.enter_context(Client(cluster, timeout=60))
                except (OSError, RuntimeError) as error:
                    raise MrtransError(
                        f"{count} workers could not be started ({_first_line(error).rstrip('.')}); use fewer "
                        "--workers, or allow more open files (ulimit -n)."
                    ) from None
                yield client
            return
        try:
            client = Client(scheduler, timeout=PATIENCE)
        except (OSError, ValueError, TypeError) as error:
            raise MrtransError(
                f"No Dask scheduler answers at '{scheduler}' ({_first_line(error)}); start one with: dask scheduler."
            ) from None
        with client:
            yield client


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _room_for(count: int) -> int:
    """How many of ``count`` workers (at least one) this process may open files for; its limit is raised for them."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return count
    wanted = OTHER_FILES + count * WORKER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return count
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):  # macOS has another limit besides
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return max(1, (soft - OTHER_FILES) // WORKER_FILES)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Threads and processes that are started meanwhile never see a Ctrl-C; this thread does afterwards.

    A terminal sends it to all of them, and every worker would print a traceback. The parent ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # would undo the mask of the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def compute(
    client: Client, scans: Sequence[Scan], order: Order, shares: dict[Scan, float]
) -> Generator[Outcome | None]:
    """Outcomes as they come, and None about every second in between.

    Only as many tasks are out as there are threads: Dask counts the death of a worker against all tasks it was given,
    and here that must be only the one it was at.

    Args:
        client: Of the cluster.
        scans: What to do.
        order: How.
        shares: Filled with how much of each unfinished scan is done, in [0, 1].

    Raises:
        MrtransError: the scheduler went away, or all workers of our own cluster did and none was started again.
    """
    from distributed import CancelledError, wait
    from distributed import TimeoutError as Waited

    by_key = {_task_key(order, scan): scan for scan in scans}

    def heard(event: tuple[float, Any]) -> None:
        key, share = event[1]
        if key in by_key:
            shares[by_key[key]] = share

    client.subscribe_topic(TOPIC, heard)
    waiting = deque(by_key.items())
    out: dict[Future, Scan] = {}
    seen = monotonic()
    try:
        while True:
            threads = sum(client.nthreads().values())
            # Workers of a scheduler elsewhere may wait in a queue for hours.
            if threads or client.cluster is None:
                seen = monotonic()
            elif monotonic() - seen > ALONE:
                raise MrtransError(
                    "All workers ended and none could be started again (no memory left, or the machine too busy?). "
                    "Finished results were kept; run it again with fewer --workers to go on."
                )
            while waiting and len(out) < max(1, threads):
                key, scan = waiting.popleft()
                out[client.submit(_on_worker, scan, order, key, key=key, pure=False)] = scan
            if not out:
                return
            try:
                done = wait(list(out), timeout=TICK, return_when="FIRST_COMPLETED").done
            except (Waited, TimeoutError):
                yield None
                continue
            for future in done:
                scan = out.pop(future)
                shares.pop(scan, None)
                outcome = _outcome(future, scan)
                future.release()
                if outcome is None:
                    key = f"{future.key}-again"
                    by_key[key] = scan
                    waiting.append((key, scan))
                else:
                    yield outcome
    except (CancelledError, OSError) as error:
        raise MrtransError(
            f"The Dask scheduler went away ({type(error).__name__}). Finished results were kept; run it again to go on."
        ) from None
    finally:
        client.unsubscribe_topic(TOPIC)
        client.cancel(list(out), force=True)


def seen(outcomes: Generator[Outcome | None], order: Order) -> Generator[Outcome | None]:
    """Outcomes of workers elsewhere; an end at the first whose result is not seen here.

    Raises:
        MrtransError: a worker's output folder is another one of the same name.
    """
    with closing(outcomes):
        for outcome in outcomes:
            if outcome is not None and outcome.reason is None:
                record, last = order.record(outcome.scan), monotonic() + UNSEEN
                while not holds_something(record) and monotonic() < last:
                    sleep(TICK)
                    for folder in reversed(record.relative_to(order.out).parents):
                        with suppress(OSError):
                            list((order.out / folder).iterdir())  # a network disk then asks anew
                if not holds_something(record):
                    raise MrtransError(
                        f"Workers wrote '{record.name}' where this machine cannot see it; choose a folder that all of "
                        "them share with -o."
                    )
            yield outcome


def _task_key(order: Order, scan: Scan) -> str:
    """The same for the same work, so that a scheduler that is still at it is not asked twice."""
    import dask.tokenize

    return f"napari-mrtrans-{dask.tokenize.tokenize(order, scan)}"


def _on_worker(scan: Scan, order: Order, key: str) -> Outcome:
    from distributed import get_worker

    worker = get_worker()
    return work(scan, order, lambda share: worker.log_event(TOPIC, (key, share)), lambda: not order.is_asked())


def _outcome(future: Future, scan: Scan) -> Outcome | None:
    """What became of a scan; None where it is done, but another scan killed the worker that was to say so."""
    from distributed import CancelledError, KilledWorker

    if future.status == "finished":
        try:
            outcome: Outcome = future.result()
        except KilledWorker:
            return None
        return outcome
    if future.status in ("cancelled", "lost"):
        raise CancelledError
    error = future.exception()
    if isinstance(error, KilledWorker):
        tries = error.allowed_failures + 1
        return Outcome(scan, f"Its worker was killed {tries} times (out of memory?); use fewer --workers.")
    return Outcome(scan, fault_line(error))
