"""Where a new layer lies: on the one that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.transforms import Affine

from ..errors import VolumeError
from .assumed import AXIAL_KEY
from .source import RESULT_KEY, nifti_affine

#: Of a layer, what says where it lies, beside its affine.
PLACEMENT = ("scale", "translate", "rotate", "shear")


def lie_alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two layers' attributes (:data:`PLACEMENT` and ``affine``, as a matrix) put them in the same place."""
    pairs = [(np.asarray(first[key]), np.asarray(second[key])) for key in (*PLACEMENT, "affine")]
    return all(a.shape == b.shape and np.allclose(a, b) for a, b in pairs)


def place_of(layer: Layer) -> dict[str, Any]:
    """Those attributes of a layer."""
    return {**{key: getattr(layer, key) for key in PLACEMENT}, "affine": layer.affine.affine_matrix}


def lying_there(shape: tuple[int, ...], place: Mapping[str, Any], among: Iterable[Layer]) -> list[Image | Labels]:
    """The images and labels of one shape in one place (as of :func:`place_of`)."""
    return [
        layer
        for layer in among
        if isinstance(layer, Image | Labels)
        and getattr(layer.data, "shape", None) == shape
        and lie_alike(place, place_of(layer))
    ]


def check_axial(layer: Layer) -> None:
    """Raise a ``VolumeError`` unless an affine, or the user, has said which axis of a 3-D ``layer`` is axial."""
    if nifti_affine(layer) is None and AXIAL_KEY not in layer.metadata:
        raise VolumeError(
            f"'{layer.name}' has no affine that tells which axis is axial; choose it beside 'Axial axis' in "
            "MR contrast transformation, then start again."
        )


def inherited(layer: Layer) -> dict[str, Any]:
    """Keyword arguments that put a new 3-D layer exactly where ``layer`` lies."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
        "metadata": dict(layer.metadata),
    }


def drawn_on(layer: Layer) -> dict[str, Any]:
    """The same for what the user draws there, which no model made."""
    placement = inherited(layer)
    placement["metadata"].pop(RESULT_KEY, None)
    return placement


def beside(layer: Layer, kind: str) -> dict[str, Any]:
    """Keyword arguments for a layer that is made of the mean or the std of a result: name, placement and record."""
    placement, record = inherited(layer), layer.metadata[RESULT_KEY]
    placement["metadata"][RESULT_KEY] = {**record, "kind": kind}
    name = layer.name.replace(f"_{record['kind']}", f"_{kind}")
    return {**placement, "name": name if name != layer.name else f"{name}_{kind}"}


def with_sample_axis(placement: dict[str, Any]) -> dict[str, Any]:
    """The same placement for an array with one more axis, the samples, in front."""
    rotate = np.eye(4)
    rotate[1:, 1:] = placement["rotate"]
    affine = np.eye(5)
    affine[1:, 1:] = placement["affine"].affine_matrix
    return {
        "scale": (1.0, *placement["scale"]),
        "translate": (0.0, *placement["translate"]),
        "rotate": rotate,
        "shear": (0.0, 0.0, 0.0, *placement["shear"]),
        "affine": Affine(affine_matrix=affine),
        "units": ("pixel", *placement["units"]),
        "axis_labels": ("sample", *placement["axis_labels"]),
        "metadata": dict(placement["metadata"]),
    }
