"""Arrays that are made, wholly or in part, when they are looked at: napari and the console take them for numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray


class LazyArray(NDArrayOperatorsMixin):
    """What a numpy array can do besides indexing, done with all of it in memory, which nobody may write.

    Whoever is one has ``shape``, ``ndim``, ``size``, ``dtype``, ``__getitem__`` and ``__array__``.
    """

    shape: tuple[int, ...]
    ndim: int
    size: int
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Of all of it."""
        return self.size * self.dtype.itemsize

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ValueError("assignment destination is read-only")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(out, LazyArray) for out in options.get("out", ())):
            raise ValueError("output array is read-only")
        return getattr(ufunc, method)(*(np.asarray(one) if one is self else one for one in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        whole: NDArray[Any] = np.asarray(self).view()
        whole.flags.writeable = False
        return getattr(whole, name)
