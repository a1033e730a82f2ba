"""A session seen from the side, to train on its coronal or sagittal slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..scan.contrasts import Contrast
from ..scan.field_of_view import millimetres, sides, stated_unit
from ..scan.grid import Orientation
from ..scan.nifti import open_nifti
from ..scan.planes import LONGEST_MM, SHORTEST_MM, Plane, seen_from
from ..scan.volume import Volume, check_affine
from .bids import PLANE_MARK, Session


@dataclass(frozen=True)
class TurnedSession:
    """The slices of ``session`` in a plane other than the axial one, where axial ones are looked for."""

    session: Session
    plane: Plane

    @property
    def name(self) -> str:
        """The session's, and the plane."""
        return f"{self.session.name}{PLANE_MARK}{self.plane}"

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """The session's."""
        return self.session.contrasts

    @property
    def simulated(self) -> bool:
        """It is not."""
        return False

    def stamp(self) -> list[Any]:
        """The session's, and the plane."""
        return [*self.session.stamp(), ["plane", self.plane]]

    def load(self) -> tuple[dict[Contrast, Volume], NDArray[np.bool_] | None]:
        """The session's images and its mask, turned."""
        volumes, mask = self.session.load()
        turned = {contrast: seen_from(volume, self.plane) for contrast, volume in volumes.items()}
        if mask is None or not mask.any():
            return turned, None
        first = next(iter(volumes.values()))
        marked = seen_from(Volume(mask.astype(np.float32), first.affine, name="mask"), self.plane)
        return turned, marked.data > 0


def in_planes(
    sessions: Iterable[Session], planes: Sequence[Plane], left_out: list[str] | None = None
) -> list[Session | TurnedSession]:
    """The sessions seen in each of ``planes``; from the side, only those of small voxels (:data:`LONGEST_MM`) in a
    high field of view (:data:`SHORTEST_MM`), whatever the head fills of it.

    ``left_out`` is given a line for each of the others.

    Raises:
        VolumeError: a file cannot be read, or has no valid grid.
    """
    known = list(sessions)
    from_side = [plane for plane in planes if plane != "axial"]
    reasons = {session: _useless_from_side(session) for session in known} if from_side else {}
    if left_out is not None:
        slices = f"{' and '.join(from_side)} slices"
        left_out += [f"{slices} of {session.name}: {reason}" for session, reason in reasons.items() if reason]
    out: list[Session | TurnedSession] = []
    for plane in planes:
        out += known if plane == "axial" else [TurnedSession(s, plane) for s, reason in reasons.items() if not reason]
    return out


def _useless_from_side(session: Session) -> str:
    """Why a session's slices from the side show too little; empty where they do not."""
    path = next(iter(session.files.values()))
    image = open_nifti(path)
    check_affine(image.affine, path.name)
    factor = millimetres(image.affine, image.shape[:3], stated_unit(image.header))
    longest = float(nib.affines.voxel_sizes(image.affine)[:3].max()) * factor
    if longest > LONGEST_MM:
        return (
            f"its voxels are {longest:.1f} mm long, and those of more than {LONGEST_MM:g} mm show too little from the "
            "side"
        )
    height = float(sides(image.affine, image.shape)[Orientation.from_affine(image.affine).order[0]]) * factor
    if height < SHORTEST_MM:
        return (
            f"its field of view is {height:.1f} mm high, and slabs of less than {SHORTEST_MM:g} mm are strips from the "
            "side"
        )
    return ""
