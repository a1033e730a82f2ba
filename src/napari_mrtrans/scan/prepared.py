"""A volume made ready once: what the engine, the out-of-distribution features and the report read of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from .contrasts import Contrast
from .grid import Orientation
from .intensity import clean, head_mask, normalise
from .volume import Volume


@dataclass(frozen=True, eq=False)
class PreparedVolume:
    """A volume with clean intensities and a known head.

    Attributes:
        volume: As it was given, with its grid, name and header.
        data: Its intensities, float32, finite, at least 0; of a whole head that was stripped, without its bias field.
        head: Where the head is, same shape; the brain, where it is known.
    """

    volume: Volume
    data: NDArray[np.float32]
    head: NDArray[np.bool_]

    @classmethod
    def of(cls, volume: Volume, mask: NDArray[np.bool_] | None = None) -> PreparedVolume:
        """The volume as it is: nothing is stripped.

        Args:
            volume: Any.
            mask: Its head, as :func:`checked_mask` gives it; None = found (:func:`~.intensity.head_mask`).

        Raises:
            VolumeError: there is no head.
        """
        data = clean(volume.data)
        return cls(volume, data, head_mask(data) if mask is None else mask & (data > 0))

    @cached_property
    def orientation(self) -> Orientation:
        """How the array's axes map onto canonical slices."""
        return Orientation.from_affine(self.volume.affine)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The head in canonical order (slice, row, column)."""
        return self.orientation.to_canonical(self.head)

    @cached_property
    def area(self) -> NDArray[np.intp]:
        """Head voxels of each canonical slice."""
        return np.asarray(self.mask.sum(axis=(1, 2)))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Between slices, rows and columns, in mm."""
        sizes = self.volume.voxel_sizes[list(self.orientation.order)]
        return float(sizes[0]), float(sizes[1]), float(sizes[2])

    def normalised(self, contrast: Contrast) -> NDArray[np.float32]:
        """Intensities in [0, 1] as models see them, 0 outside the head, in the array's own order."""
        return normalise(self.data, self.head, contrast)


def checked_mask(mask: NDArray[np.generic], volume: Volume) -> NDArray[np.bool_]:
    """``mask`` as booleans: above 0 is inside.

    Raises:
        VolumeError: it is not on the grid of ``volume``, or empty.
    """
    array = np.asarray(mask)
    if array.shape != volume.data.shape:
        raise VolumeError(
            f"The mask has shape {array.shape}, '{volume.name}' has {volume.data.shape}; they must lie on one grid."
        )
    inside = np.nan_to_num(array) > 0
    if not inside.any():
        raise VolumeError("The mask is empty.")
    return np.asarray(inside, dtype=bool)
