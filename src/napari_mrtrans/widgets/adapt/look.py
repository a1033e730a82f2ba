"""What a folder holds that sessions are to be taken from; looked at in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...scan.contrasts import Contrast
from ...wording import plural
from ..background import in_background

if TYPE_CHECKING:
    from ...checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class Found:
    """What is there.

    Attributes:
        line: In words; empty while it is not known.
        problem: Why nothing can be taken, in a line.
        sessions: Contrasts of each.
    """

    line: str = ""
    problem: str = ""
    sessions: tuple[frozenset[Contrast], ...] = ()

    def problem_for(self, parent: Checkpoint) -> str:
        """Why a model cannot be adapted to it; empty where nothing is seen, or nothing is known yet."""
        if not self.sessions or any({*pair} <= there for pair in parent.pairs for there in self.sessions):
            return ""
        have = ", ".join(sorted(contrast for contrast in frozenset[Contrast]().union(*self.sessions))) or "none"
        serves = ", ".join(map(str, parent.pairs))
        return f"No session has both contrasts of a pair that '{parent.name}' serves ({serves}); there are {have}."


def look_later(folder: Path, tell: Callable[[Found], None]) -> None:
    """Tell what is in ``folder``, from the event loop."""
    in_background(partial(look, folder), lambda found, problem: tell(found or Found(problem=problem)), "Unexpected ")


def look(folder: Path) -> Found:
    """What is in a folder, by the names of its files, or that it cannot be read.

    Raises:
        MrtransError: there is nothing to be taken.
    """
    from ...datasets.subjects import find_sessions

    try:
        sessions, skipped = find_sessions(folder)
    except OSError as error:
        return Found(problem=f"'{folder}' cannot be read ({error.strerror or error}); choose another folder.")
    people, visits = len({session.subject for session in sessions}), len(sessions)
    contrasts = [contrast for contrast in Contrast if any(contrast in session.contrasts for session in sessions)]
    line = f"{plural(people, 'person', 'people')}, {plural(visits, 'session')}: "
    line += ", ".join(contrasts)
    if skipped:
        more = f"; {plural(len(skipped) - 1, 'more note')}" if len(skipped) > 1 else ""
        line += f". {skipped[0].rstrip('.')}{more}"
    return Found(line, "", tuple(frozenset(session.contrasts) for session in sessions))
