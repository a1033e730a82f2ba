"""Sessions, and the reader of plain BIDS: ``sub-*/[ses-*/]anat/*_{T1w,T2w,PDw,FLAIR}.nii.gz``.

Masks lie under ``derivatives/masks/sub-*/[ses-*/]anat/*_mask.nii.gz``. Other derivatives are left out, and so are
images with contrast agent (BIDS entity ce), which are another contrast under the same suffix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..scan.contrasts import Contrast
from ..scan.volume import Volume, read_mask
from .layout import NIFTI, Place, Shares

EXAMPLE = "sub-01/anat/sub-01_T1w.nii.gz"
SHARES: Shares | None = None

_NAME = re.compile(
    r"(?P<masks>derivatives/masks/)?(?P<subject>sub-[^/]+)/(?:(?P<session>ses-[^/]+)/)?(?:[^/]+/)*anat/"
    rf"(?P<stem>[^/]+)_(?P<suffix>T1w|T2w|PDw|FLAIR|mask){NIFTI}"
)


@dataclass(frozen=True)
class Session:
    """The contrasts of one person at one visit, all on one grid.

    Attributes:
        subject: ``sub-XX``, or ``folder/sub-XX`` when several folders are read; the unit of splitting.
        session: ``ses-X`` or empty.
        files: One file for each contrast present.
        mask: Expert lesion or tumour mask on the same grid, if any.
        site: Hospital or centre, if known.
    """

    subject: str
    session: str
    files: dict[Contrast, Path] = field(hash=False)
    mask: Path | None
    site: str = ""

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
                    f"{self.name}: '{volume.name}' and '{first.name}' lie on different grids; bring them onto one with "
                    "napari-mrtrans prepare."
                )
        return volumes, read_mask(self.mask, first) if self.mask else None


def place(path: str) -> Place | None:
    """What a path below the data folder says; None: not of this data set."""
    name = _NAME.match(path)
    if not name or (name["masks"] and name["suffix"] != "mask"):
        return None
    unused = name["suffix"] == "mask" or "_ce-" in name["stem"]
    contrast = None if unused else Contrast.parse(name["suffix"])
    return Place(name["subject"], name["session"] or "", contrast, mask=bool(name["masks"]))
