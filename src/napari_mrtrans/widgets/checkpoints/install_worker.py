"""Installing in the background: the worker, and what it and the dock tell each other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from napari.qt.threading import FunctionWorker, thread_worker

from ...errors import MrtransError

if TYPE_CHECKING:
    from ...checkpoints.checkpoint import Checkpoint

#: Installs, and tells the function that it is given what is worth a line.
Job = Callable[[Callable[[str], None]], "Checkpoint"]

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Transfer:
    """How far a download is. Safe from both threads.

    Attributes:
        cancel: Set by the dock.
        done: Bytes that have come.
        total: Bytes in all, 0 where the server does not say.
    """

    cancel: Event = field(default_factory=Event)
    done: int = 0
    total: int = 0

    def report(self, done: int, total: int) -> None:
        """Note how far it is."""
        self.done, self.total = done, total


@dataclass(frozen=True)
class Outcome:
    """What was installed, or why nothing was, in one line; ``said``: what was told meanwhile."""

    checkpoint: Checkpoint | None = None
    problem: str = ""
    said: str = ""


def in_background(job: Job) -> FunctionWorker:
    """A worker, not yet started, that returns an :class:`Outcome` of ``job`` and never raises."""
    return thread_worker(_outcome)(job)


def _outcome(job: Job) -> Outcome:
    lines: list[str] = []
    try:
        return Outcome(job(lines.append), said="\n".join(lines))
    except MrtransError as error:
        return Outcome(problem=str(error))
    except Exception as error:
        logger.exception("Installing failed")
        return Outcome(problem=f"Nothing was installed: {type(error).__name__}: {error}")
