"""TensorBoard's log of a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from .table import BOARD


def open_board(out: Path) -> SummaryWriter:
    """The log in a run's folder."""
    return SummaryWriter(str(out / BOARD))


@contextmanager
def told_once() -> Iterator[None]:
    """What the log's own thread could not write is no traceback of that thread: the next entry raises it again."""
    before = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        of_board = type(ended.thread).__module__.startswith("tensorboard.")
        if not (of_board and isinstance(ended.exc_value, OSError)):
            before(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
