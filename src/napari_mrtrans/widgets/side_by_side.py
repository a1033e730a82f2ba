"""A few layers next to each other in napari's grid, and back to what was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Layer

if TYPE_CHECKING:
    from napari.components import ViewerModel


class SideBySide:
    """Shows chosen layers alone, each in a cell of its own with its name.

    Args:
        viewer: Whose grid.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._before: dict[Layer, tuple[bool, bool]] = {}
        self._shown: list[Layer] = []

    def show(self, layers: Sequence[Layer]) -> None:
        """Show these; called again with others, those."""
        if list(layers) == self._shown:
            return
        self._shown = list(layers)
        for layer in self._viewer.layers:
            self._before.setdefault(layer, (layer.visible, layer.name_overlay.visible))
            layer.visible = layer.name_overlay.visible = layer in self._shown
        self._viewer.canvas.grid.enabled = True
        self._viewer.reset_view()

    def leave(self) -> None:
        """One picture again, as it was before; new layers stay as they are."""
        for layer, (visible, named) in self._before.items():
            if layer in self._viewer.layers:
                layer.visible, layer.name_overlay.visible = visible, named
        self._before, self._shown = {}, []
        self._viewer.canvas.grid.enabled = False
        self._viewer.reset_view()
