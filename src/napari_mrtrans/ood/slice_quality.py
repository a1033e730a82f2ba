"""All that :mod:`.score` knows of a source slice: its quality features and the traces of artefacts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..scan.neighbours import beside
from . import artefact_traces, image_quality

#: Features are only ever appended, so that a calibration fitted to fewer goes on to hold.
NAMES: tuple[str, ...] = (*image_quality.NAMES, *artefact_traces.NAMES)


def slice_quality(
    read: Callable[[int], NDArray[np.float32]], index: int, count: int, spacing: float
) -> NDArray[np.float64]:
    """The features of one slice, shape (``len(NAMES)``,); NaN where there is almost no head.

    Args:
        read: Canonical slice of that number on the model's grid, (row, column) in [0, 1], 0 outside the head.
        index: Of the slice.
        count: Slices of the volume; beyond its ends, the last slice stands in.
        spacing: Of the slices, in mm.
    """
    image = read(index)
    sides = [beside(index, count, step) for step in artefact_traces.steps(spacing)]
    neighbours = [(read(below), read(above)) for below, above in sides]
    return np.concatenate([image_quality.features(image), artefact_traces.traces(image, neighbours)])
