"""What a DICOM file still tells that SimpleITK cannot read: whether it is an MR image, and of which series."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

#: So many bytes are looked at; the numbers of study and series come early.
_START = 1 << 16
_CLASS = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL)
#: With the length that explicit and implicit value representations have before the value.
_SERIES = re.compile(rb"\x20\x00\x0e\x00....([0-9][0-9.]{0,63})", re.DOTALL)
_MR_IMAGE = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.4(\.[134])?")
#: A number in a name, decimal or hexadecimal; words of the first letters have no digit.
_NUMBER = re.compile(r"[\da-f-]*\d[\da-f-]*")


def named_series(path: Path) -> frozenset[str] | None:
    """The series that a file names, its own among them; none where it is cut off before them. None: it is no MR image.

    Reports, presentation states and the like lie among images, and are rightly left out.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return frozenset()
    kind = _CLASS.search(start[:1024])
    if kind is not None and not _MR_IMAGE.fullmatch(kind[1]):
        return None
    return frozenset(found.decode("ascii") for found in _SERIES.findall(start))


def unreadable_beside(files: Collection[Path], images: Collection[Path]) -> list[Path]:
    """Which ``files`` beside DICOM ``images``, named like them, are empty, as a broken copy leaves them, closed, or
    links that lead nowhere."""
    kinds = {_kind(image) for image in images}
    return [file for file in files if file not in images and _kind(file) in kinds and not _has_content(file)]


def _kind(path: Path) -> str:
    """The ending of a name, or all of one that has none, without numbers: names may be UIDs, or hexadecimal."""
    return _NUMBER.sub("", (path.suffix or path.name).lower())


def _has_content(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False
