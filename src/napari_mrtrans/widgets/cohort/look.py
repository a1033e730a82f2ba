"""How many scans of a contrast a folder holds; looked at in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.qt.threading import thread_worker

from ...errors import MrtransError, fault_line
from ...scan.contrasts import Contrast
from ...wording import plural

#: Of what is left out or assumed, so many lines are told; the run tells all.
MOST_LINES = 3


def look_later(folder: Path, source: Contrast, tell: Callable[[str], None]) -> None:
    """Tell what is in ``folder``, from the event loop."""
    worker = thread_worker(look)(folder, source)
    worker.returned.connect(tell)
    worker.errored.connect(lambda error: tell(fault_line(error)))
    worker.start()


def look(folder: Path, source: Contrast) -> str:
    """What is in a folder, by the names of its files; or why there is nothing to be done."""
    from ...cohort.folders import find_any

    said: list[str] = []
    try:
        scans, _ = find_any(folder, source, said.append)
    except MrtransError as error:
        return str(error)
    except OSError as error:
        return f"'{folder}' cannot be read ({error.strerror or error}); choose another folder."
    more = [f"And {plural(len(said) - MOST_LINES, 'line')} more, once it runs."] if len(said) > MOST_LINES else []
    return "\n".join([f"{plural(len(scans), f'{source} scan')}.", *said[:MOST_LINES], *more])
