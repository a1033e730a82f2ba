"""Drawing a layer whose array was written into."""

from __future__ import annotations

from napari.layers import Layer


def redraw(layer: Layer, *, thumbnail: bool) -> None:
    """Draw it anew, and its small picture in the list of layers, which of a hidden layer napari leaves black."""
    layer.refresh(thumbnail=thumbnail, extent=False, highlight=False)
    if thumbnail and not layer.visible:
        layer.set_view_slice()
        layer._update_thumbnail()
