"""When a training ends before its last step: its time is over, or Ctrl-C, or the SIGTERM of a scheduler."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

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
        """Signals ask meanwhile, a second one interrupts as usual. Outside the main thread nobody is asked."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        heard = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        if not self._alone or threading.current_thread() is not threading.main_thread():
            heard = []
        for number in heard:
            signal.signal(number, self._ask)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number])

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        with suppress(OSError):  # the same Ctrl-C has ended what reads the terminal's lines, such as tee
            os.write(2, TOLD)


def deaf(worker: int) -> None:
    """In a background process: what a terminal or a scheduler sends to all is for the trainer.

    A second SIGTERM, such as the trainer's own to a process that hangs, ends it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
