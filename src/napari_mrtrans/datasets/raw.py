"""Sessions to prepare, from a data set as it was downloaded, told by the readers of training; on any grids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import MrtransError, RecipeError
from ..scan.contrasts import Contrast
from .layout import PREPARED
from .readers import AUTO, READERS, read_folder, recognise
from .sessions import RawSession, find_sessions, versions_line


def sessions_to_prepare(
    inputs: list[Path], name: str = AUTO, out: Path | None = None
) -> tuple[list[RawSession], list[str]]:
    """Sessions in what the user named, and one line for whatever was left out.

    Args:
        inputs: NIfTI files of one session, or folders: of a data set (its contrasts in one or in several of them), or
            BIDS folders (whole, of a subject or a visit).
        name: Of the format of folders, in :data:`.readers.READERS`; ``auto``: told by the names of their files.
        out: Where what is prepared goes; what lies there already was prepared, and is no scan.

    Raises:
        MrtransError: nothing is there, a contrast is unknown, files and folders are mixed, or every session has a
            contrast twice; where some have, they are left out.
    """
    if name not in (AUTO, *READERS):
        raise MrtransError(f"Unknown format '{name}'. Choose one of {', '.join((AUTO, *READERS))}.")
    if not all(path.is_dir() for path in inputs):
        return find_sessions(inputs)
    sessions: list[RawSession] = []
    skipped: list[str] = []
    for folder in inputs:
        if name == AUTO and _format(folder) in (None, "bids"):
            there, left_out = find_sessions([folder], out)
            sessions, skipped = sessions + there, skipped + left_out
            continue
        found = read_folder(folder, name, out)
        sessions += [RawSession(session.subject, session.session, session.files) for session in found.sessions]
        skipped += found.skipped
    if not sessions:
        raise MrtransError(f"'{inputs[0]}' holds nothing but what was prepared; give the folder of the raw scans.")
    merged, left_out = _together(sessions)
    return merged, skipped + left_out


def _format(folder: Path) -> str | None:
    """The first format of which there are files; None: none, as in the folder of one BIDS subject."""
    try:
        return recognise(folder)[0]
    except RecipeError:
        return None


def _together(sessions: Iterable[RawSession]) -> tuple[list[RawSession], list[str]]:
    """One session for each person and visit, though its contrasts lie in several folders; and a line for each that has
    a contrast only as prepared elsewhere, beside raw ones of others, or that is left out, with a contrast twice.

    Raises:
        MrtransError: all are left out.
    """
    parts: dict[str, list[RawSession]] = {}
    for session in sessions:
        parts.setdefault(session.stem, []).append(session)
    merged, left_out = [], list[str]()
    for stem, those in parts.items():
        images = [(contrast, path) for session in those for contrast, path in session.files.items()]
        raw = [(contrast, path) for contrast, path in images if PREPARED not in path.name]
        files: dict[Contrast, Path] = {}
        twice = [(c, path) for c, path in raw or images if files.setdefault(c, path) != path]
        if twice:
            contrast, path = twice[0]
            left_out.append(
                f"{stem} is left out: '{files[contrast]}' and '{path}' are both {contrast} of it; give one of their "
                "folders alone, and the other with another -o."
            )
            continue
        others = [path for contrast, path in images if contrast not in files]
        left_out += versions_line(stem, others, [*files.values()])
        merged.append(RawSession(those[0].subject, those[0].session, files))
    if not merged:
        raise MrtransError(left_out[0])
    return merged, left_out
