"""A volume made ready once: what the engine, the out-of-distribution features and the report read of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .contrasts import Contrast
from .grid import Orientation
from .intensity import clean, fill_holes, find_head, normalise, white_level
from .volume import Volume

#: A given mask with more zeros than this share holds air, not dark fluid.
AIR = 0.3


@dataclass(frozen=True, eq=False)
class PreparedVolume:
    """A volume with clean intensities and a known head.

    Attributes:
        volume: As it was given, with its grid, name and header.
        data: Its intensities, float32, finite, at least 0; of a whole head that was stripped, without its bias field.
        head: Where the head is, same shape; the brain, where it is known.
        known: The head was not found by being above 0, so that zeros in it tell nothing of how bright it is.
        whole: Skull and scalp are still there; False where a mask was given.
    """

    volume: Volume
    data: NDArray[np.float32]
    head: NDArray[np.bool_]
    known: bool = False
    whole: bool = False

    @classmethod
    def of(cls, volume: Volume, mask: NDArray[np.bool_] | None = None) -> PreparedVolume:
        """The volume as it is: nothing is stripped.

        Args:
            volume: Any.
            mask: Its head, as :func:`~.masks.checked_mask` gives it; None = found (:func:`~.intensity.find_head`).

        Raises:
            VolumeError: there is no head.
        """
        data = clean(volume.data)
        if mask is None:
            head, whole = find_head(data, volume.voxel_sizes)
            return cls(volume, data, head, whole=whole)
        return cls(volume, data, without_air(mask, data), known=True)

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
        if not self.known:
            return normalise(self.data, self.head, contrast)
        white = white_level(self.data, self.head & (self.data > 0), contrast)
        return np.where(self.head, np.clip(self.data / white, 0.0, 1.0), 0.0).astype(np.float32)


def without_air(mask: NDArray[np.bool_], data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """A given mask. Zeros in it are dark fluid; but of one that is mostly air, only what signal surrounds is kept."""
    signal = mask & (data > 0)
    if not signal.any() or signal.sum() >= (1 - AIR) * mask.sum():
        return mask
    return fill_holes(signal) & mask
