"""The data sets that can be read as they were downloaded, told apart by the names of their files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from ..errors import RecipeError
from ..scan.contrasts import Contrast
from ..wording import plural
from . import bids, brats, ixi, mslesion, oasis
from .bids import Session
from .layout import Place, Shares
from .sessions import by_preference, further_masks_line, is_prepared_in, left_out_lines, versions_line
from .walk import nifti_files

AUTO = "auto"
#: What is done where another image of a contrast is wanted: a folder is what trainings and adaptations are given.
_REMEDY = "move or rename the one that you do not want"


class Reader(Protocol):
    """What the module of a data set offers."""

    #: Names as they are in the data set, for messages.
    EXAMPLE: str
    #: Held out unless the recipe says otherwise; None: nothing.
    SHARES: Shares | None

    def place(self, path: str, /) -> Place | None:
        """What a path below the data folder says; None: not of this data set."""


#: A file belongs to the first that knows it: BIDS comes last, because other data sets come in BIDS, too.
READERS: dict[str, Reader] = {"ixi": ixi, "oasis": oasis, "mslesion": mslesion, "brats": brats, "bids": bids}


@dataclass(frozen=True)
class Found:
    """What a data folder holds.

    Attributes:
        sessions: Sorted by name, each with at least one contrast.
        skipped: One line for whatever was left out.
        shares: What the data set holds out by default; None: nothing.
    """

    sessions: list[Session]
    skipped: list[str]
    shares: Shares | None


def recognise(base: Path) -> list[str]:
    """Formats of which there are files below ``base``.

    Raises:
        RecipeError: there is none, or no such folder.
    """
    closed: list[str] = []
    images = _images(base, closed)
    found = {next((name for name, reader in READERS.items() if reader.place(path)), None) for path in images} - {None}
    if not found and closed:
        raise RecipeError(f"'{base}' holds no data set that can be told by its names; {closed[0]}. Make it readable.")
    if not found:
        known = "; ".join(f"{name}: {reader.EXAMPLE}" for name, reader in READERS.items())
        raise RecipeError(
            f"'{base}' holds no data set that can be told by its names ({known}). Rename its files, or give another."
        )
    return [name for name in READERS if name in found]


def read_folder(base: Path, name: str = AUTO, out: Path | None = None) -> Found:
    """All sessions below ``base``.

    Args:
        base: The data folder.
        name: Of the format, in :data:`READERS`; ``auto``: the one that is there.
        out: What ``napari-mrtrans prepare`` has written there is passed by, and nothing else need be there.

    Raises:
        RecipeError: the folder is missing, or does not hold exactly one data set (of that format).
    """
    if name == AUTO:
        name, *others = recognise(base)
        if others:
            raise RecipeError(
                f"'{base}' holds several data sets ({', '.join([name, *others])}); choose one by data.format of a "
                "recipe or --format of prepare, or give each a folder of its own and name one of these (a recipe may "
                "list several under data.folders)."
            )
    reader = READERS[name]
    files: dict[tuple[str, str], list[tuple[Place, Path]]] = {}
    foreign, closed, passed_by = [], list[str](), False
    for path in _images(base, closed):
        where = reader.place(path)
        if where is None:
            foreign.append(path)
        elif is_prepared_in(base / path, out):
            passed_by = True
        else:
            files.setdefault((where.subject, where.session), []).append((where, base / path))
    if not files and not passed_by:
        raise RecipeError(f"'{base}' holds no {name} data ({reader.EXAMPLE}). Give another folder.")
    sessions = [_session(group) for _, group in sorted(files.items())]
    skipped = [
        f"{session.name}: none of its images is T1, T2, PD or FLAIR" for session in sessions if not session.files
    ]
    for (subject, visit), group in sorted(files.items()):
        skipped += _left_out("/".join(filter(None, (subject, visit))), group)
    skipped += closed
    if foreign:
        which, are = plural(len(foreign), "file"), "is" if len(foreign) == 1 else "are"
        skipped.append(f"{which} in '{base}' that {are} not named as {name} is, such as '{foreign[0]}'")
    return Found([session for session in sessions if session.files], skipped, reader.SHARES)


def plain_folders(folders: Sequence[str]) -> tuple[str, ...]:
    """Folders below a data folder as they are part of their subjects' names, without ``./`` and slashes too many.

    Raises:
        ValueError: one is not below it, or named twice.
    """
    plain = tuple(posixpath.normpath(folder) for folder in folders)
    for folder in plain:
        if PurePosixPath(folder).is_absolute() or PureWindowsPath(folder).drive or ".." in folder.split("/"):
            raise ValueError(f"'{folder}' is not below --data; give the folder above it there, and the rest here")
    if len({*plain}) < len(plain):
        raise ValueError("one is named twice")
    return plain


def read_folders(root: Path, folders: tuple[str, ...], name: str = AUTO) -> Iterator[Found]:
    """Each of several folders below ``root``; where there are several, they are part of their subjects' names, but for
    ``.``."""
    for folder in folders:
        found = read_folder(root / folder, name)
        prefix = f"{folder}/" if len(folders) > 1 and folder != "." else ""
        yield replace(found, sessions=[replace(s, subject=prefix + s.subject) for s in found.sessions])


def _images(base: Path, closed: list[str]) -> list[str]:
    """Paths of all NIfTI files below ``base``, sorted; what is hidden and BIDS' ``sourcedata`` are passed by.

    ``closed`` is given a line for each folder that cannot be read.
    """
    if not base.is_dir():
        above = next(folder for folder in (*reversed(base.parents), base) if not folder.is_dir())
        what = f"'{above}' is no folder" if above.exists() else f"Data folder '{above}' does not exist"
        raise RecipeError(f"{what}; give the right one with --data.")
    start = base.absolute()
    return sorted(path.relative_to(start).as_posix() for path in nifti_files(base, closed))


def _session(group: list[tuple[Place, Path]]) -> Session:
    """The session that these files are of; of several files for one thing the first (:func:`_by_contrast`)."""
    files = {contrast: images[0] for contrast, images in _by_contrast(group).items()}
    first = min(group, key=lambda entry: entry[1].name)[0]
    return Session(first.subject, first.session, files, next(iter(_masks(group)), None), first.site)


def _by_contrast(group: list[tuple[Place, Path]]) -> dict[Contrast, list[Path]]:
    """Images of the best version of each contrast, in order (:func:`.sessions.by_preference`)."""
    best = min((place.rank for place, _ in group if place.contrast), default=0)
    chosen = [(place, path) for place, path in group if place.rank == best]
    found = {c: sorted((path for place, path in chosen if place.contrast is c), key=by_preference) for c in Contrast}
    return {contrast: paths for contrast, paths in found.items() if paths}


def _masks(group: list[tuple[Place, Path]]) -> list[Path]:
    """The experts' masks, the one that is taken first."""
    ranked = sorted((place.rank, path.name, path) for place, path in group if place.mask)
    return [path for *_, path in ranked]


def _left_out(name: str, group: list[tuple[Place, Path]]) -> list[str]:
    """A line for whatever of a session is not read though it might be."""
    found, masks = _by_contrast(group), _masks(group)
    lines = [line for images in found.values() for line in left_out_lines(name, images, _REMEDY)]
    others = [path for place, path in group if place.contrast and place.contrast not in found]
    lines += versions_line(name, others, [images[0] for images in found.values()])
    return lines + further_masks_line(name, masks)
