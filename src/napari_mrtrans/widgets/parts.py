"""Which layers are parts of results: napari copies what a layer says of itself into whatever is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from napari.layers import Layer

if TYPE_CHECKING:
    from napari.components import ViewerModel

_parts: WeakSet[Layer] = WeakSet()


def add_part(layer: Layer) -> None:
    """A run made this layer, or a file of a saved result was opened as it."""
    _parts.add(layer)


def add_beside(viewer: ViewerModel, layer: Layer) -> None:
    """Add a layer to a viewer; what was active there stays so."""
    before = viewer.layers.selection.active
    viewer.add_layer(layer)
    viewer.layers.selection.active = before


def is_part(layer: Layer) -> bool:
    """Whether it is one: a projection, a copy or a conversion of one is none, whatever it says of itself."""
    return layer in _parts
