"""What the contrast of a layer looks like, where its name does not tell; looked at in the background."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from napari.layers import Image
from napari.qt.threading import thread_worker

from ..scan.contrasts import Contrast
from .source import LayerSource

#: What was seen of layers that are still there; None where nothing is sure.
_seen: WeakKeyDictionary[Image, Contrast | None] = WeakKeyDictionary()


def look_later(layer: Image, tell: Callable[[Image, Contrast | None], None]) -> None:
    """Tell what ``layer`` looks like: at once where it was looked at before, else from the event loop, later."""
    if layer in _seen:
        tell(layer, _seen[layer])
        return
    worker = thread_worker(_look)(LayerSource.of(layer, None))

    def on_seen(contrast: Contrast | None) -> None:
        _seen[layer] = contrast
        tell(layer, contrast)

    worker.returned.connect(on_seen)
    worker.start()


def _look(source: LayerSource) -> Contrast | None:
    from ..errors import MrtransError
    from ..transformation.contrast_guess import look_at_contrast

    try:
        seen = look_at_contrast(source.volume())
    except MrtransError:  # the form says what is wrong with it
        return None
    return None if seen is None else seen[0]
