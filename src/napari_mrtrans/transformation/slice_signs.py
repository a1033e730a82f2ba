"""What is seen of a source slice before any network transforms it: quality features, contrast and artefacts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.judge_file import load_judge
from ..ood.artefact_traces import DISTANCES
from ..ood.image_quality import MIN_AREA
from ..ood.slice_quality import slice_quality
from ..scan.contrasts import Contrast
from ..scan.intensity import HEADROOM
from ..scan.neighbours import beside, between_others, reach

#: Distance in mm to the two neighbours that a slice is judged with; at least one slice away.
REACH_MM = 3.0
#: Intensities are judged up to this multiple of the brain's median, whatever the contrast is said to be.
TOP = 2.0
#: Larger pixels look as turned, moving or thick slices do: which artefact it is, they do not tell.
COARSE_MM = 2.2

Read = Callable[[int], NDArray[np.float32]]


def can_be_judged(area: NDArray[np.intp], spacing: float) -> NDArray[np.bool_]:
    """Of each slice, whether it is large enough, with head in all neighbours that it is compared with.

    At the ends of a slab other slices stand in for those, which looks like thick ones.

    Args:
        area: Head voxels of each slice.
        spacing: Of the slices, in mm.
    """
    return (area >= MIN_AREA * area.max()) & between_others(area > 0, reach(spacing, max(*DISTANCES, REACH_MM)))


def neighbours(index: int, count: int, spacing: float) -> list[int]:
    """A slice between these two; beyond the ends of ``count`` slices, the last one stands in."""
    below, above = beside(index, count, reach(spacing, REACH_MM))
    return [below, index, above]


def judged(slices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three neighbouring slices as the network sees them: (3, rows, columns), in [0, 1], 0 outside the head.

    Args:
        slices: In multiples of the brain's median, 0 outside the head.
    """
    return (np.clip(slices, 0, TOP) / TOP).astype(np.float32)


def slice_features(
    read: Read, index: int, count: int, spacing: float, contrast: Contrast, subject: str = ""
) -> NDArray[np.float64]:
    """The quality features of a slice and, last, what the shipped networks make of it; NaN with almost no head.

    Args:
        read: Canonical slice of that number on the model's grid, (row, column) in [0, 1], 0 outside the head.
        index: Of the slice.
        count: Slices of the volume; beyond its ends, the last slice stands in.
        spacing: Of the slices, in mm.
        contrast: That the volume was normalised for.
        subject: Whose, with the data set: networks that were trained on them are not asked.
    """
    quality = slice_quality(read, index, count, spacing)
    slab = np.stack([read(number) for number in neighbours(index, count, spacing)])
    told = load_judge()(judged(slab * HEADROOM[contrast])[None], subject)[0]
    return np.concatenate([quality, told])
