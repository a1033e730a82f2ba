"""How sure a correlation inside lesions is: a bootstrap over what is independent, which single voxels are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: With fewer lesions (or blocks) than this, drawing them anew tells nothing.
FEWEST = 5
#: Edge of a block in voxels, where there are few lesions: about as far as neighbours resemble each other.
BLOCK = 4
#: Where there would be more blocks than this, they are larger, so that there are about so many.
MOST = 2000
DRAWS = 2000
#: Drawn at a time, because of the memory that a draw takes.
_TOGETHER = 100


def correlation_interval(
    values: NDArray[np.float64], voxels: NDArray[np.intp], lesion: NDArray[np.intp]
) -> tuple[float, float] | None:
    """95 % interval of a pooled Pearson correlation; None where it cannot be told.

    Whole lesions are drawn anew (percentile bootstrap), or with fewer than five of them blocks of 4 x 4 x 4 voxels,
    larger ones in a region of more than about 2,000 blocks. The order and direction of the axes do not matter. Too
    narrow in smooth images: in simulations it held the true correlation in 0.6 to 0.9 of them by blocks, in 0.9 by 5 to
    12 lesions.

    Args:
        values: (n, 2), what is correlated.
        voxels: (n, 3), voxel indices.
        lesion: (n,), which lesion each voxel is in.
    """
    if not len(values):
        return None
    x, y = (values - values.mean(axis=0)).T
    owner = _numbered(lesion[:, None])
    if owner.max() + 1 < FEWEST:
        place = _from_the_lower_end(x, voxels)
        owner = _numbered(np.column_stack([lesion, place // BLOCK]))
        if (count := int(owner.max()) + 1) > MOST:
            edge = int(np.ceil(BLOCK * (count / MOST) ** (1 / 3)))
            owner = _numbered(np.column_stack([lesion, place // edge]))
    count = int(owner.max()) + 1
    if count < FEWEST:
        return None
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(owner, term, count) for term in terms], axis=1)
    sums = sums[np.lexsort(sums.T)]  # whichever of them the axes bring first
    rng, even = np.random.default_rng(0), np.full(count, 1 / count)
    drawn = np.concatenate([rng.multinomial(count, even, _TOGETHER) @ sums for _ in range(DRAWS // _TOGETHER)])
    n, sx, sy, xx, yy, xy = drawn.T
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (n * xy - sx * sy) / np.sqrt((n * xx - sx * sx) * (n * yy - sy * sy))
    r = r[np.isfinite(r)]
    if len(r) < DRAWS / 2:
        return None
    low, high = np.clip(np.quantile(r, (0.025, 0.975)), -1, 1)
    return float(low), float(high)


def _from_the_lower_end(x: NDArray[np.float64], voxels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Voxel indices counted from where the region begins, along each axis from the end where ``x`` tends to be lower:
    the same blocks, whichever way the array lies."""
    rises = x @ (voxels - voxels.mean(axis=0)) >= 0
    place: NDArray[np.intp] = np.where(rises, voxels - voxels.min(axis=0), voxels.max(axis=0) - voxels)
    return place


def _numbered(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which of the different rows each of them is, from 0."""
    rows = rows - rows.min(axis=0)
    codes = np.ravel_multi_index(tuple(rows.T), tuple(rows.max(axis=0) + 1))
    found: NDArray[np.intp] = np.unique(codes, return_inverse=True)[1]
    return found.ravel()


def written(r: float | None, interval: tuple[float, float] | None) -> str:
    """``0.630 (0.41 to 0.78)``; a dash where nothing is known."""
    if r is None:
        return "–"
    return f"{r:.3f}" + ("" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})")
