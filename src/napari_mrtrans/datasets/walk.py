"""All files below a folder, behind links, too: data sets are often links to another disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..scan.nifti import is_nifti_name

#: BIDS' folder of what the scans were made of.
SOURCEDATA = "sourcedata"


def folders_below(base: Path) -> Iterator[tuple[Path, list[str]]]:
    """``base`` and every folder below it with the names of its files; what is hidden and ``sourcedata`` are passed by.

    Each once: a link to what is there anyhow, or back up, is not followed.
    """
    waiting, seen = [base.absolute()], set[str]()
    top = Path(os.path.realpath(base))
    above = {str(folder) for folder in top.parents}
    while waiting:
        for folder, inner, names in os.walk(waiting.pop(0)):
            real = os.path.realpath(folder)
            if real in seen or real in above:
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if name != SOURCEDATA and not name.startswith("."))
            waiting += [path for name in inner if (path := Path(folder, name)).is_symlink()]
            yield Path(folder), sorted(name for name in names if not name.startswith("."))


def nifti_files(base: Path) -> list[Path]:
    """The NIfTI files among them, as absolute paths, sorted."""
    return sorted(folder / name for folder, names in folders_below(base) for name in names if is_nifti_name(name))
