"""napari's grid, switched on for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel


class Grid:
    """Layers next to each other, each in a cell of its own, and back to what was there before: one picture or a grid.

    Args:
        viewer: Whose grid.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._before: bool | None = None

    @property
    def entered(self) -> bool:
        """It was switched on here, and not left yet."""
        return self._before is not None

    def enter(self) -> None:
        """Switch it on, with all of it in view."""
        if self._before is None:
            self._before = self._viewer.canvas.grid.enabled
        self._viewer.canvas.grid.enabled = True
        self._viewer.reset_view()

    def leave(self) -> None:
        """As it was before."""
        if self._before is not None:
            self._viewer.canvas.grid.enabled, self._before = self._before, None
            self._viewer.reset_view()
