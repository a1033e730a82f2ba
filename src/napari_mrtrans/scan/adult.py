"""Whether what was set to 0 around is the stripped brain of an adult, as the models know them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Share of a head that is exactly 0 near its surface. Stripped brains have none; whole heads of which the darkest 45 to
#: 75 % were set to 0 have 0.7 to 5 %: their skull, sinuses and airways.
HOLES = 0.004
#: Near, that is within this share of the radius of a ball of the head's volume.
NEAR = 0.3
#: In ml; a brain between these is a child's. Those of our training subjects are 1100 to 1640; what is smaller than a
#: newborn's is no whole brain.
CHILD = (300.0, 850.0)
#: Depth is measured on voxels of at least this size, in mm.
COARSE = 2.5


def is_adult_brain(data: NDArray[np.float32], voxel_sizes: NDArray[np.floating], head: NDArray[np.bool_]) -> bool:
    """Whether nothing speaks against it.

    Args:
        data: Non-negative, exactly 0 around the head.
        voxel_sizes: In mm, for each axis.
        head: Its outline, holes filled (:func:`~.intensity.head_mask`).
    """
    from scipy import ndimage

    millilitres = float(head.sum() * np.prod(voxel_sizes)) / 1e3
    if millilitres < CHILD[0]:
        return True
    if millilitres < CHILD[1] and not _reaches_the_edge(head):
        return False
    steps = [max(1, int(COARSE // size)) for size in voxel_sizes]
    part = tuple(slice(None, None, step) for step in steps)
    inside, dark = np.pad(head[part], 1), np.pad(data[part] <= 0, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=np.asarray(voxel_sizes) * steps)
    radius = (3e3 * millilitres / (4 * np.pi)) ** (1 / 3)
    return bool((dark & inside & (depth < NEAR * radius)).sum() < HOLES * inside.sum())


def _reaches_the_edge(head: NDArray[np.bool_]) -> bool:
    """A slab or a crop says nothing of how large the head is."""
    return any(head.take(end, axis=axis).any() for axis in range(3) for end in (0, -1))
