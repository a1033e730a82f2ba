"""Which contrast a brain shows, where its name does not tell."""

from __future__ import annotations

import numpy as np

from ..checkpoints.judge_file import load_judge
from ..errors import MrtransError
from ..ood.image_quality import MIN_AREA
from ..scan.contrasts import Contrast
from ..scan.framing import STEP
from ..scan.grid import SliceGrid
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume
from .slice_signs import judged, neighbours

#: Slices that are looked at.
SLICES = 5
#: Below this probability nothing is said.
SURE = 0.8


def look_at_contrast(volume: Volume) -> tuple[Contrast, float] | None:
    """The contrast that a skull-stripped brain shows and its probability, None for whole heads and where it is unsure.

    Raises:
        VolumeError: there is no head.
    """
    prepared = PreparedVolume.of(volume)
    if prepared.whole:
        return None
    median = float(np.median(prepared.data[prepared.head]))
    if median <= 0:
        return None
    images = prepared.orientation.to_canonical(np.where(prepared.head, prepared.data / median, 0).astype(np.float32))
    grid = SliceGrid.fit(prepared.mask, prepared.spacing[1:], 1.0, STEP)
    usable = np.flatnonzero(prepared.area >= MIN_AREA * prepared.area.max())
    middles = usable[np.linspace(0, len(usable) - 1, SLICES + 2).round().astype(int)[1:-1]]
    slabs = [images[neighbours(int(z), len(images), prepared.spacing[0])] for z in middles]
    judge = load_judge()
    told = judge(judged(grid.to_model(np.stack(slabs))))[:, : len(judge.card.contrasts)].mean(axis=0)
    chances = np.exp(told - np.logaddexp.reduce(told))
    best = int(np.argmax(chances))
    return (judge.card.contrasts[best], float(chances[best])) if chances[best] >= SURE else None


def unknown_contrast_line(volume: Volume) -> str:
    """What to say where neither name nor user told the contrast, with what it looks like."""
    try:
        seen = look_at_contrast(volume)
    except MrtransError:
        seen = None
    answer = "(T1, T2, PD or FLAIR)" if seen is None else seen[0]
    looks = "" if seen is None else f" (it looks like {seen[0]})"
    where = "headers" if volume.header is None and volume.path is not None else "name"
    return f"The contrast of '{volume.name}' is not known from its {where}{looks}; say it with --from {answer}."
