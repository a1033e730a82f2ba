"""Sessions in a folder; a window looks for them, too, and so this loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import RecipeError
from .bids import Session
from .readers import read_folder


def find_sessions(data: Path, subjects: Sequence[str] = ()) -> tuple[list[Session], list[str]]:
    """Sessions below a folder, or of a BIDS folder's one subject, and one line for whatever is left out.

    Args:
        data: A data set as it was downloaded, a BIDS folder, or the folder of a subject in one.
        subjects: Only these (``sub-XX`` or ``XX``); none = all.

    Raises:
        RecipeError: nothing is there, or a subject is not.
    """
    if data.name.startswith("sub-") and any(any(data.glob(place)) for place in ("anat", "ses-*/anat")):
        data, subjects = data.absolute().parent, (data.name,)
    found = read_folder(data)
    wanted = {name if name.startswith("sub-") else f"sub-{name}" for name in subjects}
    if missing := sorted(wanted - {session.subject for session in found.sessions}):
        raise RecipeError(f"No subject '{missing[0]}' in '{data}'. Choose one that is there.")
    sessions = [session for session in found.sessions if not wanted or session.subject in wanted]
    return sessions, found.skipped
