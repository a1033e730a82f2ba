"""Scans of any folder, BIDS or not, and of single files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from ..datasets.sessions import anat_folders
from ..datasets.walk import nifti_files
from ..errors import MrtransError
from ..scan.contrasts import Contrast, guess_contrast, names_anything, names_mask
from ..scan.nifti import stem
from ..transformation.names import is_result
from ..wording import plural
from .plan import Scan, find_scans

#: A folder with more NIfTI files than these is not gone through.
MOST_FILES = 20000


def is_bids(folder: Path) -> bool:
    """Whether a folder has ``anat`` folders of subjects."""
    return bool(anat_folders(folder, []))


def find_any(folder: Path, source: Contrast, say: Callable[[str], None]) -> tuple[list[Scan], bool]:
    """All scans of one contrast in a folder, sorted, and whether it is BIDS.

    In other folders the names tell the contrast; where none of them tells any, all files are taken. Results of this
    package, masks by their names, what is below ``derivatives``, and hidden files are no scans.

    Args:
        folder: The data set.
        source: The contrast.
        say: Told what is left out or assumed.

    Raises:
        MrtransError: there is no such folder, or no such scan in it.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise MrtransError(f"'{folder}' {what}; choose a folder of NIfTI files.")
    if is_bids(folder):
        return find_scans(folder, source, say), True
    root = folder.resolve()
    closed: list[str] = []
    found = nifti_files(root, closed)
    for line in closed:
        say(f"{line}.")
    files = [path for path in found if _may_be_scan(path.relative_to(root)) and not is_result(path)]
    if not files:
        also = f" ({closed[0]})" if closed else ""
        raise MrtransError(f"'{folder}' holds no NIfTI files (.nii, .nii.gz); choose another folder{also}.")
    if len(files) > MOST_FILES:
        raise MrtransError(f"'{folder}' holds {len(files)} NIfTI files; choose a smaller folder.")
    told = {path: guess_contrast(path.name) for path in files}
    chosen = [path for path in files if told[path] is source]
    if not chosen and not any(contrast or names_anything(path.name) for path, contrast in told.items()):
        say(f"The names of these {len(files)} files tell no contrast; all were taken as {source}.")
        chosen = files
    if not chosen:
        count = Counter(str(contrast or "unknown") for contrast in told.values())
        there = ", ".join(f"{number} {name}" for name, number in count.most_common())
        raise MrtransError(
            f"'{folder}' holds no {source} by the names of its files, only {there}; choose another contrast."
        )
    unknown = [] if chosen is files else [path for path in files if told[path] is None]
    if unknown:
        say(f"{plural(len(unknown), 'file')} of unknown contrast left out, e.g. '{unknown[0].name}'.")
    return _distinct(((path, path.parent.relative_to(root), stem(path)) for path in chosen), say), False


def scans_of(files: Iterable[tuple[str, Path]]) -> list[Scan]:
    """Scans of files, whose results all go into one folder.

    Args:
        files: What each is called, and where it lies.

    Raises:
        MrtransError: two have one name.
    """
    scans: dict[str, Scan] = {}
    for name, path in files:
        if name.casefold() in scans:
            raise MrtransError(f"Two images are called '{name}', and so would be their results; rename one of them.")
        scans[name.casefold()] = _scan(path, Path(), name)
    return list(scans.values())


def _may_be_scan(path: Path) -> bool:
    return "derivatives" not in path.parts and not names_mask(path.name)


def _distinct(found: Iterable[tuple[Path, Path, str]], say: Callable[[str], None]) -> list[Scan]:
    scans: dict[Path, Scan] = {}
    for path, folder, name in found:
        first = scans.setdefault(folder / name, _scan(path, folder, name))
        if first.path != path:
            say(f"'{path.name}' is left out: '{first.path.name}' has the same name.")
    return list(scans.values())


def _scan(path: Path, folder: Path, name: str) -> Scan:
    return Scan(path, "", "", folder, name)
