"""The main job on the built-in sample, in a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..scan.contrasts import Contrast
from .transform.dock import TransformWidget

if TYPE_CHECKING:
    import napari

PLUGIN = "napari-mrtrans"
WIDGET = "MR contrast transformation"


def open_demo(viewer: napari.Viewer) -> TransformWidget:
    """Load the sample, dock the widget, choose T1 → T2 with the flow model, and press Transform."""
    viewer.open_sample(PLUGIN, "icbm152")
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.form.choose(Contrast.T1, Contrast.T2, "flow")
    widget.compare.setChecked(True)
    widget.button.click()
    return widget


def run_demo() -> None:
    """Open napari on the sample with T2 streaming in; returns when its window is closed."""
    import napari

    viewer = napari.Viewer(title="napari-mrtrans demo")
    open_demo(viewer)
    napari.run()
