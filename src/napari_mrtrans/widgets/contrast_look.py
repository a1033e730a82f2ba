"""What the contrast of a layer looks like, where its name does not tell; looked at in the background."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

from napari.layers import Image

from ..scan.contrasts import Contrast
from .background import in_background
from .source import LayerSource

#: What was seen of layers that are still there; None where nothing is sure.
_seen: WeakKeyDictionary[Image, Contrast | None] = WeakKeyDictionary()


def look_later(layer: Image, tell: Callable[[Image, Contrast | None], None]) -> None:
    """Tell what ``layer`` looks like: at once where it was looked at before, else from the event loop, later."""
    if layer in _seen:
        tell(layer, _seen[layer])
        return

    def on_seen(contrast: Contrast | None, problem: str) -> None:  # which the form tells
        _seen[layer] = contrast
        tell(layer, contrast)

    in_background(partial(_look, LayerSource.of(layer, None)), on_seen)


def _look(source: LayerSource) -> Contrast | None:
    from ..transformation.contrast_guess import look_at_contrast

    seen = look_at_contrast(source.volume())
    return None if seen is None else seen[0]
