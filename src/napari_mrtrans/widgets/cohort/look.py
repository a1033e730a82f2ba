"""How many scans of a contrast a folder holds; looked at in the background."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...scan.contrasts import Contrast
from ...wording import plural
from ..background import in_background

#: Of what is left out or assumed, so many lines are told; the run tells all.
MOST_LINES = 3


def look_later(folder: Path, source: Contrast, tell: Callable[[str], None]) -> None:
    """Tell what is in ``folder``, from the event loop."""
    in_background(partial(look, folder, source), lambda said, problem: tell(said or problem), "Unexpected ")


def look(folder: Path, source: Contrast) -> str:
    """What is in a folder, by the names of its files, or that it cannot be read.

    Raises:
        MrtransError: there is nothing to be done.
    """
    from ...cohort.folders import find_any

    said: list[str] = []
    try:
        scans, _ = find_any(folder, source, said.append)
    except OSError as error:
        return f"'{folder}' cannot be read ({error.strerror or error}); choose another folder."
    more = [f"And {plural(len(said) - MOST_LINES, 'line')} more, once it runs."] if len(said) > MOST_LINES else []
    return "\n".join([f"{plural(len(scans), f'{source} scan')}.", *said[:MOST_LINES], *more])
