"""Which volume is meant where a folder holds several."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import VolumeError
from ..scan.contrasts import Contrast
from ..scan.nifti import missing_line
from .files import FOLDERS, MOST_FILES, dicom_folders, files_in, folders_in, is_dicom_file, listed
from .header import Header, read_header, unreadable_line
from .stack import Stack, stacks_of


def stacks_at(path: Path) -> list[Stack]:
    """All volumes in a folder and below it; of a file, those of its series.

    Raises:
        VolumeError: there is no DICOM, or none that SimpleITK can read.
    """
    if line := missing_line(path):
        raise VolumeError(line)
    wanted = ""
    if not path.is_dir():
        header = read_header(path) if is_dicom_file(path) else None
        if header is None:
            raise VolumeError(unreadable_line(path))
        wanted = header.text("0020|000e")
    folders = dicom_folders(path) if path.is_dir() else [path.parent, *_beside(path.parent, wanted)]
    found: dict[str, dict[Path, list[Header]]] = {}
    for folder in folders:
        for file in files_in(folder):
            header = read_header(file) if is_dicom_file(file) else None
            if header is not None:
                found.setdefault(header.text("0020|000e"), {}).setdefault(folder, []).append(header)
    if not found:
        raise VolumeError(unreadable_line(path))
    if path.is_dir():
        return [stack for parts in found.values() for stack in _volumes([*parts.values()])]
    volumes = _volumes([*found[wanted].values()])
    return [stack for stack in volumes if any(file.parent == path.parent for file in stack.files)]  # not a copy beside


def _beside(folder: Path, series: str) -> list[Path]:
    """The folders next to one of a disc that go on with its series, as their first or last file shows; of many the
    nearest by name."""
    every = folders_in(folder.absolute().parent)
    own = next((k for k, path in enumerate(every) if path.name == folder.absolute().name), 0)
    nearest = sorted(range(len(every)), key=lambda k: abs(k - own))[: FOLDERS + 1]
    there = [every[k] for k in nearest if k != own]
    ends = {path: files[:: max(len(files) - 1, 1)] for path in there if len(files := listed(path)) <= MOST_FILES}
    headers = ((path, read_header(file)) for path, files in ends.items() for file in files if is_dicom_file(file))
    return list(dict.fromkeys(path for path, header in headers if header and header.text("0020|000e") == series))


def _volumes(folders: list[list[Header]]) -> list[Stack]:
    """Of one series, which may lie in several folders, as on discs with so many files in each; copies stay apart."""
    headers = [header for those in folders for header in those]
    images = {header.text("0008|0018") for header in headers} - {""}
    together = stacks_of(headers) if len(images) == len(headers) else []
    if not together or any(stack.refusal for stack in together):
        return [stack for those in folders for stack in stacks_of(those)]
    return together


def choose(path: Path, contrast: Contrast | None) -> tuple[Stack, str]:
    """The one volume that is meant, and a line that names those left out; empty where there are none.

    Args:
        path: A folder, or one file of a series.
        contrast: What it is to show; None: whatever the headers say.

    Raises:
        VolumeError: none can be used, or several may be meant; the text names them and says how to choose.
    """
    stacks = stacks_at(path)
    if len(stacks) == 1:
        chosen = stacks[0]
    else:
        chosen = _only(path, candidates(stacks), stacks, contrast)
    if chosen.refusal:
        raise VolumeError(f"'{path}' {chosen.refusal}.")
    others = [stack.line for stack in stacks if stack is not chosen]
    left = f"Of {len(stacks)} series, {chosen.line} was taken; left out: {_listed(others)}." if others else ""
    return chosen, left


def candidates(stacks: list[Stack]) -> list[Stack]:
    """Those that may be a structural image of a brain; computed ones only where there is nothing else."""
    usable = [stack for stack in stacks if stack.usable]
    return [stack for stack in usable if not stack.derived] or usable


def series_code(header: Header) -> str:
    """A few letters that tell series apart, where nothing may say whose they are."""
    return hashlib.blake2b(header.text("0020|000e").encode(), digest_size=3).hexdigest()


def _only(path: Path, usable: list[Stack], stacks: list[Stack], contrast: Contrast | None) -> Stack:
    if not usable:
        raise VolumeError(
            f"None of the {len(stacks)} series in '{path}' is a structural MR of a brain: "
            f"{_listed([stack.line for stack in stacks])}. Give a file of the one you mean."
        )
    fitting = usable
    if contrast is not None:
        fitting = [stack for stack in usable if stack.contrast is contrast] or [
            stack for stack in usable if stack.contrast is None
        ]
        if not fitting:
            raise VolumeError(f"'{path}' holds no {contrast}, only {_listed([stack.line for stack in usable])}.")
    if len(fitting) == 1:
        return fitting[0]
    told = {stack.contrast for stack in fitting}
    by_name = "its contrast (--from), or " if len(told) == len(fitting) and None not in told else ""
    raise VolumeError(
        f"'{path}' holds several series: {_listed([stack.line for stack in fitting])}. Give {by_name}the folder or a "
        "file of the one you mean."
    )


def _listed(lines: list[str], most: int = 12) -> str:
    more = f" and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + more
