"""The slices beside a slice that a network or a judgement sees with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Neighbours farther away than this many times the wanted distance tell of another place; the slice itself stands in.
FARTHEST = 1.5


def reach(spacing: float, distance: float) -> int:
    """How many slices ``spacing`` mm apart come nearest to ``distance`` mm; at least one."""
    return max(1, round(distance / spacing))


def beside(index: int, count: int, step: int) -> tuple[int, int]:
    """The slices ``step`` below and above a slice; beyond the ends of ``count`` slices, the last one."""
    return max(index - step, 0), min(index + step, count - 1)


def between_others(there: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Of each slice, whether the ``step`` ones below it and above it are all ``there``; beyond the ends, none is."""
    padded = np.pad(there, step)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * step + 1).all(axis=1))


def seen(index: int, count: int, spacing: float, distance: float) -> list[int]:
    """What a network sees for a slice: the slice itself, then those about ``distance`` mm below and above it.

    Args:
        index: Of the slice.
        count: Of the volume.
        spacing: Of its slices in mm.
        distance: Wanted, in mm; 0 = the network sees the slice alone. Of slices too far apart it sees itself thrice.
    """
    if not distance:
        return [index]
    step = reach(spacing, distance)
    return [index, *beside(index, count, step if step * spacing <= FARTHEST * distance else 0)]


def planes(distance: float) -> int:
    """How many slices a network sees at once: a slice and its two neighbours, or it alone."""
    return 3 if distance else 1
