"""How a layer lies that no file has placed: by its voxel sizes as napari shows them, and by what the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pint import get_application_registry

#: Which array axis of a layer without an affine is taken as axial, where the user has said so.
AXIAL_KEY = "mrtrans_axial_axis"


def assumed_axis(metadata: Mapping[str, Any]) -> int:
    """The array axis that is taken as axial without an affine: what the user has chosen, else the first."""
    chosen = metadata.get(AXIAL_KEY, 0)
    return chosen if chosen in (0, 1, 2) else 0


def assumed_affine(scale: Sequence[float] | NDArray[np.floating], axial: int = 0) -> NDArray[np.float64]:
    """An affine for a 3-D layer that comes without one, from its voxel sizes as napari shows them.

    The other two axes are taken as anterior-posterior and left-right, drawn the usual way: anterior up and the
    patient's right on the left of the screen. A negative scale turns an axis on the screen.
    """
    row, column = (axis for axis in range(3) if axis != axial)
    affine = np.zeros((4, 4))
    affine[2, axial] = abs(float(scale[axial]))
    affine[1, row] = -float(scale[row])
    affine[0, column] = -float(scale[column])
    affine[3, 3] = 1.0
    return affine


def voxel_steps(
    scale: Sequence[float] | NDArray[np.floating], affine: NDArray[np.floating], units: Sequence[Any]
) -> NDArray[np.float64]:
    """Size of a voxel along each axis of the array in mm, negative where the axis is turned on the screen.

    Args:
        scale: Of the layer.
        affine: Of the layer, (axes + 1, axes + 1), applied after the scale.
        units: Of the layer, for each axis; what is no length (``pixel``, napari's default) counts as mm.
    """
    linear = np.asarray(affine, dtype=np.float64)[:-1, :-1] * np.asarray(scale, dtype=np.float64)
    main = np.take_along_axis(linear, np.abs(linear).argmax(axis=0)[None], axis=0)[0]
    return np.copysign(np.linalg.norm(linear, axis=0), main) * [_millimetres(unit) for unit in units]


def unit_ratios(units: Sequence[Any], others: Sequence[Any]) -> NDArray[np.float64]:
    """How many of ``others`` each of ``units`` is; 1 where they do not compare (``pixel``, mm), as napari has it."""
    known = get_application_registry()
    pairs = ((known.Unit(str(unit)), known.Unit(str(other))) for unit, other in zip(units, others, strict=True))
    return np.array([float((1 * a).to(b).magnitude) if a.is_compatible_with(b) else 1.0 for a, b in pairs])


def _millimetres(unit: Any) -> float:
    known = get_application_registry().Unit(str(unit))
    return float((1 * known).to("mm").magnitude) if known.is_compatible_with("mm") else 1.0
