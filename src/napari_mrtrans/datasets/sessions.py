"""Which files belong together: the contrasts of one person at one visit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import MrtransError
from ..scan.contrasts import BIDS_SUFFIX, Contrast, guess_contrast
from ..scan.volume import NIFTI_SUFFIXES


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


def anat_files(anat: Path) -> dict[Contrast, Path]:
    """The first file of each contrast in a BIDS ``anat`` folder."""
    return {contrast: found[0] for contrast in BIDS_SUFFIX if (found := anat_images(anat, contrast))}


def anat_images(anat: Path, contrast: Contrast) -> list[Path]:
    """All files of one contrast in a BIDS ``anat`` folder.

    An image with contrast agent (BIDS entity ``ce``) is another contrast under the same suffix.
    """
    found = anat.glob(f"*_{BIDS_SUFFIX[contrast]}.nii*")
    return sorted(path for path in found if path.name.endswith(NIFTI_SUFFIXES) and "_ce-" not in path.name)


def anat_folders(folder: Path) -> list[tuple[Path, str, str]]:
    """Every ``anat`` folder in a BIDS folder (whole, of a subject or a visit) with its subject and session.

    A derivative of these scans (masks, earlier results) is no scan.
    """
    folder = folder.resolve()
    return [
        (anat, subject, _entity("ses", str(anat)))
        for anat in sorted({*folder.glob("**/anat"), *([folder] if folder.name == "anat" else [])})
        if "derivatives" not in anat.relative_to(folder).parts and (subject := _entity("sub", str(anat)))
    ]


def find_sessions(inputs: list[Path]) -> list[RawSession]:
    """Sessions in what the user named: NIfTI files of one session, or BIDS folders (whole, of a subject or a visit).

    Raises:
        MrtransError: nothing is there, a contrast is unknown or there twice, or files and folders are mixed.
    """
    for path in inputs:
        if not path.exists():
            raise MrtransError(f"'{path}' does not exist.")
    folders = [path for path in inputs if path.is_dir()]
    if folders and len(folders) < len(inputs):
        raise MrtransError("Give either the files of one session or BIDS folders, not both.")
    if not folders:
        return [_session_of_files(inputs)]
    found = [session for folder in folders for session in _sessions_below(folder)]
    if not found:
        raise MrtransError(f"'{folders[0]}' holds no BIDS scans (sub-*/anat/*_T1w.nii.gz …).")
    return found


def _sessions_below(folder: Path) -> list[RawSession]:
    return [
        RawSession(subject, session, files)
        for anat, subject, session in anat_folders(folder)
        if (files := anat_files(anat))
    ]


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
    first = paths[0].name
    stem = re.sub(r"\.nii(\.gz)?$", "", first, flags=re.IGNORECASE)
    subject = _entity("sub", first) or "sub-" + re.sub(r"[^A-Za-z0-9]", "", _without_contrast(stem) or stem)
    return RawSession(subject, _entity("ses", first), files)


def _without_contrast(stem: str) -> str:
    """A file's stem without the part, last as a rule, that tells its contrast."""
    parts = re.split(r"[_-]", stem)
    return "".join(part for part in parts if guess_contrast(part) is None)


def _entity(key: str, text: str) -> str:
    """``sub-01`` for the key ``sub``: the last one in a path or name, or empty."""
    found = re.findall(rf"(?<![A-Za-z0-9]){key}-[A-Za-z0-9+]+", text)
    return found[-1] if found else ""
