"""Slices of the scans and answers that the report's pictures are made of, kept beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..paths import write_together
from ..scan.grid import Orientation
from ..scan.volume import Volume
from .report.montage import strip


@dataclass(frozen=True)
class Drawn:
    """Where pictures of an answer go; None = nowhere.

    Attributes:
        picture: PNG file of its middle slice.
        tile: npz file of the same, and of the slice with most of the lesion, for the paper's figures.
    """

    picture: Path | None = None
    tile: Path | None = None

    @property
    def missing(self) -> bool:
        """Whether one of them is wanted and not there."""
        return any(path is not None and not path.exists() for path in (self.picture, self.tile))


NOTHING = Drawn()


@dataclass(frozen=True)
class Cutter:
    """Cuts slices out of volumes on one grid, in canonical order (row, column), around the head.

    Attributes:
        volume: Of the grid.
        head: What is shown.
    """

    volume: Volume
    head: NDArray[np.bool_]

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        sizes = self.volume.voxel_sizes[list(Orientation.from_affine(self.volume.affine).order)]
        return float(sizes[1] / sizes[2])

    def cut(self, images: Mapping[str, NDArray], index: int) -> dict[str, NDArray]:
        """Slice ``index`` (along the axial array axis) of each volume, float16."""
        turned = Orientation.from_affine(self.volume.affine)
        picked = turned.slice_index(index, self.volume.n_slices)
        box = turned.to_canonical(self.head)[picked]
        rows, columns = (slice(*(np.flatnonzero(box.any(axis=1 - a))[[0, -1]] + (0, 1))) for a in range(2))
        return {
            name: turned.to_canonical(image)[picked][rows, columns].astype(np.float16) for name, image in images.items()
        }


def draw(
    drawn: Drawn,
    cutter: Cutter,
    images: Mapping[str, NDArray],
    titles: Mapping[str, str],
    middle: int,
    lesion: NDArray[np.bool_] | None,
) -> None:
    """Write what is wanted.

    Args:
        drawn: Where.
        cutter: Of the grid of all volumes.
        images: ``source``, ``target``, ``mean``, ``error`` and, of a model that samples, ``std``; volumes in [0, 1].
        titles: Of those in the picture.
        middle: The slice that is shown.
        lesion: Expert mask, if any.

    Raises:
        MrtransError: the folder cannot be written.
    """
    cut = cutter.cut(images, middle)
    if drawn.picture is not None:
        strip(drawn.picture, {titles.get(name, name): image for name, image in cut.items()}, cutter.aspect)
    if drawn.tile is None:
        return
    tile: dict[str, NDArray | np.float64] = {**cut, "aspect": np.float64(cutter.aspect)}
    if lesion is not None and lesion.any():
        across = tuple(a for a in range(3) if a != cutter.volume.axial_axis)
        most = int(lesion.sum(axis=across).argmax())
        tile |= {f"lesion_{name}": image for name, image in cutter.cut({**images, "mask": lesion}, most).items()}
    write_tile(drawn.tile, tile)


def write_tile(path: Path, tile: Mapping[str, NDArray | np.float64]) -> None:
    """Write an npz file."""
    write_together(path.parent, {path.name: lambda part: np.savez(part, **tile)})  # type: ignore[arg-type]


def read_tile(path: Path) -> dict[str, NDArray]:
    """What :func:`write_tile` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
