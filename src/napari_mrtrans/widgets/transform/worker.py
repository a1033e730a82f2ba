"""The background run: one generator that streams slices, told to stop through an event.

Three napari facts shape it. A ``RuntimeError`` (``torch.OutOfMemoryError`` and ``NotImplementedError`` are such) that
leaves a generator worker vanishes without a signal, so nothing but :class:`MrtransError` leaves this one. It is raised
after the ``except`` block, without traceback or cause, because the notification that shows it lives on and would keep
the frames' tensors alive. And ``quit()``, which napari calls when its window closes, would leave the generator
suspended with its model in memory, so here it sets the event and the generator returns by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, thread_worker

from ...devices import is_out_of_memory
from ...errors import MrtransError, OutOfMemory
from ...transformation.request import Request
from ..wording import for_window, passing

if TYPE_CHECKING:
    from ...checkpoints.checkpoint import Checkpoint
    from ...transformation.streaming import SliceUpdate
    from ..source import LayerSource

logger = logging.getLogger(__name__)


def nothing() -> None:
    """There is nothing to make ready."""


@dataclass(eq=False)
class Work:
    """Everything one run depends on.

    ``begin``: makes ready what takes the results; called in the worker's thread.
    """

    source: LayerSource
    checkpoint: Checkpoint
    request: Request
    begin: Callable[[], None] = nothing


@dataclass(eq=False)
class Monitor:
    """What the dock and the running generator tell each other between slices. Safe from both threads.

    Attributes:
        cancel: The run is to end.
        step: Network evaluations of the current batch, (done, total).
        stage: What is going on until the first of them.
    """

    cancel: Event = field(default_factory=Event)
    step: tuple[int, int] | None = None
    stage: str = "Starting…"
    _notices: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def stop(self) -> None:
        """Ask the run to end."""
        self.cancel.set()

    def on_step(self, done: int, total: int) -> None:
        """Record how many network evaluations of the current batch are done."""
        self.step = (done, total)

    def notify(self, text: str) -> None:
        """Queue one line for the user."""
        if passing(text):
            self.stage = "Extracting the brain…"
        self._notices.put(for_window(text))

    def notices(self) -> Iterator[str]:
        """Take the queued lines."""
        while True:
            try:
                yield self._notices.get_nowait()
            except Empty:
                return


def stream(work: Work, monitor: Monitor) -> Iterable[SliceUpdate]:
    """Start the engine. The import is here because it brings torch: not before work starts, not in the GUI thread."""
    from ...transformation import streaming
    from ..preload import preload_torch

    monitor.stage = "Loading PyTorch…"
    preload_torch()
    monitor.stage = "Preparing image and model…"
    # The digest, for the layers' metadata, reads the whole file: here rather than in the GUI thread.
    logger.info("Running %s, sha256 %s", work.checkpoint.name, work.checkpoint.sha256)
    hooks = streaming.Hooks(monitor.cancel.is_set, monitor.on_step, monitor.notify)
    return streaming.run(work.source.volume(), work.checkpoint, work.request, hooks)


class TransformWorker(GeneratorWorker):
    """A generator worker whose ``quit`` lets the generator end instead of abandoning it."""

    def __init__(self, function: Any, work: Work, monitor: Monitor, **kwargs: Any) -> None:
        super().__init__(function, work, monitor, **kwargs)
        self._monitor = monitor

    def quit(self) -> None:
        """Ask the run to stop at its next network evaluation."""
        self._monitor.stop()


def _run(work: Work, monitor: Monitor) -> Iterator[SliceUpdate]:
    def start() -> Iterable[SliceUpdate]:
        work.begin()
        return stream(work, monitor)

    yield from guarded(start, work.request)


def guarded(start: Callable[[], Iterable[SliceUpdate]], request: Request) -> Iterator[SliceUpdate]:
    """What ``start()`` gives, slice by slice; whatever ends it is an error that no worker swallows."""
    failure: MrtransError | None = None
    last: int | None = None
    try:
        for update in start():
            last = update.index
            yield update
    except Exception as error:
        failure = plain_error(error, request, last)
    if failure is not None:
        raise failure


#: ``transform_worker(work, monitor)`` makes a worker that yields a ``SliceUpdate`` per finished slice.
transform_worker = thread_worker(_run, worker_class=TransformWorker, ignore_errors=True)


def plain_error(error: Exception, request: Request, last: int | None) -> MrtransError:
    """Turn whatever ended a run into an error of ours that holds no frames."""
    if isinstance(error, MrtransError):
        error.__cause__ = error.__context__ = None
        error.args = (for_window(str(error)),)
        return error.with_traceback(None)
    if is_out_of_memory(error):
        where = f"at slice {request.start_slice}" if last is None else f"after slice {last}"
        batch = "" if request.batch == "auto" else f" (now {request.batch})"
        on_cpu = request.device == "cpu" or isinstance(error, MemoryError)
        who, other = ("The computer", "fewer samples") if on_cpu else ("The GPU", "CPU")
        return OutOfMemory(
            f"{who} ran out of memory {where}. Finished slices were kept. Lower Batch{batch}, or choose {other}."
        )
    logger.error("The transformation failed", exc_info=error)
    text = str(error).strip().splitlines() or ["no message"]
    return MrtransError(f"The transformation stopped: {type(error).__name__}: {text[0]}")
