"""Sessions to prepare, from a data set as it was downloaded, told by the readers of training; on any grids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import MrtransError, RecipeError
from .readers import AUTO, READERS, read_folder, recognise
from .sessions import RawSession, find_sessions


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
        MrtransError: nothing is there, a contrast is unknown or there twice, or files and folders are mixed.
    """
    if name not in (AUTO, *READERS):
        raise MrtransError(f"Unknown format '{name}'. Choose one of {', '.join((AUTO, *READERS))}.")
    if not all(path.is_dir() for path in inputs):
        return find_sessions(inputs)
    sessions: list[RawSession] = []
    skipped: list[str] = []
    for folder in inputs:
        if name == AUTO and _format(folder) in (None, "bids"):
            there, left_out = find_sessions([folder])
            sessions, skipped = sessions + there, skipped + left_out
            continue
        found = read_folder(folder, name)
        sessions += [RawSession(session.subject, session.session, session.files) for session in found.sessions]
        skipped += found.skipped
    if out is not None:
        sessions = [left for session in sessions if (left := _raw_of(session, out)) is not None]
    if not sessions:
        raise MrtransError(f"'{inputs[0]}' holds nothing but what was prepared; give the folder of the raw scans.")
    return _together(sessions), skipped


def _raw_of(session: RawSession, out: Path) -> RawSession | None:
    """The session without what an earlier run has prepared of it into ``out``; None: nothing else is there."""
    files = {contrast: path for contrast, path in session.files.items() if not _prepared(path, out)}
    return RawSession(session.subject, session.session, files) if files else None


def _prepared(path: Path, out: Path) -> bool:
    start, mark, _ = path.name.partition("_desc-preproc_")
    record = path.with_name(f"{start}_desc-preproc.json")
    return bool(mark) and path.resolve().is_relative_to(out.resolve()) and record.is_file()


def _format(folder: Path) -> str | None:
    """The first format of which there are files; None: none, as in the folder of one BIDS subject."""
    try:
        return recognise(folder)[0]
    except RecipeError:
        return None


def _together(sessions: Iterable[RawSession]) -> list[RawSession]:
    """One session for each person and visit, though its contrasts lie in several folders."""
    merged: dict[str, RawSession] = {}
    for session in sessions:
        files = dict(merged[session.stem].files) if session.stem in merged else {}
        for contrast, path in session.files.items():
            if files.setdefault(contrast, path) != path:
                raise MrtransError(f"'{files[contrast]}' and '{path}' are both {contrast} of {session.stem}.")
        merged[session.stem] = RawSession(session.subject, session.session, files)
    return list(merged.values())
