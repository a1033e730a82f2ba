"""Following what is done to layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from zlib import crc32

import numpy as np
from napari.layers import Layer, Shapes
from qtpy.QtCore import QObject, QTimer

from .placement import place_of

#: Events of a layer in which something is marked: painted, drawn, or (undo, new data) drawn anew; the last is sent
#: when another slice of it is shown, too (:func:`fingerprint`).
EDITS = ("labels_update", "data", "set_data")
#: Events of a layer that lies elsewhere now.
MOVES = ("translate", "scale", "rotate", "shear", "affine")


#: A stroke of the brush sends many events; this long after the last one, what was marked is looked at.
PAUSE_MS = 300


def pause_before(look: Callable[[], None], parent: QObject) -> QTimer:
    """A timer of ``parent``, to be started at each edit, that looks once they have paused."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(PAUSE_MS)
    timer.timeout.connect(look)
    return timer


def place(layer: Layer) -> tuple[bytes, ...]:
    """Where a layer lies, in brief."""
    return tuple(np.asarray(value, dtype=np.float64).tobytes() for value in place_of(layer).values())


def fingerprint(layer: Layer | None) -> tuple[object, ...]:
    """What a layer holds and where it lies, in brief: the same for as long as it is neither edited nor moved."""
    if layer is None:
        return ()
    whole = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    parts = zip(layer.shape_type, layer.data, strict=True) if isinstance(layer, Shapes) else [("", whole)]
    held = [(kind, np.shape(part), crc32(np.ravel(np.asarray(part), order="K").data)) for kind, part in parts]
    return (id(layer), *held, *place(layer))


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
