"""How a layer lies that no file has placed: by its voxel sizes as napari shows them, and by what the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from pint import get_application_registry

#: Which array axis of a layer without an affine is taken as axial, where the user has said so.
AXIAL_KEY = "mrtrans_axial_axis"


def assumed_axis(metadata: Mapping[str, Any]) -> int:
    """The array axis that is taken as axial without an affine: what the user has chosen, else the first."""
    chosen = metadata.get(AXIAL_KEY, 0)
    return chosen if chosen in (0, 1, 2) else 0


def assumed_affine(placed: NDArray[np.floating], axial: int = 0) -> NDArray[np.float64]:
    """An affine for a 3-D layer that comes without one, from how napari shows it.

    The other two axes of the window are taken as anterior-posterior and left-right, drawn the usual way: anterior up
    and the patient's right on the left of the screen.

    Args:
        placed: (3, 3), of :func:`placed_in_mm`.
        axial: The axis of the array that is taken as axial, from inferior to superior.
    """
    through = int(np.abs(placed[:, axial]).argmax())
    row, column = (axis for axis in range(3) if axis != through)
    affine = np.eye(4)
    affine[2, :3] = placed[through] * np.copysign(1, placed[through, axial])
    affine[1, :3], affine[0, :3] = -placed[row], -placed[column]
    affine[:3] += 0.0  # no -0
    return affine


def placed_in_mm(layer: Layer) -> NDArray[np.float64]:
    """(axes, axes): by how many mm a voxel's step along each axis of the array (columns) goes along each axis of the
    window (rows), scale, rotation, shear and affine together. A unit that is no length (``pixel``, napari's default)
    counts as mm."""
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    linear = np.stack([np.asarray(layer.data_to_world(step)) - origin for step in np.eye(layer.ndim)], axis=1)
    return np.asarray(linear * [[_millimetres(unit)] for unit in layer.units], dtype=np.float64)


def unit_ratios(units: Sequence[Any], others: Sequence[Any]) -> NDArray[np.float64]:
    """How many of ``others`` each of ``units`` is; 1 where they do not compare (``pixel``, mm), as napari has it."""
    known = get_application_registry()
    pairs = ((known.Unit(str(unit)), known.Unit(str(other))) for unit, other in zip(units, others, strict=True))
    return np.array([float((1 * a).to(b).magnitude) if a.is_compatible_with(b) else 1.0 for a, b in pairs])


def _millimetres(unit: Any) -> float:
    known = get_application_registry().Unit(str(unit))
    return float((1 * known).to("mm").magnitude) if known.is_compatible_with("mm") else 1.0
