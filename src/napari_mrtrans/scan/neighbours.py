"""The slices beside a slice that a network or a judgement sees with it."""

from __future__ import annotations

#: Neighbours farther away than this many times the wanted distance tell of another place; the slice itself stands in.
FARTHEST = 1.5


def beside(index: int, count: int, spacing: float, distance: float) -> tuple[int, int]:
    """The slices about ``distance`` mm below and above a slice; beyond the ends of ``count`` slices, the last one.

    Args:
        index: Of the slice.
        count: Of the volume.
        spacing: Of its slices in mm.
        distance: Wanted, in mm; at least one slice away. 0, and slices too far apart: the slice itself, twice.
    """
    step = max(1, round(distance / spacing))
    if step * spacing > FARTHEST * distance:
        step = 0
    return max(index - step, 0), min(index + step, count - 1)


def planes(distance: float) -> int:
    """How many slices a network sees at once: a slice and its two neighbours, or it alone."""
    return 3 if distance else 1
