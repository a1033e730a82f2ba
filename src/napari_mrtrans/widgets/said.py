"""What the user said that images show, which counts more than their names, in every dock."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from napari.layers import Layer

from ..scan.contrasts import Contrast

_said: WeakKeyDictionary[Layer, Contrast] = WeakKeyDictionary()


def say_contrast(layer: Layer, contrast: Contrast) -> None:
    """The user corrected or confirmed what a layer shows."""
    _said[layer] = contrast


def said_contrast(layer: Layer) -> Contrast | None:
    """What was said of it last; None where nothing was."""
    return _said.get(layer)
