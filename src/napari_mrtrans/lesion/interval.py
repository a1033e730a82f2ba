"""How sure a correlation inside lesions is: a bootstrap over what is independent, which single voxels are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: With fewer lesions (or blocks) than this, drawing them anew tells nothing.
FEWEST = 5
#: Edge of a block in voxels, where there are few lesions: about as far as neighbours resemble each other.
BLOCK = 4
DRAWS = 2000


def correlation_interval(
    values: NDArray[np.float64], voxels: NDArray[np.intp], lesion: NDArray[np.intp]
) -> tuple[float, float] | None:
    """95 % interval of a pooled Pearson correlation; None where it cannot be told.

    Whole lesions are drawn anew (percentile bootstrap), or with fewer than five of them blocks of 4 x 4 x 4 voxels.

    Args:
        values: (n, 2), what is correlated.
        voxels: (n, 3), voxel indices.
        lesion: (n,), which lesion each voxel is in.
    """
    unit = lesion if len(np.unique(lesion)) >= FEWEST else np.column_stack([lesion, voxels // BLOCK])
    _, owner = np.unique(unit, axis=0, return_inverse=True)
    count = int(owner.max(initial=-1)) + 1
    if count < FEWEST:
        return None
    x, y = (values - values.mean(axis=0)).T
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(owner.ravel(), term, count) for term in terms], axis=1)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS) @ sums
    n, sx, sy, xx, yy, xy = drawn.T
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (n * xy - sx * sy) / np.sqrt((n * xx - sx * sx) * (n * yy - sy * sy))
    r = r[np.isfinite(r)]
    if len(r) < DRAWS / 2:
        return None
    low, high = np.clip(np.quantile(r, (0.025, 0.975)), -1, 1)
    return float(low), float(high)


def written(r: float | None, interval: tuple[float, float] | None) -> str:
    """``0.630 (0.41 to 0.78)``; a dash where nothing is known."""
    if r is None:
        return "–"
    return f"{r:.3f}" + ("" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})")
