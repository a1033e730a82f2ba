"""An array of which only some slices are there: it takes memory for those alone, and the rest of it is NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lazy import LazyArray


class SparseSlices(LazyArray):
    """What napari needs of an array to show it (shape, dtype, indexing, ``numpy.asarray``), without its memory.

    Args:
        shape: Of the whole array.
        axis: Along which slices come.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: Sequence[int], axis: int) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape))
        self._axis = axis
        self._slices: dict[int, NDArray[np.float32]] = {}
        self._unknown = np.broadcast_to(np.float32(np.nan), self.shape[:axis] + self.shape[axis + 1 :])

    def put(self, index: int, values: NDArray[np.float32] | float) -> None:
        """Slice ``index`` is there; a number: it is the same everywhere."""
        self._slices[index] = np.broadcast_to(np.asarray(values, np.float32), self._unknown.shape)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        key = key if isinstance(key, tuple) else (key,)
        if not all(isinstance(part, int | np.integer | slice) for part in key):
            return self.filled(np.nan)[key]
        key = (*key, *[slice(None)] * (self.ndim - len(key)))
        axis = self._axis
        where, rest = key[axis], key[:axis] + key[axis + 1 :]
        wanted = range(self.shape[axis])[where]
        if isinstance(wanted, int):
            return self._slices.get(wanted, self._unknown)[rest]
        kept = sum(isinstance(part, slice) for part in key[:axis])
        shape = np.array(self._unknown[rest].shape)
        out = np.full(np.insert(shape, kept, len(wanted)), np.nan, np.float32)
        planes = np.moveaxis(out, kept, 0)
        for place, index in enumerate(wanted):
            if index in self._slices:
                planes[place] = self._slices[index][rest]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.filled(np.nan).astype(dtype or self.dtype, copy=False)

    def filled(self, value: float) -> NDArray[np.float32]:
        """All of it in memory, ``value`` where no slice is there."""
        out = np.full(self.shape, value, np.float32)
        planes = np.moveaxis(out, self._axis, 0)
        for index, values in self._slices.items():
            planes[index] = values
        return out
