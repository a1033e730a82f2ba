"""What a network sees of a slice: the part of the model's grid around the head.

Group and instance normalisation take in the whole image, black margin included, so a network must meet the same framing
in training, validation, evaluation and use. A checkpoint's card says which. Beyond the head a slice is 0, so what is
seen depends on the head alone, not on the field of view.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

#: Frames, and the model's grid, grow in steps of this many pixels (or the network's own multiple).
STEP = 16
#: More of them than any slice needs, and few enough to be held.
MOST = 4096
#: Rows and columns of a part of an image.
Box = tuple[slice, slice]


class Framing(BaseModel):
    """How large a frame is: as large as the head and its margin, and no smaller than ``rows`` x ``columns`` pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(128, ge=STEP, le=MOST, description="fewest rows; the smallest slices fill a fraction of it")
    columns: int = Field(128, ge=STEP, le=MOST, description="fewest columns")
    margin: int = Field(4, ge=0, le=MOST, description="pixels around the head, both sides together")

    @property
    def least(self) -> tuple[int, int]:
        """Fewest rows and columns."""
        return self.rows, self.columns

    def box(self, image: NDArray[np.float32], step: int = STEP) -> Box:
        """The frame of one slice, in the middle of its head as far as the image allows.

        Args:
            image: (row, column), 0 outside the head, at least :attr:`least` in size (see :func:`pad`).
            step: Rows and columns of the frame are multiples of this.
        """
        sides = []
        for (low, high), size, least in zip(extent(image), image.shape, self.least, strict=True):
            length = min(max(_up(high - low + self.margin, step), _up(least, step)), size)
            start = min(max((low + high - length) // 2, 0), size - length)
            sides.append(slice(start, start + length))
        return sides[0], sides[1]

    def pad(self, image: NDArray[np.float32], step: int = STEP) -> NDArray[np.float32]:
        """(..., row, column) with black around it, evenly, until it is a multiple of ``step`` and at least a frame."""
        rows, columns = self.margins((image.shape[-2], image.shape[-1]), step)
        return np.pad(image, [(0, 0)] * (image.ndim - 2) + [rows, columns])

    def margins(self, shape: tuple[int, int], step: int = STEP) -> tuple[tuple[int, int], tuple[int, int]]:
        """What :meth:`pad` adds to an image of ``shape``: rows before and after it, columns before and after it."""
        rows, columns = (
            max(_up(size, step), _up(least, step)) - size for size, least in zip(shape, self.least, strict=True)
        )
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def extent(image: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and past-last row, and column, of the head in a slice; (0, 1) where there is none."""
    head = image > 0
    found = [np.flatnonzero(head.any(axis=1 - axis)) for axis in (0, 1)]
    return [(int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 1) for hit in found]


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
