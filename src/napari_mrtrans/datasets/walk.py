"""All files below a folder, behind links, too: data sets are often links to another disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import MrtransError
from ..scan.nifti import is_nifti_name

#: BIDS' folder of what the scans were made of.
SOURCEDATA = "sourcedata"


def folders_below(base: Path, closed: list[str] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """``base`` and every folder below it with the names of its files; what is hidden and ``sourcedata`` are passed by.

    Each once: a link to what is there anyhow, or back up, is not followed.

    Args:
        base: Where to begin.
        closed: Given a line for each folder below that cannot be read, which is left out; None: it is an error.

    Raises:
        MrtransError: ``base`` cannot be read, or (without ``closed``) a folder below it.
    """

    def refused(error: OSError) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError):  # gone meanwhile
            return
        why = error.strerror or error
        if closed is None or Path(error.filename) == base.absolute():
            raise MrtransError(f"'{error.filename}' cannot be read ({why}). Make it readable, or give another folder.")
        closed.append(f"'{error.filename}' left out: it cannot be read ({why})")

    waiting, seen = [base.absolute()], set[str]()
    top = Path(os.path.realpath(base))
    above = {str(folder) for folder in top.parents}
    while waiting:
        for folder, inner, names in os.walk(waiting.pop(0), onerror=refused):
            real = os.path.realpath(folder)
            if real in seen or real in above:
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if name != SOURCEDATA and not name.startswith("."))
            waiting += [path for name in inner if os.path.islink(path := Path(folder, name))]  # noqa: PTH114 (it may raise)
            yield Path(folder), sorted(name for name in names if not name.startswith("."))


def nifti_files(base: Path, closed: list[str] | None = None) -> list[Path]:
    """The NIfTI files among them, as absolute paths, sorted; see :func:`folders_below`."""
    found = folders_below(base, closed)
    return sorted(folder / name for folder, names in found for name in names if is_nifti_name(name))
