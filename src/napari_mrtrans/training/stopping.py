"""Ctrl-C, the SIGTERM of a scheduler, and a time that is over: when a run, as a training, ends before its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TOLD = b"\nStopping after this step; once more stops at once, without what came after the last state.\n"


class Stopping:
    """Of one run, on one process; on several a signal ends each of them at once.

    Attributes:
        asked: A signal has come.
    """

    def __init__(self, max_minutes: float | None, processes: int) -> None:
        self._max_minutes = max_minutes
        self._alone = processes == 1
        self.asked = False

    def due(self, seconds: float, fabric: Fabric) -> bool:
        """Whether to end after this step, ``seconds`` after the first one began; the same on all processes."""
        over = self._max_minutes is not None and seconds > 60 * self._max_minutes
        if self._alone:
            return over or self.asked
        return self._max_minutes is not None and fabric.broadcast(over)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals ask meanwhile, a second one interrupts as usual."""
        with heard(self._ask, *([signal.SIGINT, signal.SIGTERM] if self._alone else [])):
            yield

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        with suppress(OSError):  # the same Ctrl-C has ended what reads the terminal's lines, such as tee
            os.write(2, TOLD)


@contextmanager
def heard(handler: Callable[[int, FrameType | None], None], *signals: int) -> Iterator[None]:
    """Signals that are not ignored call ``handler`` meanwhile; outside the main thread nothing changes."""
    before = {number: signal.getsignal(number) for number in signals}
    known = [number for number, one in before.items() if one not in (signal.SIG_IGN, None)]
    if threading.current_thread() is not threading.main_thread():
        known = []
    for number in known:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in known:
            signal.signal(number, before[number])


@contextmanager
def later(*signals: int) -> Iterator[None]:
    """Signals that come meanwhile are heard after it, one of each; outside the main thread nothing changes."""
    came: set[int] = set()
    try:
        with heard(lambda number, frame: came.add(number), *signals):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal is as Ctrl-C.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


def deaf(worker: int) -> None:
    """In a background process: what a terminal or a scheduler sends to all is for the trainer.

    A second SIGTERM, such as the trainer's own to a process that hangs, ends it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
