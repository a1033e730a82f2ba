"""The layers of one run: mean, std and samples, made at the first finished slice and filled in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from .source import RESULT_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..transform import SliceUpdate

#: Share of the std voxels below the upper contrast limit.
STD_QUANTILE = 0.99
#: Relative change of the upper limit that is worth a redraw.
LIMIT_TOLERANCE = 0.05


class KeepSamples(str, Enum):
    """Which sample layers a run leaves."""

    NONE = "No"
    STACK = "One 4-D layer"
    SEPARATE = "Separate layers"


def inherited(layer: Layer) -> dict[str, Any]:
    """Keyword arguments that put a new 3-D layer exactly where ``layer`` lies."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
        "metadata": dict(layer.metadata),
    }


def with_sample_axis(placement: dict[str, Any]) -> dict[str, Any]:
    """The same placement for an array with one more axis, the samples, in front."""
    rotate = np.eye(4)
    rotate[1:, 1:] = placement["rotate"]
    affine = np.eye(5)
    affine[1:, 1:] = placement["affine"].affine_matrix
    return {
        "scale": (1.0, *placement["scale"]),
        "translate": (0.0, *placement["translate"]),
        "rotate": rotate,
        "shear": (0.0, 0.0, 0.0, *placement["shear"]),
        "affine": Affine(affine_matrix=affine),
        "units": ("pixel", *placement["units"]),
        "axis_labels": ("sample", *placement["axis_labels"]),
        "metadata": dict(placement["metadata"]),
    }


class RunningQuantile:
    """A quantile of many non-negative values in [0, 1] seen block by block, from a histogram."""

    def __init__(self, bins: int = 2048) -> None:
        self._counts = np.zeros(bins, dtype=np.int64)

    def add(self, values: NDArray[np.floating]) -> None:
        """Count one block; values above 1 count as 1."""
        bins = len(self._counts)
        index = np.minimum((values * bins).astype(np.int64), bins - 1)
        self._counts += np.bincount(index, minlength=bins)

    def value(self, quantile: float) -> float:
        """The upper edge of the bin where ``quantile`` falls; 0 before any value."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        index = int(np.searchsorted(np.cumsum(self._counts), quantile * total))
        return (index + 1) / len(self._counts)


class ResultLayers:
    """Mean, std and sample layers of one run on one source layer.

    Args:
        viewer: Where the layers go.
        source: The layer transformed; only its placement, name and metadata are kept.
        axis: Array axis of the axial slices.
        stem: Start of the layers' names.
        record: Called at the first slice; goes to ``metadata["mrtrans"]`` of every layer, with its kind added.
        keep: Which sample layers to make.
        deterministic: No std and no samples.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        source: Layer,
        *,
        axis: int,
        stem: str,
        record: Callable[[], dict[str, Any]],
        keep: KeepSamples = KeepSamples.NONE,
        deterministic: bool = False,
    ) -> None:
        self._viewer = viewer
        self._axis = axis
        self._shape: tuple[int, ...] = tuple(source.data.shape)
        self._placement = inherited(source)
        self._stem = stem
        self._record = record
        self._keep = KeepSamples.NONE if deterministic else keep
        self._deterministic = deterministic
        self._std_spread = RunningQuantile()
        self._dirty = False
        self.mean: Image | None = None
        self.std: Image | None = None
        self.samples: list[Image] = []

    def add(self, update: SliceUpdate) -> None:
        """Write one finished slice; the first one makes the layers."""
        if self.mean is None:
            self._create(len(update.samples))
        where = (slice(None),) * self._axis + (update.index,)
        if self.mean is not None:
            self.mean.data[where] = update.mean
        if self.std is not None:
            self.std.data[where] = update.std
            self._std_spread.add(update.std[update.std > 0])
        if self._keep is KeepSamples.STACK:
            self.samples[0].data[(slice(None), *where)] = update.samples
        for layer, sample in zip(self.samples, update.samples, strict=False):
            if self._keep is KeepSamples.SEPARATE:
                layer.data[where] = sample
        self._dirty = True

    def refresh(self) -> None:
        """Redraw what was written since the last call; cheap enough for several calls a second."""
        if not self._dirty:
            return
        self._dirty = False
        self._fit_std_limits()
        for layer in self.alive():
            layer.refresh(thumbnail=False, extent=False, highlight=False)

    def finish(self) -> None:
        """Redraw once more, with thumbnails."""
        self._fit_std_limits()
        for layer in self.alive():
            layer.refresh()

    def alive(self) -> Iterator[Image]:
        """The layers of this run that nobody has deleted."""
        for layer in (self.mean, self.std, *self.samples):
            if layer is not None and layer in self._viewer.layers:
                yield layer

    def _create(self, n: int) -> None:
        if self._keep is KeepSamples.STACK:
            placement = with_sample_axis(self._placement)
            self.samples = [self._image("samples", (n, *self._shape), placement, visible=False)]
        elif self._keep is KeepSamples.SEPARATE:
            self.samples = [
                self._image(f"sample_{k + 1:02d}", self._shape, self._placement, visible=False) for k in range(n)
            ]
        self.mean = self._image("mean", self._shape, self._placement)
        if not self._deterministic:
            self.std = self._image("std", self._shape, self._placement, visible=False, colormap="magma")
            self._viewer.layers.selection.active = self.mean

    def _image(self, kind: str, shape: tuple[int, ...], placement: dict[str, Any], **look: Any) -> Image:
        metadata = {**placement["metadata"], RESULT_KEY: {**self._record(), "kind": kind.split("_")[0]}}
        layer = Image(
            np.zeros(shape, dtype=np.float32),
            name=f"{self._stem}_{kind}",
            contrast_limits=(0.0, 1.0),
            **{**placement, "metadata": metadata},
            **look,
        )
        self._viewer.add_layer(layer)
        return layer

    def _fit_std_limits(self) -> None:
        if self.std is None:
            return
        upper = self._std_spread.value(STD_QUANTILE)
        if upper > 0 and abs(upper - self.std.contrast_limits[1]) > LIMIT_TOLERANCE * upper:
            self.std.contrast_limits = (0.0, upper)
