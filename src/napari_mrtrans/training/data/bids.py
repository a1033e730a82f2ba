"""Reader of plain BIDS: ``sub-*/[ses-*/]anat/*_{T1w,T2w,PDw,FLAIR}.nii.gz``, masks under ``derivatives/masks``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...contrasts import Contrast
from ...errors import RecipeError
from ...volume import Volume, read_mask

_SUFFIX = {Contrast.T1: "T1w", Contrast.T2: "T2w", Contrast.PD: "PDw", Contrast.FLAIR: "FLAIR"}


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
    files: dict[Contrast, Path] = field(hash=False)
    mask: Path | None

    @property
    def name(self) -> str:
        """Subject and session."""
        return f"{self.subject}/{self.session}" if self.session else self.subject

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Those present."""
        return tuple(self.files)

    def stamp(self) -> list[Any]:
        """Path, size and time of each file."""
        paths = [*self.files.values(), *([self.mask] if self.mask else [])]
        return [[str(path.resolve()), (stat := path.stat()).st_size, stat.st_mtime_ns] for path in paths]

    def load(self) -> tuple[dict[Contrast, Volume], NDArray[np.bool_] | None]:
        """The images, and the mask if there is one.

        Raises:
            RecipeError: the contrasts lie on different grids.
            VolumeError: a file cannot be used.
        """
        volumes = {contrast: Volume.load(path, contrast) for contrast, path in self.files.items()}
        first = next(iter(volumes.values()))
        for volume in volumes.values():
            if volume.data.shape != first.data.shape or not np.allclose(volume.affine, first.affine, atol=1e-3):
                raise RecipeError(
                    f"{self.name}: '{volume.name}' and '{first.name}' lie on different grids; co-register them first."
                )
        return volumes, read_mask(self.mask, first) if self.mask else None


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
    files: dict[Contrast, Path] = {}
    for contrast, suffix in _SUFFIX.items():
        # An image with contrast agent (BIDS entity ce) is another contrast under the same suffix.
        hits = sorted(
            path
            for path in anat.glob(f"*_{suffix}.nii*")
            if path.name.endswith((".nii", ".nii.gz")) and "_ce-" not in path.name
        )
        if hits:
            files[contrast] = hits[0]
    masks = sorted((base / "derivatives" / "masks").joinpath(*parts).glob("*_mask.nii*"))
    return Session(
        prefix + parts[0], parts[1] if parts[1].startswith("ses-") else "", files, masks[0] if masks else None
    )


def split_sessions(
    sessions: list[Session], test: tuple[str, ...], validation: tuple[str, ...], fraction: float, seed: int
) -> dict[str, list[Session]]:
    """Split by subject into ``train``, ``validation`` and ``test``; ``train`` may be left empty.

    Args:
        sessions: What was found.
        test: Subjects held out for the report.
        validation: Subjects for monitoring.
        fraction: When neither is given: the share of subjects drawn for each of the two.
        seed: Of that draw.

    Raises:
        RecipeError: a named subject is not there, or is in both lists.
    """
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
    return chosen
