"""Short jobs on files, done in a thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from napari.qt.threading import thread_worker

from ..errors import MrtransError

logger = logging.getLogger(__name__)


def in_background(job: Callable[[], Any], tell: Callable[[Any, str], None] = lambda *_: None, failed: str = "") -> None:
    """Do a job; tell, from the event loop, what it returned (None if it failed) and its error as a line.

    ``failed``: how that line begins if the fault is ours: ``Nothing was saved: ``.
    """
    # napari holds a worker until its window goes: what it was given, a result with its volumes say, is taken from it
    jobs, listeners = [job], [tell]
    worker = thread_worker(_outcome)(jobs, failed)
    worker.returned.connect(lambda outcome: listeners.pop()(*outcome))
    worker.start()


def _outcome(jobs: list[Callable[[], Any]], failed: str) -> tuple[Any, str]:
    try:
        return jobs.pop()(), ""
    except MrtransError as error:
        return None, str(error)
    except Exception as error:
        logger.exception("A job on files failed")
        return None, f"{failed}{type(error).__name__}: {error}"
