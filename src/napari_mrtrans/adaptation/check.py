"""Whether the images of a session can be learned from: one grid, one person, stripped, and not the same twice."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError, VolumeError
from ..prepare.register import LEAST_SAME_EDGES, LEAST_SAME_OUTLINE, agreement
from ..scan.contrasts import Contrast
from ..scan.grid import same_grid
from ..scan.intensity import clean, head_mask, is_whole_head
from ..scan.volume import Volume

#: Largest difference, over their maximum, of two files of one image.
SAME = 2e-3


def needs_preparing(volumes: Mapping[Contrast, Volume]) -> str:
    """Why a session has to be prepared first; empty if it has not."""
    first = next(iter(volumes.values()))
    for volume in volumes.values():
        if not same_grid(volume.data.shape, volume.affine, first.data.shape, first.affine):
            return f"'{volume.name}' and '{first.name}' lie on different grids"
    for volume in volumes.values():
        if is_whole_head(clean(volume.data), volume.voxel_sizes):
            return f"'{volume.name}' looks like a whole head"
    return ""


def check_session(name: str, volumes: Mapping[Contrast, Volume]) -> None:
    """See that the contrasts, all on one grid, are different images of one head.

    Raises:
        RecipeError: two are the same image, or of two people, or not registered.
    """
    images = {contrast: clean(volume.data) for contrast, volume in volumes.items()}
    heads = {contrast: head_mask(image) for contrast, image in images.items()}
    for a, b in combinations(volumes, 2):
        both = heads[a] & heads[b]
        if _same(images[a], images[b]):
            raise RecipeError(f"{name}: {a} and {b} are the same image; give the file of each contrast.")
        overlap = 2 * both.sum() / max(heads[a].sum() + heads[b].sum(), 1)
        if overlap >= LEAST_SAME_OUTLINE:
            continue
        try:
            edges = agreement(volumes[a], volumes[b])
        except VolumeError:  # too small to see a head in it
            continue
        if edges < LEAST_SAME_EDGES:
            raise RecipeError(
                f"{name}: {a} and {b} do not show the same head (outlines overlap by {overlap:.0%}); are they of two "
                "people, or not registered? Correct the folder, or run napari-mrtrans prepare."
            )


def _same(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Whether they are one image, whatever its unit."""
    return bool(np.allclose(a / a.max(), b / b.max(), rtol=0, atol=SAME))
