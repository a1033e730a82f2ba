"""napari's grid, switched on for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: Of each viewer, whether its grid was on before the first came in, and who is in.
_inside: WeakKeyDictionary[ViewerModel, tuple[bool, WeakSet[Grid]]] = WeakKeyDictionary()


def unwrapped(viewer: ViewerModel) -> ViewerModel:
    """The viewer itself, of which napari gives each dock a proxy of its own."""
    itself: ViewerModel = getattr(viewer, "__wrapped__", viewer)
    return itself


class Grid:
    """Layers next to each other, each in a cell of its own, and back to what was there before: one picture or a grid.

    Where several switch it on, the last to leave switches it off.

    Args:
        viewer: Whose grid.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._key = unwrapped(viewer)

    @property
    def entered(self) -> bool:
        """It was switched on here, and not left yet."""
        _, inside = self._known
        return self in inside

    def enter(self) -> None:
        """Switch it on, with all of it in view."""
        before, inside = self._known
        _inside[self._key] = before, inside
        inside.add(self)
        self._viewer.canvas.grid.enabled = True
        self._viewer.reset_view()

    def leave(self) -> None:
        """As it was before, once all have left."""
        before, inside = self._known
        if self in inside:
            inside.remove(self)
            if not inside:
                self._viewer.canvas.grid.enabled = before
            self._viewer.reset_view()

    @property
    def _known(self) -> tuple[bool, WeakSet[Grid]]:
        before, inside = _inside.get(self._key, (False, WeakSet()))
        return before if inside else self._viewer.canvas.grid.enabled, inside
