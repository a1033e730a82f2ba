"""The background run while the slider is followed: one generator that waits for the user to move on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from napari.qt.threading import thread_worker
from qtpy.QtCore import QThreadPool

from ...follow.scheduling import Scheduler
from ...follow.slice_cache import SliceCache
from .worker import Monitor, TransformWorker, Work, guarded

if TYPE_CHECKING:
    from ...transformation.streaming import SliceUpdate


@dataclass(eq=False)
class FollowMonitor(Monitor):
    """What the dock and the generator tell each other: also where the user looks, and what was computed before."""

    scheduler: Scheduler = field(default_factory=Scheduler)
    cache: SliceCache = field(default_factory=SliceCache)

    def stop(self) -> None:
        """Ask the run to end, also while it waits."""
        super().stop()
        self.scheduler.close()


def follow_slices(work: Work, monitor: FollowMonitor) -> Iterator[SliceUpdate]:
    """Start the engine, which brings torch: not before work starts, not in the GUI thread."""
    from ...follow.run import Followed, follow
    from ..preload import preload_torch

    monitor.stage = "Loading PyTorch…"
    preload_torch()
    monitor.stage = "Preparing image and model…"
    followed = Followed(work.source.volume(), work.checkpoint, work.request)
    return follow(followed, monitor.scheduler, monitor.cache, on_step=monitor.on_step, status=monitor.notify)


_widening = Lock()


@contextmanager
def _one_thread_more() -> Iterator[None]:
    """Room for one more in the pool, which has a thread for each core: whoever waits for the user keeps none busy."""
    _widen(1)
    try:
        yield
    finally:
        _widen(-1)


def _widen(by: int) -> None:
    pool = QThreadPool.globalInstance()
    assert pool is not None
    with _widening:
        pool.setMaxThreadCount(pool.maxThreadCount() + by)


def _run(work: Work, monitor: FollowMonitor) -> Iterator[SliceUpdate]:
    with _one_thread_more():
        yield from guarded(lambda: follow_slices(work, monitor), work.request)


#: ``follow_worker(work, monitor)`` makes a worker that yields previews and finished slices until it is stopped.
follow_worker = thread_worker(_run, worker_class=TransformWorker, ignore_errors=True)
