"""Results of a window, which stay with it when the dock that made them is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .run import Run

_NAME = "_napari_mrtrans_runs"


def kept_runs(viewer: ViewerModel) -> list[Run]:
    """The list of them, to be changed in place; it goes with the window, and a viewer without one has none."""
    window = getattr(getattr(viewer, "__wrapped__", viewer), "window", None)
    kept: list[Run] = [] if window is None else window.__dict__.setdefault(_NAME, [])
    return kept
