"""Traces that motion and ghosting leave inside the head: repeated edges, detail where the next slices have none.

The head's outline is cut off by brain extraction, and with it the ghosts in the air that radiologists look for. What
stays is looked for where it should not be: edges that repeat at a distance (the autocorrelation of the Laplacian along
rows and columns, as a ghost is a shifted copy along the phase-encoding axis), and changes from slice to slice in places
without any edge (k-space lines of another position of the head).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..scan.neighbours import reach

Image = NDArray[np.float32]

#: Distances in mm to the neighbours that a slice is compared with; at least one slice away.
DISTANCES = (1, 2, 4)
#: Shifts, in pixels, among which copies of an edge are looked for.
_SHIFTS = (8, 90)
_LAGS = (1, 2, 4)

#: What the numbers of :func:`traces` are, in their order.
NAMES: tuple[str, ...] = (
    *(f"repeated edges, {k}" for k in ("rows", "columns", "rows, rms", "columns, rms", "peak", "peak/rms", "one axis")),
    *(f"through {d} mm, {k}" for d in DISTANCES for k in ("detail", "median detail", "correlation", "peaks",
                                                         "flat/edges", "smooth part", "symmetry", "decorrelation")),
    *(f"edges of {s} pixels, {k}" for s in (1, 2) for k in ("skewness", "peaks")),
    "focus",
    *(f"Laplacian, {axis} {lag} pixels on" for lag in _LAGS for axis in ("row", "column")),
    *(f"rows/columns at {s} pixels" for s in (1, 2, 4)),
)  # fmt: skip


def steps(spacing: float) -> tuple[int, ...]:
    """How many slices lie between a slice and its neighbours at :data:`DISTANCES`, for this slice spacing in mm."""
    return tuple(reach(spacing, distance) for distance in DISTANCES)


def traces(image: Image, neighbours: Sequence[tuple[Image, Image]]) -> NDArray[np.float64]:
    """The traces in one slice, shape (``len(NAMES)``,); NaN where there is almost no head.

    Args:
        image: (row, column) on the model's grid, normalised to [0, 1], 0 outside the head.
        neighbours: The slices below and above at each of :data:`DISTANCES`, on the same grid.
    """
    from scipy import ndimage

    head = image > 0
    if head.sum() < 50:
        return np.full(len(NAMES), np.nan)
    deep = ndimage.binary_erosion(head, iterations=4)
    deep = deep if deep.sum() >= 200 else head
    found = [*_repeats(image, deep), *_through(image, neighbours, deep), *_edges(image, deep)]
    return np.clip(np.array(found), -20, 20)


def _log(value: float, floor: float = 1e-4) -> float:
    return float(np.log(floor + value))


def _repeats(image: Image, deep: NDArray[np.bool_]) -> list[float]:
    """How strongly edges deep in the head repeat others, outline included, along either axis."""
    from scipy import ndimage

    edges = ndimage.gaussian_laplace(image, 1.0)
    edges = np.clip(edges / (1.4826 * np.median(np.abs(edges[deep])) + 1e-6), -4, 4)
    found = []
    for axis in (0, 1):
        forth, back = _shifted_correlation(edges, deep, axis)
        both = (forth + back) / 2  # a ghost has a twin on the other side
        found.append((np.abs(both).max(), np.sqrt(np.square(both).mean()), np.abs([forth, back]).max()))
    (rows, rows_rms, rows_one), (columns, columns_rms, columns_one) = found
    return [
        *(_log(v, 1e-3) for v in (rows, columns, rows_rms, columns_rms, max(rows_one, columns_one))),
        _log(max(rows, columns) / ((rows_rms + columns_rms) / 2 + 1e-6)),
        abs(_log(rows, 1e-6) - _log(columns, 1e-6)),
    ]


def _shifted_correlation(
    edges: NDArray[np.floating], deep: NDArray[np.bool_], axis: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Correlation of ``edges`` in ``deep`` with all ``edges`` shifted along ``axis``, forth and back, by shift."""
    from scipy.fft import irfft, next_fast_len, rfft

    length = edges.shape[axis]
    size = next_fast_len(2 * length)
    inside, squared = rfft(np.where(deep, edges, 0), size, axis=axis), rfft(edges**2, size, axis=axis)
    product = irfft((inside.conj() * rfft(edges, size, axis=axis)).sum(axis=1 - axis), size)
    energy = irfft((rfft(deep.astype(float), size, axis=axis).conj() * squared).sum(axis=1 - axis), size)
    correlation = product / np.sqrt(np.maximum(energy, 1e-3) * np.square(edges[deep]).sum() + 1e-9)
    low, high = _SHIFTS[0], max(_SHIFTS[0] + 1, min(_SHIFTS[1], 3 * length // 4))
    return correlation[low:high], correlation[size - high + 1 : size - low + 1][::-1]


def _through(image: Image, neighbours: Sequence[tuple[Image, Image]], deep: NDArray[np.bool_]) -> list[float]:
    """Detail along the axis through the slices, against that in the plane."""
    from scipy import ndimage

    inside = deep & np.all([(below > 0) & (above > 0) for below, above in neighbours], axis=0)
    inside = inside if inside.sum() >= 100 else deep
    slope = ndimage.gaussian_gradient_magnitude(image, 1.0)
    flat, steep = np.quantile(slope[inside], (0.4, 0.8))
    flat, steep = inside & (slope <= flat), inside & (slope >= steep)
    out: list[float] = []
    for distance, (below, above) in zip(DISTANCES, neighbours, strict=True):
        through = image - (below + above) / 2
        rolled = [np.roll(image, step, axis) for axis in (0, 1) for step in (distance, -distance)]
        plane = image - sum(rolled) / 4
        rms, plane_rms = (_rms(part[inside]) for part in (through, plane))
        median, plane_median = (float(np.median(np.abs(part[inside]))) for part in (through, plane))
        out += [
            _log(rms / (plane_rms + 1e-4)),
            _log(median / (plane_median + 1e-4)),
            _correlation(through[inside], plane[inside]),
            _log(rms / (median + 1e-4)),
            _log(_rms(through[flat]) / (_rms(through[steep]) + 1e-4)),
            _log(float(ndimage.gaussian_filter(through, 2)[inside].std()) / (rms + 1e-4)),
            _correlation((above - image)[inside], (image - below)[inside]),
            _log(1 - _correlation(above[inside], image[inside])),
        ]
    return out


def _edges(image: Image, deep: NDArray[np.bool_]) -> list[float]:
    """Distribution and direction of the edges in the plane; motion blurs along one axis."""
    from scipy import ndimage

    out: list[float] = []
    for scale in (1, 2):
        values = ndimage.gaussian_laplace(image, scale)[deep]
        std = float(values.std()) + 1e-5
        out += [float(np.mean((values / std) ** 3)), _log(std / (float(np.median(np.abs(values))) + 1e-5))]
    slope = np.hypot(*np.gradient(image))[deep]
    out.append(_log(np.square(slope).sum() * slope.size / (slope.sum() + 1e-6) ** 2))  # McGee 2000, gradient squared
    laplacian = ndimage.laplace(image) * deep
    energy = float(np.square(laplacian).sum()) + 1e-9
    for lag in _LAGS:
        out.append(float((laplacian[lag:] * laplacian[:-lag]).sum()) / energy)
        out.append(float((laplacian[:, lag:] * laplacian[:, :-lag]).sum()) / energy)
    for scale in (1, 2, 4):
        rows, columns = (
            (ndimage.gaussian_filter1d(image, scale, axis) - ndimage.gaussian_filter1d(image, 2 * scale, axis))[deep]
            for axis in (0, 1)
        )
        out.append(_log(float(rows.std()) / (float(columns.std()) + 1e-5)))
    return out


def _rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.clip(np.corrcoef(first, second)[0, 1], -1, 1))
