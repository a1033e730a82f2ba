"""Source slices to the model's grid and exactly back.

The model sees canonical axial slices: rows run from posterior to anterior, columns from left to right (RAS+), both at
one in-plane spacing. The way there is a permutation and flips of the
array axes (exact) and, where the voxel size differs from the model's, one small interpolation matrix for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from .framing import Box

#: In-plane voxel sizes within this fraction of the model's spacing are used as they are, without interpolation.
SNAP = 0.02
#: Two grids are one where no corner lies farther from its twin, in mm: headers round to 0.01, and a twentieth of a
#: voxel changes nothing; half a voxel at the far end would.
SAME_MM = 0.05
#: Where voxels hold less of the head than this share, what a model pixel says of it is not magnified any more.
LEAST_HEAD = 0.25


def same_grid(
    shape: tuple[int, ...], affine: NDArray[np.float64], other_shape: tuple[int, ...], other: NDArray[np.float64]
) -> bool:
    """Whether two grids of 3 axes have the same voxels, by how far apart their eight corners are."""
    return tuple(shape) == tuple(other_shape) and corners_apart(shape, affine, other) <= SAME_MM


def corners_apart(shape: tuple[int, ...], affine: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far, at most, the corners of a box of voxels lie apart under two affines, in mm."""
    corners = np.array(list(product(*((0, size - 1) for size in shape))), dtype=np.float64)
    apart = nib.affines.apply_affine(affine, corners) - nib.affines.apply_affine(other, corners)
    return float(np.linalg.norm(apart, axis=1).max())


def ras_affine(direction: ArrayLike, spacing: ArrayLike, origin: ArrayLike) -> NDArray[np.float64]:
    """4x4, voxel index to RAS millimetres, of an image in LPS millimetres, as ITK has it.

    Args:
        direction: (9,) row by row, of unit vectors in columns.
        spacing: (3,) mm.
        origin: (3,) mm, the first voxel.
    """
    flip = np.diag([-1.0, -1.0, 1.0])
    return nib.affines.from_matvec(flip @ np.reshape(direction, (3, 3)) * spacing, flip @ np.asarray(origin))


def turned_onto(
    data: NDArray, affine: NDArray[np.float64], shape: tuple[int, ...], other: NDArray[np.float64]
) -> NDArray | None:
    """``data`` in the axis order and directions of another grid with the same voxels; None where it has others.

    Args:
        data: 3-D, its voxel index taken to millimetres by ``affine``.
        affine: 4x4.
        shape: Of the other grid.
        other: 4x4 of the other grid.
    """
    there, turned = turned_towards(data, affine, other)
    return there if same_grid(there.shape, turned, shape, other) else None


