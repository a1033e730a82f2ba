"""The layers of one run: mean, std and samples, made at the first finished slice and filled in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from .layer_kinds import LayerKinds
from .parts import add_beside, add_part
from .placement import inherited, with_sample_axis
from .quantile import RunningQuantile
from .redraw import redraw
from .source import RESULT_KEY
from .sparse import SparseSlices

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..transformation.streaming import SliceUpdate

#: Share of the std voxels below the upper contrast limit.
STD_QUANTILE = 0.99
#: Relative change of the upper limit that is worth a redraw.
LIMIT_TOLERANCE = 0.05


def _within(known: NDArray[np.bool_] | None, image: NDArray[np.float32]) -> NDArray[np.float32]:
    return image if known is None else np.where(known, image, np.float32(np.nan))


class ResultLayers:
    """Mean, std and sample layers of one run on one source layer.

    The arrays exist from the first slice on, their layers are added one by one: each addition holds up napari's
    window for a moment, together they would be a visible stop. The layers show read-only views, since a run goes on
    filling the arrays and nothing else may write them. What was not computed is NaN, so that nothing is drawn there.

    Args:
        viewer: Where the layers go.
        source: The layer transformed; only its placement and metadata are kept.
        axis: Array axis of the axial slices.
        kinds: Which layers to make.
        stem: Start of the layers' names.
        label: End of the layers' names, in brackets: what made them.
        record: Called at the first slice; goes to ``metadata["mrtrans"]`` of every layer, with its kind added.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        source: Layer,
        *,
        axis: int,
        kinds: LayerKinds,
        stem: str,
        label: str,
        record: Callable[[], dict[str, Any]],
    ) -> None:
        self._viewer = viewer
        self._axis = axis
        self._kinds = kinds
        self._shape: tuple[int, ...] = tuple(source.data.shape)
        self._placement = inherited(source)
        self._stem, self._label = stem, label
        self._record = record
        self._show_std = False
        self._spread = RunningQuantile()
        self._std_limits: list[float] | None = None
        self._dirty = False
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._samples: dict[str, SparseSlices] = {}
        self._written: set[int] = set()
        self._pending: list[str] = []
        self._layers: dict[str, Image] = {}
        self._finished: list[Image] | None = None
        self._reserved: dict[str, NDArray[np.float32]] | None = None

    def reserve(self) -> None:
        """Take the memory for mean and std: not for the GUI thread, which a large volume would hold up."""
        self._reserved = self._volumes()

    @property
    def mean(self) -> Image | None:
        """The mean layer, once the first slice is there."""
        return self._layers.get("mean")

    @property
    def std(self) -> Image | None:
        """The std layer, once it is added."""
        return self._layers.get("std")

    @property
    def made(self) -> list[Image]:
        """The layers added so far, deleted ones as well."""
        return list(self._layers.values())

    @property
    def samples(self) -> NDArray[np.float32] | None:
        """All samples, (n, ...), if they are kept and a slice has come; 0 where nothing was computed."""
        filled = [np.nan_to_num(samples.filled(0), copy=False) for samples in self._samples.values()]
        return (filled[0] if self._kinds.stacked else np.stack(filled)) if filled else None

    @property
    def n_kept(self) -> int:
        """How many samples are kept."""
        return self._kinds.n if self._samples else 0

    def sample(self, k: int, where: tuple[Any, ...]) -> NDArray[np.float32]:
        """Sample ``k`` at an index of the mean's array: a voxel, or slices of it."""
        if self._kinds.stacked:
            return self._samples["samples"][(k, *where)]
        return list(self._samples.values())[k][where]

    def samples_at(self, voxel: tuple[int, ...]) -> NDArray[np.float32] | None:
        """The samples of one voxel, if they are kept."""
        if self._kinds.stacked and self._samples:
            return self._samples["samples"][(slice(None), *voxel)]
        return np.array([samples[voxel] for samples in self._samples.values()]) if self._samples else None

    def adopt(self, kind: str, layer: Image) -> None:
        """Add another layer that belongs to these; what was active stays so."""
        self._layers[kind] = layer
        add_part(layer)
        add_beside(self._viewer, layer)

    def alive(self) -> Iterator[Image]:
        """The layers of this run that nobody has deleted."""
        return (layer for layer in self._layers.values() if layer in self._viewer.layers)

    def add(self, update: SliceUpdate, *, shown: bool = True) -> None:
        """Write one finished slice; the first one makes the arrays and the mean layer.

        ``shown``: it is on display and needs a redraw.
        """
        self._make_room()
        where = self._where(update.index)
        self._written.add(update.index)
        known = update.known
        self._arrays["mean"][where] = _within(known, update.mean)
        if "std" in self._arrays:
            std = update.std if update.calibrated_std is None or not self._kinds.calibrated else update.calibrated_std
            self._arrays["std"][where] = _within(known, std)
            self._spread.add(std[std > 0])
        if update.samples is not None and self._samples:
            parts = [update.samples] if self._kinds.stacked else update.samples
            for samples, part in zip(self._samples.values(), parts, strict=True):
                samples.put(update.index, _within(known, part))
        self._dirty |= shown

    def add_next_layer(self) -> bool:
        """Add the next layer that is still missing; False when there is none."""
        if not self._pending:
            return False
        kind = self._pending.pop(0)
        layer = self._image(kind)
        self._layers[kind] = layer
        if kind == "mean":
            self._viewer.add_layer(layer)
        else:
            add_beside(self._viewer, layer)
        if kind in self._samples and self.mean in self._viewer.layers:
            # One window for all, or they could not be compared by eye.
            self._viewer.layers.link_layers([self.mean, layer], ("contrast_limits",))
        return True

    def refresh(self) -> None:
        """Redraw what was written since the last call; cheap enough for several calls a second."""
        if not self._dirty:
            return
        self._dirty = False
        self._fit_std_limits()
        flat = self._viewer.dims.ndisplay == 2  # in 3-D a thumbnail is made of the whole volume
        for layer in self.alive():
            redraw(layer, thumbnail=flat and layer in (self.mean, self.std))

    def fill_rest(self) -> None:
        """Slices that never came hold no head: they are known to be 0."""
        for index in set(range(self._shape[self._axis])) - self._written if self._arrays else ():
            for volume in self._arrays.values():
                volume[self._where(index)] = 0
            for samples in self._samples.values():
                samples.put(index, 0)

    def finish_one(self) -> bool:
        """Add the next layer that is missing, or redraw one for the last time; False when all of that is done."""
        if self.add_next_layer():
            return True
        if self._finished is None:
            self._fit_std_limits()
            self._finished = list(self.alive())
        while self._finished:
            layer = self._finished.pop()
            if layer in self._viewer.layers:
                redraw(layer, thumbnail=True)
                return True
        return False

    def finish(self) -> None:
        """All of it at once: the window stands still for as long."""
        while self.finish_one():
            pass

    def show_std(self, visible: bool) -> None:
        """Show or hide the std layer, also one that is yet to come."""
        self._show_std = visible
        if self.std is not None:
            self.std.visible = visible

    def _make_room(self) -> None:
        if not self._arrays:
            self._allocate()
            self.add_next_layer()

    def _where(self, index: int) -> tuple[slice | int, ...]:
        return (slice(None),) * self._axis + (index,)

    def _volumes(self) -> dict[str, NDArray[np.float32]]:
        return self._kinds.volumes(self._shape)

    def _allocate(self) -> None:
        reserved, self._reserved = self._reserved, None
        self._arrays = self._volumes() if reserved is None else reserved
        self._samples = self._kinds.samples(self._shape, self._axis)
        self._pending = [*self._arrays, *self._samples]

    def _image(self, kind: str) -> Image:
        placement = with_sample_axis(self._placement) if kind == "samples" else dict(self._placement)
        placement["metadata"] = {**self._placement["metadata"], RESULT_KEY: self._labels(kind)}
        shown: Any = self._samples.get(kind)
        if shown is None:
            shown = self._arrays[kind].view()
            shown.flags.writeable = False
        layer = Image(
            shown,
            rgb=False,  # a last axis of 3 slices is no colour
            name=self._name(kind),
            contrast_limits=(0.0, 1.0),
            colormap="magma" if kind == "std" else "gray",
            interpolation3d="nearest",  # between a slice and an unknown one, nothing can be interpolated
            visible=kind == "mean" or (kind == "std" and self._show_std),
            **placement,
        )
        # moved by hand, it would no longer lie on its source
        layer.editable = False
        add_part(layer)
        return layer

    def _name(self, kind: str) -> str:
        return f"{self._stem}_{kind} ({self._label})"

    def _labels(self, kind: str) -> dict[str, Any]:
        return {**self._record(), "kind": kind if kind not in self._samples else "samples"}

    def _fit_std_limits(self) -> None:
        if self.std is None:
            return
        upper, limits = self._spread.value(STD_QUANTILE), self.std.contrast_limits
        own = self._std_limits is not None and limits != self._std_limits  # the user's
        if upper > 0 and not own and abs(upper - limits[1]) > LIMIT_TOLERANCE * upper:
            self.std.contrast_limits = (0.0, upper)
            self._std_limits = self.std.contrast_limits
