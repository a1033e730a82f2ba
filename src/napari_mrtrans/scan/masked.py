"""Masked arrays (:mod:`numpy.ma`): what is masked is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def unmasked(image: ArrayLike) -> NDArray[Any]:
    """An image as an array, NaN where it is masked."""
    if not isinstance(image, np.ma.MaskedArray):
        return np.asarray(image)
    if image.dtype.kind not in "buif":
        return np.asarray(image.filled())
    kind = np.result_type(image.dtype, np.float32)
    return np.where(np.ma.getmaskarray(image), kind.type(np.nan), image.data.astype(kind))


def unmarked(mask: ArrayLike) -> NDArray[Any]:
    """A mask as an array, 0 where it is masked: outside."""
    return np.asarray(np.ma.filled(mask, 0))


def is_masked(image: ArrayLike) -> NDArray[np.bool_]:
    """Where an image is masked; one value for all of it where nothing is."""
    return np.asarray(np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else False)
