"""A picture to judge a session by: the brain's outline on every contrast, and how well the contrasts lie together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..page.panels import in_memory
from ..scan.contrasts import Contrast
from ..scan.grid import Orientation
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Heights of the axial planes, from the lowest to the highest slice of the brain.
HEIGHTS = (0.15, 0.4, 0.65, 0.9)
#: Squares of the chessboard, in mm.
SQUARE_MM = 24.0


def save_picture(path: Path, images: Mapping[Contrast, Volume], brain: NDArray[np.bool_] | None, title: str) -> Path:
    """Write a PNG: a row for each contrast, the first being the reference.

    Columns: axial planes from below to above, a coronal and a sagittal one, each with the outline of ``brain``; then a
    chessboard of the contrast and the reference, in which edges run on across the squares if the two lie together.

    Args:
        path: Ends in .png, or in a name to be changed into such.
        images: Whole heads, all on one grid.
        brain: The mask; None = without outline.
        title: Above the picture.
    """
    from matplotlib.figure import Figure

    reference = next(iter(images.values()))
    orientation = Orientation.from_affine(reference.affine)
    sizes = reference.voxel_sizes[list(orientation.order)]
    outline = orientation.to_canonical(PreparedVolume.of(reference).head if brain is None else brain)
    low, high = np.argwhere(outline).min(axis=0), np.argwhere(outline).max(axis=0)
    middle = (low + high) // 2
    planes: list[tuple[int, int]] = [(0, int(low[0] + height * (high[0] - low[0]))) for height in HEIGHTS]
    planes += [(1, int(middle[1])), (2, int(middle[2]))]
    figure = Figure(figsize=(2.2 * (len(planes) + 1), 2.6 * len(images) + 0.5), facecolor="black", layout="constrained")
    shown = {contrast: _scaled(orientation.to_canonical(volume.data)) for contrast, volume in images.items()}
    first = next(iter(shown.values()))
    rows = figure.subplots(len(images), len(planes) + 1, squeeze=False)
    for row, (contrast, data) in zip(rows, shown.items(), strict=True):
        for axes, (axis, index) in zip(row, planes, strict=False):
            plane = np.take(data, index, axis=axis)
            _show(axes, plane, np.delete(sizes, axis))
            if brain is not None:
                contour = _turn(np.take(outline, index, axis=axis))
                axes.contour(contour, [0.5], colors="#ff4040", linewidths=0.8)
        row[0].set_title(contrast, color="white", fontsize=10)
        if contrast == next(iter(shown)):
            row[-1].set_axis_off()
            continue
        _show(row[-1], _chessboard(first[middle[0]], data[middle[0]], sizes[1:]), sizes[1:])
        row[-1].set_title(f"{next(iter(shown))} | {contrast}", color="white", fontsize=10)
    figure.suptitle(f"{title} · research use only", color="#bbbbbb", fontsize=9)
    in_memory(partial(figure.savefig, dpi=100, format="png"))(path)
    return path


def _scaled(data: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(data / max(float(np.percentile(data[data > 0], 98)), 1e-6), 0.0, 1.0)


def _turn(plane: NDArray[Any]) -> NDArray[Any]:
    """Up on top; the subject's right on the left, anterior on the left."""
    return plane[::-1, ::-1]


def _show(axes: Axes, plane: NDArray[np.float32], sizes: NDArray[np.floating]) -> None:
    axes.imshow(_turn(plane), cmap="gray", vmin=0, vmax=1, aspect=float(sizes[0] / sizes[1]))
    axes.set_axis_off()


def _chessboard(one: NDArray[np.float32], two: NDArray[np.float32], sizes: NDArray[np.floating]) -> NDArray[np.float32]:
    rows, columns = (np.arange(n) * size // SQUARE_MM for n, size in zip(one.shape, sizes, strict=True))
    return np.where((rows[:, None] + columns) % 2 > 0, two, one)
