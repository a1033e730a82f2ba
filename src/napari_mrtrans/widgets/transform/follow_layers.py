"""The layers that fill up while the slider is followed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layer_kinds import KeepSamples, LayerKinds
from ..layers import STD_QUANTILE, ResultLayers
from ..lesion.latest import forget
from ..source import RESULT_KEY

if TYPE_CHECKING:
    from ...transformation.streaming import SliceUpdate


class FollowLayers(ResultLayers):
    """Mean and std, where previews come and go in the mean, limits are set once, and one model gives way to another.

    No samples: they would be many times what one looks at.
    """

    def __init__(self, *args: Any, kinds: LayerKinds, **options: Any) -> None:
        super().__init__(*args, kinds=replace(kinds, keep=KeepSamples.NONE), **options)
        self._previews: set[int] = set()
        self._fitted = False
        self._taken_over = False
        self._before: FollowLayers | None = None

    @property
    def lost(self) -> bool:
        """The mean layer was made, and somebody has deleted it."""
        return self.mean is not None and self.mean not in self._viewer.layers

    def take_over(self, other: FollowLayers) -> None:
        """Use the layers of another run on the same source; they keep showing its slices until the first one comes."""
        self._arrays, self._layers = other._arrays, other._layers
        self._show_std, self._before = other._show_std, other
        self._taken_over = bool(self._arrays)

    def add_preview(self, update: SliceUpdate, *, shown: bool) -> None:
        """Write a mean that will be refined; how far the few samples of a preview differ says nothing yet."""
        self._make_room()
        self._arrays["mean"][self._where(update.index)] = update.mean
        self._previews.add(update.index)
        self._dirty |= shown

    def add(self, update: SliceUpdate, *, shown: bool = True) -> None:
        """Write one finished slice."""
        super().add(update, shown=shown)
        self._previews.discard(update.index)

    def finish_one(self) -> bool:
        """Leave finished slices only, then as any layers."""
        for index in self._previews:
            self._arrays["mean"][self._where(index)] = np.nan
        self._previews.clear()
        return super().finish_one()

    def _make_room(self) -> None:
        if self._taken_over:
            self._taken_over = False
            self._renew()
        super()._make_room()

    def _renew(self) -> None:
        """Empty what was taken over and make it this run's; those before it have no layers any more."""
        while self._before is not None:
            before, self._before = self._before, self._before._before
            before._arrays, before._layers = {}, {}
        if self.mean is not None:
            forget(self.mean)  # what was measured in it was of the other model
        # the error map is of the other mean; of one answer there is no std either, nor what shows it: veil and lines
        kept_on = {"mean"} if self._kinds.deterministic else self._layers.keys() - {"error"}
        for kind in [kind for kind in self._layers if kind not in kept_on]:
            layer = self._layers.pop(kind)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        kept = self._arrays
        self._written.clear()
        self._allocate()
        for kind in self._arrays.keys() & kept.keys():
            self._arrays[kind] = kept[kind]
            kept[kind][...] = np.nan
        self._pending = [kind for kind in self._arrays if kind not in self._layers]
        for kind, layer in self._layers.items():
            layer.name = self._name(kind)
            layer.metadata.update(self._placement["metadata"])
            layer.metadata[RESULT_KEY] = self._labels(kind)

    def _fit_std_limits(self) -> None:
        """Limits that moved with every slice would flicker."""
        if self.std is not None and not self._fitted and self._spread.value(STD_QUANTILE) > 0:
            super()._fit_std_limits()
            self._fitted = True
