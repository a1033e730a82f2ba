"""*Use it now*: the dock of the transformation, with a checkpoint chosen in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from ...scan.contrasts import Pair
from ..demo import PLUGIN, WIDGET
from ..last_used import LastUsed
from ..source import guess_layer_contrast
from ..transform.dock import TransformWidget

if TYPE_CHECKING:
    import napari

    from ...checkpoints.checkpoint import Checkpoint


def open_transform(viewer: napari.Viewer, dock: QWidget) -> TransformWidget:
    """The dock of the transformation in front, opened if it is not in the window of ``dock``."""
    window = dock.parent()
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parent()
    found = next(iter(window.findChildren(TransformWidget)), None) if window is not None else None
    widget: TransformWidget = found or viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    around = widget.parent()
    if isinstance(around, QDockWidget):
        around.show()
        around.raise_()
    return widget


def use(viewer: napari.Viewer, dock: QWidget, checkpoint: Checkpoint) -> str:
    """Choose a checkpoint for an image that it can transform; a line that says what is chosen.

    Raises:
        MrtransError: it is not installed any more.
    """
    LastUsed({}).prefer_model(checkpoint.name)
    widget = open_transform(viewer, dock)
    if widget.state.busy:
        return f"'{checkpoint.name}' can be chosen there once the transformation that runs has ended."
    form = widget.form
    fitting = [pair for pair in checkpoint.pairs if form.pair is not None and pair.source == form.pair.source]
    if form.layer is None or not fitting:
        sources = {pair.source for pair in checkpoint.pairs}
        layers = [layer for layer in form.image.layers if guess_layer_contrast(layer) in sources]
        if not layers:
            names = " or ".join(sorted(sources))
            return f"Open {names}: '{checkpoint.name}' is then chosen for it."
        form.image.choose(layers[-1])
        fitting = [pair for pair in checkpoint.pairs if pair.source == guess_layer_contrast(layers[-1])]
    pair: Pair = form.pair if form.pair in fitting and form.pair is not None else fitting[0]
    form.choose(pair.source, pair.target, checkpoint.name)
    return f"'{checkpoint.name}' is chosen in the dock of the transformation."
