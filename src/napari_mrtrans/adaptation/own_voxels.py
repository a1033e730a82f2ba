"""Held-out slices on the scan's own voxels, where an answer is delivered, and where a finer scan shows more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..datasets.store import Canonical, Loadable, Source, canonical
from ..scan.framing import STEP
from ..scan.grid import SliceGrid
from ..training.validation import FixedSlice
from .slices import View


@dataclass(frozen=True)
class OwnVoxels:
    """A slice as it was scanned.

    Attributes:
        source: (row, column) in [0, 1].
        target: Likewise.
        head: What the source shows of it.
        spacing: Of rows and columns, in mm.
        grid: To the model's pixels.
        margins: What the framing adds to these: rows before and after them, columns before and after them.
    """

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    head: NDArray[np.bool_]
    spacing: tuple[float, float]
    grid: SliceGrid
    margins: tuple[tuple[int, int], tuple[int, int]]

    def delivered(self, samples: NDArray[np.float32], one: FixedSlice) -> NDArray[np.float32]:
        """Samples (…, row, column) of the framed slice as they are delivered, 0 outside the head."""
        whole = np.zeros((*samples.shape[:-2], *one.grid), np.float32)
        whole[..., *one.box] = samples
        (top, _), (left, _) = self.margins
        rows, columns = self.grid.shape
        return self.grid.to_source(whole[..., top : top + rows, left : left + columns], self.head)


def own_voxels(
    source: Source, chosen: Sequence[tuple[int, FixedSlice]], view: View, before_each: Callable[[], None] = lambda: None
) -> list[OwnVoxels]:
    """Of each slice; every session is read once, which takes seconds.

    Args:
        source: Whose slices.
        chosen: Number of the session, and its slice.
        view: How they were framed.
        before_each: Called before a session is read; may raise.
    """
    out: dict[int, OwnVoxels] = {}
    for index in dict.fromkeys(index for index, _ in chosen):
        before_each()
        scan = canonical(cast(Loadable, source.sessions[index]), source.spacing)
        for number, (of, one) in enumerate(chosen):
            if of == index:
                out[number] = _slice(scan, one, round(one.position / scan.sizes[0]), view)
    return [out[number] for number in range(len(chosen))]


def _slice(scan: Canonical, one: FixedSlice, z: int, view: View) -> OwnVoxels:
    shown, wanted = (scan.images[contrast][z].copy() for contrast in one.pair)  # the volume need not stay
    sizes = float(scan.sizes[1]), float(scan.sizes[2])
    margins = view.framing.margins(scan.grid.shape, max(STEP, view.multiple))
    return OwnVoxels(shown, wanted, scan.masks[one.pair.source][z].copy(), sizes, scan.grid, margins)
