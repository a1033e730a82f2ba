"""Which volume is meant where a folder holds several."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ..errors import VolumeError
from ..scan.contrasts import Contrast
from ..scan.nifti import missing_line
from ..wording import and_more
from .damaged import named_series, unreadable_beside
from .files import FOLDERS, MOST_FILES, dicom_folders, files_in, folders_in, is_dicom_file, listed
from .header import Header, read_header, unreadable_line
from .stack import MULTI_FRAME, Stack, stacks_of

#: Series that a line names.
LISTED = 12


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
    damaged: dict[Path, frozenset[str]] = {}
    for folder in folders:
        there = files_in(folder)
        images = {file: None for file in there if is_dicom_file(file)}
        damaged |= {file: frozenset() for file in unreadable_beside(there, images)}
        for file in images:
            header = read_header(file)
            if header is not None:
                found.setdefault(header.text("0020|000e"), {}).setdefault(folder, []).append(header)
            elif (named := named_series(file)) is not None:
                damaged[file] = named
    if not found:
        raise VolumeError(unreadable_line(path))
    volumes = {
        series: _volumes([*parts.values()], *_lost(series, found, damaged))
        for series, parts in found.items()
        if series == wanted or path.is_dir()
    }
    if path.is_dir():
        gone = [file for file, named in damaged.items() if named and named.isdisjoint(found)]
        return [stack for stacks in volumes.values() for stack in stacks] + _unread(gone)
    return [stack for stack in volumes[wanted] if any(file.parent == path.parent for file in stack.files)]  # no copy


def _lost(
    series: str, found: dict[str, dict[Path, list[Header]]], damaged: dict[Path, frozenset[str]]
) -> tuple[list[Path], list[Path]]:
    """Files of a series that cannot be read, and those that may be of it or of another beside it: they do not tell."""
    lost = [file for file, named in damaged.items() if series in named]
    beside: list[Path] = []
    for file in (file for file, named in damaged.items() if not named and file.parent in found[series]):
        alone = sum(file.parent in parts for parts in found.values()) == 1
        (lost if alone else beside).append(file)
    return lost, beside


def _unread(files: list[Path]) -> list[Stack]:
    """What stands for series of which no file can be read."""
    if not files:
        return []
    return [_refused(Stack((), Header(files[0], {}), None, ""), files)]


def _refused(stack: Stack, lost: list[Path]) -> Stack:
    """The stack, which must not be taken for all of its volume where some of its files cannot be read."""
    if not lost:
        return stack
    refusal = (
        f"has {len(lost)} of {len(stack.files) + len(lost)} files that cannot be read, such as '{lost[0].name}': "
        "empty, damaged, closed to you, a link that leads nowhere, or compressed in a way that SimpleITK does not "
        "know; copy or export it again, or convert it with dcm2niix"
    )
    return replace(stack, refusal=refusal, lost=len(lost))


def _beside(folder: Path, series: str) -> list[Path]:
    """The folders next to one of a disc that go on with its series, as their first or last file shows; of many the
    nearest by name."""
    every = folders_in(folder.absolute().parent)
    own = next((k for k, path in enumerate(every) if path.name == folder.absolute().name), 0)
    nearest = sorted(range(len(every)), key=lambda k: abs(k - own))[: FOLDERS + 1]
    there = [every[k] for k in nearest if k != own]
    ends = {path: files[:: max(len(files) - 1, 1)] for path in there if len(files := listed(path)) <= MOST_FILES}
    tries = ((path, file) for path, files in ends.items() for file in files if is_dicom_file(file))
    return list(dict.fromkeys(path for path, file in tries if _is_of(file, series)))


def _is_of(file: Path, series: str) -> bool:
    header = read_header(file)
    return series in (named_series(file) or ()) if header is None else header.text("0020|000e") == series


def _volumes(folders: list[list[Header]], lost: list[Path], beside: list[Path]) -> list[Stack]:
    """Of one series, which may lie in several folders, as on discs with so many files in each; copies stay apart.

    ``lost`` are its files that cannot be read, ``beside`` those that may be of it; those of a copy do not matter.
    """
    headers = [header for those in folders for header in those]
    images = {header.text("0008|0018") for header in headers} - {""}
    distinct = len(images) == len(headers)
    stacks = stacks_of(headers) if distinct else []
    if not stacks or any(stack.refusal for stack in stacks):
        stacks = [stack for those in folders for stack in stacks_of(those)]
    own = [{file.parent for file in stack.files} for stack in stacks]
    return [
        replace(
            _refused(stack, [one for one in lost if distinct or one.parent in folders_of]),
            doubtful=sum(one.parent in folders_of for one in beside),
        )
        for stack, folders_of in zip(stacks, own, strict=True)
    ]


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


def damaged(stacks: list[Stack]) -> list[Stack]:
    """Those that might be one, had all of their files been read."""
    return [stack for stack in stacks if stack.lost and not stack.doubt]


def series_code(header: Header) -> str:
    """A few letters that tell series apart, where nothing may say whose they are."""
    return hashlib.blake2b(header.text("0020|000e").encode(), digest_size=3).hexdigest()


def _only(path: Path, usable: list[Stack], stacks: list[Stack], contrast: Contrast | None) -> Stack:
    if not usable and (spoilt := damaged(stacks)):
        return spoilt[0]
    if not usable:
        remedy = "Give a file of the one"
        if any(stack.doubt == MULTI_FRAME for stack in stacks):
            remedy = "Convert what is multi-frame with dcm2niix and give the NIfTI file"
        raise VolumeError(
            f"None of the {len(stacks)} series in '{path}' is a structural MR of a brain that can be read: "
            f"{_listed([stack.line for stack in stacks])}. {remedy} you mean."
        )
    fitting = usable
    if contrast is not None:
        fitting = [stack for stack in usable if stack.contrast is contrast] or [
            stack for stack in usable if stack.contrast is None
        ]
        spoilt = [stack for stack in damaged(stacks) if stack.contrast is contrast]
        if not fitting and spoilt:
            return spoilt[0]
        if not fitting:
            there = _listed([stack.line for stack in usable])
            raise VolumeError(f"'{path}' holds no {contrast}, only {there}. Give another folder, or what is there.")
    own = [stack for stack in fitting if path in stack.files]
    if len(fitting) == 1 or own:
        return (own or fitting)[0]
    told = {stack.contrast for stack in fitting}
    by_name = "its contrast (--from), or " if len(told) == len(fitting) and None not in told else ""
    raise VolumeError(
        f"'{path}' holds several series: {_listed([stack.line for stack in fitting])}. Give {by_name}the folder or a "
        "file of the one you mean."
    )


def _listed(lines: list[str]) -> str:
    more = and_more(len(lines) - LISTED)
    return "; ".join(lines[:LISTED]) + more
