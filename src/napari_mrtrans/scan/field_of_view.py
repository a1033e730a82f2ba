"""In which unit a grid counts: the one its header states where that makes a head of it, else millimetres."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError

#: In mm: the second longest side of a field of view is at least the first (a slab is thin along one axis only), the
#: longest at most the second. Heads are 120 to 300 mm, brains of newborns 70; a head in centimetres looks like 25 mm.
HEAD_MM = (40.0, 500.0)
#: Millimetres in each unit that a NIfTI header knows.
UNITS = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 1e-3}


def stated_unit(header: nib.Nifti1Header | None) -> str:
    """One of :data:`UNITS`."""
    try:
        return "mm" if header is None else str(header.get_xyzt_units()[0])
    except KeyError:  # a code that NIfTI does not know
        return "unknown"


def millimetres(affine: NDArray[np.float64], shape: tuple[int, ...], unit: str) -> float:
    """How many millimetres one unit of ``affine`` is: as stated if a head fits in there, else 1.

    Files that say micrometre or metre and are in millimetres exist, and such that mean it.
    """
    stated = UNITS.get(unit, 1.0)
    return stated if holds_a_head(sides(affine, shape) * stated) else 1.0


def sides(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Of a grid's field of view along its array axes, in the unit of the affine."""
    return np.asarray(nib.affines.voxel_sizes(affine) * shape[:3], dtype=np.float64)


def holds_a_head(sides_mm: NDArray[np.float64]) -> bool:
    """Whether a field of view may be that of a head, or of a slab of one."""
    _, middle, longest = np.sort(sides_mm)
    return bool(middle >= HEAD_MM[0] and longest <= HEAD_MM[1])


def check_field_of_view(affine: NDArray[np.float64], shape: tuple[int, ...], name: str, unit: str = "mm") -> None:
    """See that a grid in millimetres is that of a head.

    Raises:
        VolumeError: it is not; the text names its size and the one expected.
    """
    size = sides(affine, shape)
    if holds_a_head(size):
        return
    stated = "" if UNITS.get(unit, 1.0) == 1.0 else f", nor is it in {unit}, which its header states"
    raise VolumeError(
        f"'{name}' is {' x '.join(f'{side:.4g}' for side in size)} mm large, which no head is{stated}: "
        f"{HEAD_MM[0]:.0f} to {HEAD_MM[1]:.0f} mm are expected. Repair the voxel size in its header."
    )
