"""Following what is done to layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from napari.layers import Layer

#: Events of a layer in which something is marked: painted, drawn, or (undo, new data) drawn anew.
EDITS = ("labels_update", "data", "set_data")
#: Events of a layer that lies elsewhere now.
MOVES = ("translate", "scale", "rotate", "shear", "affine")


class Watch:
    """Tells of events of some layers, others from time to time.

    Args:
        tell: A bound method, called at each event; it is held weakly.
        events: Names of events; those that a layer does not have are left out.
    """

    def __init__(self, tell: Callable[[Any], None], events: Iterable[str]) -> None:
        self._tell = tell
        self._events = tuple(events)
        self._layers: list[Layer] = []

    def follow(self, *layers: Layer | None) -> None:
        """Follow these, and no others any more."""
        wanted = [layer for layer in layers if layer is not None]
        for layer in [*self._layers, *wanted]:
            if layer in self._layers and layer in wanted:
                continue
            for name in self._events:
                if hasattr(layer.events, name):
                    emitter = getattr(layer.events, name)
                    (emitter.disconnect if layer in self._layers else emitter.connect)(self._tell)
        self._layers = wanted
