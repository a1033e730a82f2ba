"""A smooth way through the samples of a run: what may vary, shown as movement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..lazy import LazyArray

if TYPE_CHECKING:
    from .saved_run import Result


class Morph(LazyArray):
    """What napari needs of an array (shape, dtype, indexing): the image at one point of the way, made when looked at.

    Between two samples their deviations from the mean are added with weights cos and sin, so that each point of the
    way deviates as much as a sample does (for independent Gaussian deviations it is one: P. Hennig, "Animating samples
    from Gaussian distributions", 2013), where a straight line would be too calm half way.

    Args:
        run: Whose samples; it must have kept at least one.

    Attributes:
        phase: In samples from the first one, any number from 0; after the last sample the first comes again.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, run: Result) -> None:
        self._layers = run.layers
        mean = run.layers.mean
        assert mean is not None
        self._mean = mean.data
        self.shape: tuple[int, ...] = tuple(mean.data.shape)
        self.ndim, self.size = mean.data.ndim, int(np.prod(self.shape))
        self.phase = 0.0

    @property
    def over(self) -> bool:
        """The samples are gone: the file of them was closed. What it shows then is the mean."""
        return not self._layers.n_kept

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        where = key if isinstance(key, tuple) else (key,)
        count = self._layers.n_kept
        if not count:
            return np.asarray(self._mean[key], np.float32)
        first = int(self.phase) % count
        turn = (self.phase % 1) * np.pi / 2
        image = np.asarray(self._layers.sample(first, where), np.float32)
        if turn == 0:
            return image
        mean = self._mean[key]
        other = np.asarray(self._layers.sample((first + 1) % count, where), np.float32)
        moved = mean + np.cos(turn) * (image - mean) + np.sin(turn) * (other - mean)
        return np.clip(moved, 0, 1).astype(np.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> NDArray[np.float32]:
        """A duplicate of the layer is a picture of this moment."""
        return np.array(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[(slice(None),) * self.ndim].astype(dtype or self.dtype, copy=False)
