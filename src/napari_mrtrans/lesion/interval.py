"""How sure a correlation inside lesions is: by how many independent voxels its voxels are worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Of fewer independent voxels than this no interval is told.
FEWEST = 5
#: A lesion whose bounding box has more voxels than this is looked at in cubes of them, so that there are about so many.
MOST = 500_000


def correlation_interval(
    values: NDArray[np.float64], voxels: NDArray[np.intp], lesion: NDArray[np.intp]
) -> tuple[float, float] | None:
    """95 % interval of a pooled Pearson correlation; None where it cannot be told.

    Fisher's transformation of r, and Student's t, as if there were as many voxels as :func:`independent_voxels` finds.
    In simulated smooth images it holds the true correlation in 0.8 (one lesion hardly larger than its texture) to 0.98
    of them (``benchmarks/lesion_interval.py``). The order and direction of the axes do not matter.

    Args:
        values: (n, 2), what is correlated.
        voxels: (n, d), voxel indices.
        lesion: (n,), which lesion each voxel is in.
    """
    from scipy.stats import t

    if not len(values) or not (spread := values.std(axis=0)).all():
        return None
    standard = (values - values.mean(axis=0)) / spread
    count = independent_voxels(standard, voxels, lesion)
    if count < FEWEST:
        return None
    r = np.clip(standard.prod(axis=1).mean(), -1, 1)
    half = t.ppf(0.975, count - 2) / np.sqrt(count - 3)
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return float(low), float(high)


def independent_voxels(standard: NDArray[np.float64], voxels: NDArray[np.intp], lesion: NDArray[np.intp]) -> float:
    """How many independent voxels these are worth to a correlation, for neighbours resemble each other.

    n² over the sum, over all pairs of voxels of the same lesion, of the product of both images' autocorrelations at the
    pair's distance (Clifford, Richardson and Hémon 1989, doi:10.2307/2532039), up to the distance where one of them is
    no longer positive.

    Args:
        standard: (n, 2), two images' values there, of mean 0 and variance 1.
        voxels: (n, d), voxel indices.
        lesion: (n,), which lesion each voxel is in.

    Returns:
        At most n.
    """
    order = np.argsort(lesion, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(lesion[order])) + 1)
    rows = np.concatenate([_by_distance(standard[part], voxels[part]) for part in parts], axis=1)
    pairs, first, second = (np.bincount(rows[0].astype(np.intp), row) for row in rows[1:])
    there = pairs > 0
    alike = np.stack([first, second])[:, there] / pairs[there]
    positive = np.logical_and.accumulate((alike > 0).all(axis=0))
    resembling = (pairs[there] * alike.prod(axis=0))[positive].sum()
    return float(len(standard) ** 2 / max(resembling, len(standard)))


def _by_distance(standard: NDArray[np.float64], voxels: NDArray[np.intp]) -> NDArray[np.float64]:
    """(4, m): a distance in voxels, how many pairs of one lesion's voxels are that far apart (each twice), and the sums
    of their products in either image."""
    from scipy.fft import irfftn, next_fast_len, rfftn

    place = voxels - voxels.min(axis=0)
    extent = place.max(axis=0) + 1
    edge = 1 + 2 * max(0, int(np.ceil(((extent.prod() / MOST) ** (1 / len(extent)) - 1) / 2)))
    # Odd, and as many on either side of the middle, so that a mirrored array has the same cubes.
    count = -(-extent // edge)
    count += (count * edge - extent) % 2
    place = (place + (count * edge - extent) // 2) // edge
    shape = tuple(count)
    padded = [next_fast_len(2 * size, real=True) for size in shape]
    lags = np.ogrid[tuple(slice(size) for size in padded)]
    squared = sum(np.minimum(lag, size - lag) ** 2 for lag, size in zip(lags, padded, strict=True))
    distance = np.rint(edge * np.sqrt(squared)).astype(np.intp).ravel()
    flat = np.ravel_multi_index(tuple(place.T), shape)
    sums = []
    for weights in (np.ones(len(place)), *standard.T):
        grid = np.bincount(flat, weights, int(np.prod(shape))).reshape(shape)
        products = irfftn(np.abs(rfftn(grid, padded)) ** 2, padded)
        sums.append(np.bincount(distance, products.ravel()))
    pairs = np.rint(sums[0])
    return np.stack([np.arange(len(pairs)), pairs, *sums[1:]])


def written(r: float | None, interval: tuple[float, float] | None) -> str:
    """``0.630 (0.41 to 0.78)``; a dash where nothing is known."""
    if r is None:
        return "–"
    return f"{r:.3f}" + ("" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})")
