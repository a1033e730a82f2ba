"""A few layers next to each other in napari's grid, and back to what was seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from ..grid import Grid

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: Points; names of a few dozen letters fit three cells in a row.
NAME_SIZE = 6
#: Of a name that is longer, the end is seen: the model.
NAME_AT = "top_right"


class SideBySide:
    """Shows chosen layers alone, each in a cell of its own with its name.

    Args:
        viewer: Whose grid.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._before: dict[Layer, tuple[bool, bool, float, Any]] = {}
        self._limits: dict[Layer, list[float]] = {}
        self._shown: list[Layer] = []
        self._grid = Grid(viewer)

    def show(self, layers: Sequence[Layer], windows: Mapping[Layer, tuple[float, float]]) -> None:
        """Show these; called again with others, those. ``windows``: contrast limits that make them comparable."""
        if list(layers) == self._shown:
            return
        self._shown = list(layers)
        for layer in self._viewer.layers:
            name = layer.name_overlay
            self._before.setdefault(layer, (layer.visible, name.visible, name.font_size, name.position))
            layer.visible = name.visible = layer in self._shown
            name.font_size, name.position = NAME_SIZE, NAME_AT
        for layer, limits in windows.items():
            if layer in self._viewer.layers:
                self._limits.setdefault(layer, layer.contrast_limits)
                layer.contrast_limits = limits
        self._grid.enter()

    def leave(self) -> None:
        """As it was before, one picture or a grid; new layers stay as they are."""
        if not self._grid.entered:
            return
        for layer, (visible, named, size, position) in self._before.items():
            if layer in self._viewer.layers:
                name = layer.name_overlay
                layer.visible, name.visible, name.font_size, name.position = visible, named, size, position
        for layer, limits in self._limits.items():
            layer.contrast_limits = limits
        self._before, self._limits, self._shown = {}, {}, []
        self._grid.leave()
