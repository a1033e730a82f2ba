"""All files below a folder, behind links, too: data sets are often links to another disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..scan.nifti import NIFTI_SUFFIXES

#: BIDS' folder of what the scans were made of.
SOURCEDATA = "sourcedata"


def folders_below(base: Path) -> Iterator[tuple[Path, list[str]]]:
    """``base`` and every folder below it with the names of its files; what is hidden and ``sourcedata`` are passed by.

    A link that leads back up is not followed.
    """
    start = base.absolute()
    above = {str(start): {os.path.realpath(start)}}  # real folders from the base down to each: a link back up is a loop
    for folder, inner, names in os.walk(start, followlinks=True):
        known = above.pop(folder)
        inner[:] = sorted(name for name in inner if name != SOURCEDATA and not name.startswith("."))
        real = {name: os.path.realpath(Path(folder, name)) for name in inner}
        inner[:] = [name for name in inner if real[name] not in known]
        above |= {str(Path(folder, name)): known | {real[name]} for name in inner}
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def nifti_files(base: Path) -> list[Path]:
    """The NIfTI files among them, as absolute paths, sorted."""
    return sorted(
        folder / name for folder, names in folders_below(base) for name in names if name.endswith(NIFTI_SUFFIXES)
    )
