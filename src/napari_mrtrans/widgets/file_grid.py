"""How a layer's voxels lie in the file it came from, or in one that is made for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

#: In voxels, at the far corner: rounding of a header, not another grid.
_TOLERANCE = 0.01
#: Axes as they lie.
_SAME = np.array([[0, 1], [1, 1], [2, 1]], dtype=float)


@dataclass(frozen=True)
class FileGrid:
    """The grid of a NIfTI file.

    Attributes:
        turn: From the layer's axes to the file's, as from :func:`nibabel.orientations.ornt_transform`.
        affine: Voxel index in the file to RAS millimetres.
        header: That of the file the layer came from, or None.
    """

    turn: NDArray[np.floating]
    affine: NDArray[np.float64]
    header: nib.Nifti1Header | None = None

    @classmethod
    def of(cls, shape: Sequence[int], affine: NDArray[np.float64], metadata: Mapping[str, Any]) -> FileGrid:
        """Of a layer with the first three axes ``shape``, whose index ``affine`` takes to RAS millimetres.

        The file's own grid where the reader left its header in the metadata and it is of the same image; else the axes
        as they lie in memory.
        """
        header = metadata.get("header")
        if not isinstance(header, nib.Nifti1Header):
            return cls(_SAME, affine)
        original = header.get_best_affine()
        if not np.isfinite(original).all() or np.linalg.matrix_rank(original) < 4:
            return cls(_SAME, affine)
        turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.io_orientation(original))
        turned = affine @ nib.orientations.inv_ornt_aff(turn, tuple(shape))
        there = tuple(int(shape[axis]) for axis in np.argsort(turn[:, 0]))
        difference = np.linalg.solve(original, turned) - np.eye(4)
        off = np.abs(difference[:3] * (*there, 1)).max()
        if there != tuple(header.get_data_shape()[:3]) or off > _TOLERANCE:
            return cls(_SAME, affine)
        return cls(turn, original, header)

    def layer(self, data: NDArray[Any]) -> NDArray[Any]:
        """Voxels of the file, spatial axes first, in the layer's order."""
        back = nib.orientations.ornt_transform(_SAME, self.turn)
        return np.asarray(nib.apply_orientation(data, back))

    def array(self, data: NDArray[Any]) -> NDArray[Any]:
        """Voxels of the layer, spatial axes first, in the file's order."""
        return np.asarray(nib.apply_orientation(data, self.turn))