def turned_towards(
    data: NDArray, affine: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[NDArray, NDArray[np.float64]]:
    """The same image with its axes in the order and directions of another affine, and its own affine then."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.io_orientation(other))
    return nib.apply_orientation(data, turn), affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


@dataclass(frozen=True)
class Orientation:
    """How array axes map onto canonical (slice, row, column) = (S+, A+, R+)."""

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def from_affine(cls, affine: NDArray[np.float64]) -> Orientation:
        """Closest canonical orientation of a voxel-to-RAS affine (oblique ones keep their own slice plane)."""
        codes = nib.io_orientation(affine)
        axis_of = {int(world): axis for axis, world in enumerate(codes[:, 0])}
        order = (axis_of[2], axis_of[1], axis_of[0])
        flips = tuple(bool(codes[axis, 1] < 0) for axis in order)
        return cls(order, (flips[0], flips[1], flips[2]))

    def to_canonical(self, data: NDArray) -> NDArray:
        """Array (i, j, k) to (slice, row, column)."""
        out = data.transpose(self.order)
        return out[tuple(slice(None, None, -1 if flip else None) for flip in self.flips)]

    def slice_index(self, index: int, n_slices: int) -> int:
        """Canonical slice index of the array's axial index, and the other way round (its own inverse)."""
        return n_slices - 1 - index if self.flips[0] else index

    def slice_to_array(self, image: NDArray) -> NDArray:
        """Canonical slice images (..., row, column) to the orientation of ``np.take(array, index, axis=axial)``."""
        flipped = image[..., :: -1 if self.flips[1] else 1, :: -1 if self.flips[2] else 1]
        return flipped if self.order[1] < self.order[2] else np.swapaxes(flipped, -1, -2)


def interpolation_matrix(n_out: int, n_in: int, start: float, step: float) -> NDArray[np.float32]:
    """Rows interpolate ``n_in`` samples at positions ``start + step * i``; triangle kernel, widened when ``step`` > 1.

    Positions outside the input see zeros. Shape (n_out, n_in). With ``step`` 1 and an integer start, rows are unit
    vectors.
    """
    positions = start + step * np.arange(n_out)
    width = max(1.0, step)

    def kernel(samples: NDArray) -> NDArray:
        return np.clip(1.0 - np.abs(positions[:, None] - samples) / width, 0.0, None)

    # Triangles of a fractional width do not sum to the width at every position; divide by their true sum over an
    # endless row of samples, or a constant image comes out striped.
    reach = int(np.ceil(width)) + 1
    endless = kernel(np.floor(positions)[:, None] + np.arange(-reach, reach + 1)).sum(axis=1, keepdims=True)
    return (kernel(np.arange(n_in)) / endless).astype(np.float32)


@dataclass(frozen=True)
class AxisMap:
    """One in-plane axis: ``n`` model pixels of which pixel p lies at source coordinate ``start + step * p``."""

    n_source: int
    n: int
    start: float
    step: float

    @classmethod
    def fit(
        cls, n_source: int, voxel: float, spacing: float, ends: tuple[int, int], multiple: int, least: int = 1
    ) -> AxisMap:
        """Cover source voxels ``ends`` (first, last) at ``spacing`` mm, padded evenly.

        The pixels are a multiple of ``multiple``, and at least ``least`` (a multiple of it, too).
        """
        first, last = ends
        step = spacing / voxel
        if abs(step - 1.0) <= SNAP:
            step = 1.0
        needed = int(np.ceil((last - first) / step)) + 1
        n = -(-max(needed, least) // multiple) * multiple
        start = (first + last) / 2.0 - step * (n - 1) / 2.0
        return cls(n_source, n, float(np.floor(start)) if step == 1.0 else start, step)

    def linear(self) -> NDArray[np.float32]:
        """(n, n_source) matrix that interpolates source pixels at the model's; sums of none but neighbours."""
        return interpolation_matrix(self.n, self.n_source, self.start, self.step)

    def forward(self) -> NDArray[np.float32]:
        """(n, n_source) matrix from source to model pixels, which :meth:`backward` undoes: sharper than :meth:`linear`
        where voxels are large."""
        return self.linear() if self.step >= 1 else self.linear() @ _undoing(self.n_source, self.start, self.step)

    def backward(self) -> NDArray[np.float32]:
        """(n_source, n) matrix from model pixels to source; positions beyond the model's pixels give 0."""
        return interpolation_matrix(self.n_source, self.n, -self.start / self.step, 1.0 / self.step)


@lru_cache(maxsize=64)
def _undoing(n_source: int, start: float, step: float) -> NDArray[np.float32]:
    """(n_source, n_source): sharpens source pixels by what a way to smaller model pixels and back blurs.

    Going there interpolates, coming back averages; ``x + (1 - M) x + (1 - M)² x`` (Van Cittert 1931) undoes most of
    that pair M, raises no frequency to more than three times itself, and leaves constants.
    """
    before, after = (int(np.ceil(edge / step)) + 1 for edge in (start, n_source - 1 - start))
    whole = AxisMap(n_source, before + after + 1, start - before * step, step)
    lost = np.eye(n_source) - whole.backward().astype(np.float64) @ whole.linear()
    return np.asarray(np.eye(n_source) + lost + lost @ lost, dtype=np.float32)


@dataclass(frozen=True)
class SliceGrid:
    """Maps canonical slices (row, column) onto the model's pixels and back."""

    rows: AxisMap
    columns: AxisMap

    @classmethod
    def fit(
        cls,
        mask: NDArray[np.bool_],
        voxel: tuple[float, float],
        spacing: float,
        multiple: int,
        least: tuple[int, int] = (1, 1),
        margin: float = 4.0,
    ) -> SliceGrid:
        """The smallest grid around a canonical head mask.

        Args:
            mask: (slice, row, column).
            voxel: Row and column voxel size in mm.
            spacing: The model's in-plane spacing in mm.
            multiple: Pixel counts are rounded up to this.
            least: Fewest pixels, rows and columns.
            margin: Kept around the head, in mm.
        """
        axes = []
        for axis, size in ((1, voxel[0]), (2, voxel[1])):
            hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            pad = margin / size
            ends = int(np.floor(hit[0] - pad)), int(np.floor(hit[-1] + pad))
            axes.append(AxisMap.fit(mask.shape[axis], size, spacing, ends, multiple, least[axis - 1]))
        return cls(axes[0], axes[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Model pixels (rows, columns)."""
        return self.rows.n, self.columns.n

    def to_model(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., row, column) on the source grid, in [0, 1], to model pixels; air stays 0."""
        there = np.asarray(self.rows.forward() @ image @ self.columns.forward().T, dtype=np.float32)
        if min(self.rows.step, self.columns.step) < 1:
            there[self.rows.linear() @ image @ self.columns.linear().T <= 0] = 0
            there = there.clip(0, max(1.0, float(image.max(initial=0))))
        return there

    def to_source(
        self, image: NDArray[np.float32], head: NDArray[np.bool_], box: Box = (slice(None), slice(None))
    ) -> NDArray[np.float32]:
        """(..., row, column) model pixels back onto the source grid, in [0, 1]; 0 outside the head.

        The model's pixels are black outside the head, and partly so on its border: what they hold is divided by how
        much of the head is in it, or the brain's rim would come back dark wherever voxels are not the model's pixels.

        Args:
            image: In [0, 1].
            head: (..., row, column) on the source grid.
            box: Which of the model's pixels ``image`` has.
        """
        rows, columns = box
        there, across = self.rows.backward()[:, rows], self.columns.backward()[:, columns].T
        half = self.to_model(np.float32(0.5) * head)[..., rows, columns]  # sharpened, it may exceed the whole
        spread = there @ image @ across / np.maximum(2 * (there @ half @ across), LEAST_HEAD)
        return np.where(head, np.clip(spread, 0, 1), 0).astype(np.float32)
