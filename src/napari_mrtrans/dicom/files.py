"""Which files are DICOM, told by four bytes of a few of them: folders may be huge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import VolumeError

#: Of a folder, so many files are looked at; of a tree, so many folders, and so many levels of it.
FILES, FOLDERS, LEVELS = 8, 40, 6
#: A tree with more folders of DICOM files than these is an archive, not the scans of one person.
MOST_FOLDERS, MOST_LOOKED_AT = 200, 5000
#: Headers of more files than these take minutes to read.
MOST_FILES = 20000
_OTHER = (
    ".nii",
    ".gz",
    ".json",
    ".tsv",
    ".csv",
    ".txt",
    ".md",
    ".png",
    ".jpg",
    ".tif",
    ".tiff",
    ".py",
    ".bval",
    ".bvec",
)
#: Where a BIDS folder keeps what its scans were made of, and what was made of them.
_ASIDE = ("sourcedata", "derivatives")
#: The index on a disc of scans: a DICOM file without an image.
_INDEX = "DICOMDIR"


def is_dicom_file(path: Path) -> bool:
    """Whether a file starts as DICOM files do."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_dicom(path: Path) -> bool:
    """Whether ``path`` is a DICOM file, or a folder that has some in it or below it, as far as a few files tell."""
    if path.is_file():
        return is_dicom_file(path)
    return path.is_dir() and any(_holds_dicom(folder) for folder, _ in zip(_tree(path), range(FOLDERS), strict=False))


def dicom_folders(path: Path) -> list[Path]:
    """``path`` and the folders below it that hold DICOM files, sorted.

    Raises:
        VolumeError: there are none, or so many that this is no scan of one person; or a folder cannot be read.
    """
    found: list[Path] = []
    for count, folder in enumerate(_tree(path, all_of_it=True)):
        if _holds_dicom(folder):
            found.append(folder)
        if len(found) > MOST_FOLDERS or count > MOST_LOOKED_AT:
            raise VolumeError(f"'{path}' holds too many folders for one person's scans; give the folder of one series.")
    if not found:
        raise VolumeError(f"'{path}' is a folder without DICOM slices; give a NIfTI file or the folder of a series.")
    return found


def files_in(folder: Path) -> list[Path]:
    """What may be DICOM in a folder, sorted.

    Raises:
        VolumeError: too much for one person's scans, or it cannot be read.
    """
    _check_readable(folder)
    found = listed(folder)
    if len(found) > MOST_FILES:
        raise VolumeError(f"'{folder}' holds {len(found)} files; give a folder that holds one series only.")
    return found


def listed(folder: Path) -> list[Path]:
    """The same, however many they are."""
    return sorted(path for path in _entries(folder, folders=False) if _may_be(path))


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted."""
    return list(_entries(folder, folders=True))


def _check_readable(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        why = error.strerror or error
        raise VolumeError(f"'{folder}' cannot be read ({why}). Make it readable, or give another folder.") from None


def _may_be(path: Path) -> bool:
    return path.name != _INDEX and not path.name.lower().endswith(_OTHER)


def _tree(folder: Path, level: int = 0, *, all_of_it: bool = False) -> Iterator[Path]:
    """A folder, and those below it, each before those in it; what BIDS keeps aside only where it is ``folder``.

    Raises:
        VolumeError: a folder cannot be read, and ``all_of_it`` is wanted.
    """
    if all_of_it:
        _check_readable(folder)
    yield folder
    if level < LEVELS:
        for below in _entries(folder, folders=True):
            if below.name not in _ASIDE:
                yield from _tree(below, level + 1, all_of_it=all_of_it)


def _holds_dicom(folder: Path) -> bool:
    files = (path for path in _entries(folder, folders=False) if _may_be(path) and os.access(path, os.F_OK))
    return any(is_dicom_file(path) for path, _ in zip(files, range(FILES), strict=False))


def _entries(folder: Path, *, folders: bool) -> Iterator[Path]:
    """What is in a folder, hidden things left out; folders sorted, files, and links that lead nowhere, as they come."""
    try:
        with os.scandir(folder) as entries:
            visible = (entry for entry in entries if not entry.name.startswith("."))
            if folders:
                yield from sorted(Path(entry.path) for entry in visible if not _leads_nowhere(entry) and entry.is_dir())
            else:
                yield from (Path(entry.path) for entry in visible if _leads_nowhere(entry) or entry.is_file())
    except OSError:
        return


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link whose end is gone, closed or itself."""
    return entry.is_symlink() and not os.access(entry.path, os.F_OK)
