"""Arrays that callers give, masked ones (:mod:`numpy.ma`) among them: what is masked is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MrtransError


def unmasked(image: ArrayLike) -> NDArray[Any]:
    """An image as an array, NaN where it is masked.

    Raises:
        MrtransError: it is a volume, or another object that is no array.
    """
    if not isinstance(image, np.ma.MaskedArray):
        return _array(image)
    if image.dtype.kind not in "buif":
        return np.asarray(image.filled())
    kind = np.result_type(image.dtype, np.float32)
    return np.where(np.ma.getmaskarray(image), kind.type(np.nan), image.data.astype(kind))


def unmarked(mask: ArrayLike) -> NDArray[Any]:
    """A mask as an array, 0 where it is masked: outside.

    Raises:
        MrtransError: it is a volume, or another object that is no array.
    """
    return _array(np.ma.filled(mask, 0) if isinstance(mask, np.ma.MaskedArray) else mask)


def is_masked(image: ArrayLike) -> NDArray[np.bool_]:
    """Where an image is masked; one value for all of it where nothing is."""
    return np.asarray(np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else False)


def _array(given: ArrayLike) -> NDArray[Any]:
    array = np.asarray(given)
    if array.dtype == object and not array.ndim and not isinstance(given, np.ndarray):
        remedy = "; give volume.data" if hasattr(given, "data") else ""
        raise MrtransError(f"Expected an array, got a {type(given).__name__}{remedy}.")
    return array
