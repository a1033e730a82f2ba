"""Which files belong together: the contrasts of one person at one visit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MrtransError
from ..scan.contrasts import BIDS_SUFFIX, Contrast, guess_contrast
from ..scan.nifti import is_nifti_name, missing_line, stem
from .bids import is_made, is_other_image
from .layout import PREPARED
from .walk import folders_below

#: Before the reason in lines on files of a session that is used without them.
_LEFT_OUT = " left out, because "


@dataclass(frozen=True)
class RawSession:
    """Scans to be prepared together.

    Attributes:
        subject: ``sub-XX``.
        session: ``ses-X`` or empty.
        files: One for each contrast, each on its own grid.
    """

    subject: str
    session: str
    files: dict[Contrast, Path]

    @property
    def stem(self) -> str:
        """What the names of its files start with."""
        return f"{self.subject}_{self.session}" if self.session else self.subject

    @property
    def folder(self) -> Path:
        """Where its files go, below the root of a BIDS folder."""
        return Path(self.subject, self.session, "anat")


def anat_images(anat: Path, contrast: Contrast) -> list[Path]:
    """All files of one contrast in a BIDS ``anat`` folder.

    An image with contrast agent (BIDS entity ``ce``, or a T1 with ``acq-gd`` and such) is another contrast under the
    same suffix, the phase, real or imaginary part of one (``part``) is no image of the anatomy, and one that a model
    made is no scan; nor is what is hidden, such as what macOS keeps beside each file (``._sub-01_T1w.nii.gz``).
    """
    names = (path for path in anat.iterdir() if is_nifti_name(path.name) and not path.name.startswith("."))
    found = (path for path in names if not is_made(path.name) and not is_other_image(path.name))
    return sorted((path for path in found if stem(path).endswith(f"_{BIDS_SUFFIX[contrast]}")), key=by_preference)


def by_preference(path: Path) -> tuple[bool, bool, str]:
    """Sorts images of one contrast: raw before prepared ones, a special acquisition (``acq-``) last, then by name."""
    return PREPARED in path.name, "_acq-" in path.name, path.name


def is_prepared_in(path: Path, out: Path | None) -> bool:
    """Whether ``napari-mrtrans prepare`` has written an image, by its name and the record beside it, below ``out``."""
    start, mark, _ = path.name.partition(PREPARED)
    # The folder decides: with git-annex the file itself is a link to where the data set above keeps all of them.
    if out is None or not mark or not path.parent.resolve().is_relative_to(out.resolve()):
        return False
    return path.with_name(f"{start}_desc-preproc.json").is_file()


def anat_folders(folder: Path, closed: list[str] | None = None) -> list[tuple[Path, str, str]]:
    """Every ``anat`` folder in a BIDS folder (whole, of a subject or a visit) with its subject and session.

    A derivative of these scans (masks, earlier results) is no scan. ``closed``: as of :func:`.walk.folders_below`.
    """
    folder = folder.resolve()
    found = []
    for anat in sorted(below for below, _ in folders_below(folder, closed) if below.name == "anat"):
        below = anat.relative_to(folder).parts
        subject = _last("sub-", below) or _last("sub-", folder.parts)
        # A visit's folder lies in its subject's, or (of some archives) the subjects' in the visit's.
        visit = _last("ses-", below) or _last("ses-", folder.parts[_after(subject, folder.parts) :])
        if subject and "derivatives" not in below:
            found.append((anat, subject, visit))
    return found


def _last(start: str, parts: Sequence[str]) -> str:
    return next((part for part in reversed(parts) if part.startswith(start) and part != start), "")


def _after(part: str, parts: Sequence[str]) -> int:
    """Where what comes after the last ``part`` begins; the end, if it is not there."""
    return len(parts) - parts[::-1].index(part) if part in parts else len(parts)


def find_sessions(inputs: list[Path], out: Path | None = None) -> tuple[list[RawSession], list[str]]:
    """Sessions in what the user named, and one line for what is left out of each.

    Args:
        inputs: NIfTI files of one session, or BIDS folders (whole, of a subject or a visit).
        out: What ``napari-mrtrans prepare`` has written there is passed by, and nothing else need be in the folders.

    Raises:
        MrtransError: nothing is there, a contrast is unknown or there twice, files are of several people or visits, or
            files and folders are mixed.
    """
    for path in inputs:
        if line := missing_line(path):
            raise MrtransError(line)
    folders = [path for path in inputs if path.is_dir()]
    if folders and len(folders) < len(inputs):
        raise MrtransError("Give either the files of one session or BIDS folders, not both.")
    if not folders:
        return [_session_of_files(inputs)], []
    sessions: list[RawSession] = []
    left_out: list[str] = []
    passed_by = False
    for folder in folders:
        closed: list[str] = []
        for anat, subject, session in anat_folders(folder, closed):
            there = {contrast: anat_images(anat, contrast) for contrast in BIDS_SUFFIX}
            found = {c: [path for path in images if not is_prepared_in(path, out)] for c, images in there.items()}
            passed_by = passed_by or found != there
            files = {contrast: images[0] for contrast, images in found.items() if images}
            if not files:
                continue
            sessions.append(RawSession(subject, session, files))
            for images in found.values():
                left_out += left_out_lines(sessions[-1].stem, images, "give the files themselves")
        left_out += closed
    if not sessions and not passed_by:
        also = f"; {left_out[0]}" if left_out else ""
        raise MrtransError(
            f"'{folders[0]}' holds no BIDS scans (sub-*/anat/*_T1w.nii.gz …){also}. Give another folder."
        )
    return sessions, left_out


def left_out_lines(session: str, images: list[Path], remedy: str) -> list[str]:
    """What is said of several images of one contrast in one session, of which the first is taken."""
    if len(images) < 2:
        return []
    others = ", ".join(path.name for path in images[1:])
    return [
        f"{session}: {others}{_LEFT_OUT}'{images[0].name}' is of the same contrast and comes first by name "
        f"(acq- last); to take another, {remedy}."
    ]


def noted(line: str) -> str:
    """A line on what is left out of a data folder, as it is told: of a session that is used it is a note."""
    return f"note {line}" if _LEFT_OUT in line else f"skipped {line}"


def versions_line(session: str, others: list[Path], taken: list[Path]) -> list[str]:
    """What is said of contrasts that a session has only in another version, raw or prepared, than those taken."""
    if not others:
        return []
    names = ", ".join(sorted(path.name for path in others))
    return [f"{session}: {names}{_LEFT_OUT}raw and prepared images do not mix and '{taken[0].name}' is taken."]


def further_masks_line(session: str, masks: list[Path]) -> list[str]:
    """What is said of several masks of one session, of which the first is taken."""
    others = ", ".join(mask.name for mask in masks[1:])
    return [f"{session}: {others}{_LEFT_OUT}'{masks[0].name}' is its mask"] if others else []


def check_one_person(paths: list[Path]) -> None:
    """See by their names that files are of one person and one visit.

    Raises:
        MrtransError: they are of several.
    """
    for key in ("sub", "ses"):
        _one(key, paths)


def _session_of_files(paths: list[Path]) -> RawSession:
    files: dict[Contrast, Path] = {}
    for path in paths:
        contrast = guess_contrast(path.name)
        if contrast is None:
            raise MrtransError(
                f"The contrast of '{path.name}' is not known from its name; rename it, e.g. …_T1w.nii.gz."
            )
        if contrast in files:
            raise MrtransError(
                f"'{files[contrast].name}' and '{path.name}' are both {contrast}; give one of each contrast."
            )
        files[contrast] = path
    subject, session = (_one(key, paths) for key in ("sub", "ses"))
    name = stem(paths[0])
    subject = subject or "sub-" + re.sub(r"[^A-Za-z0-9]", "", _without_contrast(name) or name)
    return RawSession(subject, session, files)


def _one(key: str, paths: Sequence[Path]) -> str:
    """The entity that files have in their names, else in their folders'; empty where none has one.

    Raises:
        MrtransError: they have different ones.
    """
    known: dict[str, Path] = {}
    for path in paths:
        in_folder = next((part for part in reversed(path.absolute().parent.parts) if entity(key, part) == part), "")
        if found := entity(key, path.name) or in_folder:
            known.setdefault(found, path)
    if len(known) > 1:
        (one, first), (other, second), *_ = known.items()
        raise MrtransError(
            f"'{first.name}' is of {one} and '{second.name}' of {other}; give the files of one person and one visit."
        )
    return next(iter(known), "")


def _without_contrast(name: str) -> str:
    """A file's stem without the part, last as a rule, that tells its contrast."""
    parts = re.split(r"[_-]", name)
    return "".join(part for part in parts if guess_contrast(part) is None)


def entity(key: str, name: str) -> str:
    """``sub-01`` for the key ``sub`` in the name of a file, folder or layer: the last one; empty where there is none.

    Labels may be what BIDS does not allow (``sub-CC-0001``, ``sub-é5``), up to what tells a contrast, or no number
    after one (``sub-01-T1``, ``sub-01-brain``); what comes first belongs to them anyhow (``ses-T1``).
    """
    found = re.findall(rf"(?<![^\W_]){key}-([^\W_](?:[^\W_]|[+-])*)", name)
    label: list[str] = []
    for part in found[-1].split("-") if found else ():
        numbered = any(letter.isdigit() for letter in "".join(label))
        if label and (guess_contrast(part) is not None or (numbered and not any(map(str.isdigit, part)))):
            break
        label.append(part)
    return f"{key}-{'-'.join(label)}" if label else ""
