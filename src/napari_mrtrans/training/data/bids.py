"""Reader of plain BIDS: ``sub-*/[ses-*/]anat/*_{T1w,T2w,PDw,FLAIR}.nii.gz``, masks under ``derivatives/masks``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...contrasts import Contrast
from ...errors import RecipeError
from ...prepare.sessions import anat_files


@dataclass(frozen=True)
class Session:
    """The contrasts of one person at one visit, all on one grid.

    Attributes:
        subject: ``sub-XX``, or ``folder/sub-XX`` when several folders are read; the unit of splitting.
        session: ``ses-X`` or empty.
        files: One file for each contrast present.
        mask: Expert lesion or tumour mask on the same grid, if any.
    """

    subject: str
    session: str
    files: dict[Contrast, Path]
    mask: Path | None

    @property
    def name(self) -> str:
        """Subject and session."""
        return f"{self.subject}/{self.session}" if self.session else self.subject


def read_bids(root: Path, folders: tuple[str, ...]) -> list[Session]:
    """All sessions below ``root``, sorted by name.

    Args:
        root: The ``--data`` folder.
        folders: BIDS folders below it; ``(".",)`` when it is one itself.

    Raises:
        RecipeError: a folder is missing or holds no ``sub-*`` with an ``anat`` folder.
    """
    sessions: list[Session] = []
    for folder in folders:
        base = root / folder
        if not base.is_dir():
            raise RecipeError(f"Data folder '{base}' does not exist; give the right one with --data.")
        prefix = "" if len(folders) == 1 else f"{folder}/"
        found = [_read_session(base, anat, prefix) for anat in sorted(base.glob("sub-*/**/anat")) if anat.is_dir()]
        if not found:
            raise RecipeError(f"'{base}' holds no BIDS subjects (sub-*/anat/*_T1w.nii.gz …).")
        sessions += [session for session in found if session.files]
    return sessions


def _read_session(base: Path, anat: Path, prefix: str) -> Session:
    parts = anat.relative_to(base).parts
    masks = sorted((base / "derivatives" / "masks").joinpath(*parts).glob("*_mask.nii*"))
    return Session(
        prefix + parts[0],
        parts[1] if parts[1].startswith("ses-") else "",
        anat_files(anat),
        masks[0] if masks else None,
    )


def split_sessions(
    sessions: list[Session], test: tuple[str, ...], validation: tuple[str, ...], fraction: float, seed: int
) -> dict[str, list[Session]]:
    """Split by subject into ``train``, ``validation`` and ``test``.

    Args:
        sessions: What was found.
        test: Subjects held out for the report.
        validation: Subjects for monitoring.
        fraction: When neither is given: the share of subjects drawn for each of the two.
        seed: Of that draw.

    Raises:
        RecipeError: a named subject is not there, is in both lists, or nothing is left to train on.
    """
    import numpy as np

    subjects = sorted({session.subject for session in sessions})
    for name in (*test, *validation):
        if name not in subjects:
            raise RecipeError(f"Held-out subject '{name}' is not in the data folder.")
    if both := set(test) & set(validation):
        raise RecipeError(f"Subject '{sorted(both)[0]}' is listed under both test and validation.")
    if not test and not validation and fraction > 0:
        order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
        count = max(1, round(fraction * len(subjects)))
        test, validation = tuple(order[:count]), tuple(order[count : 2 * count])
    chosen: dict[str, list[Session]] = {"train": [], "validation": [], "test": []}
    for session in sessions:
        part = "test" if session.subject in test else "validation" if session.subject in validation else "train"
        chosen[part].append(session)
    if not chosen["train"]:
        raise RecipeError("No subject is left to train on; name fewer under test and validation.")
    return chosen
