"""A finished scan of the queue opened: source, mean and std, as layers that the docks know as a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from ...errors import MrtransError
from ..layers import STD_QUANTILE
from ..opening import open_nifti

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...cohort.plan import Order, Scan


def open_scan(viewer: ViewerModel, scan: Scan, order: Order, voxels: Any = None) -> list[Layer]:
    """The layers of a scan's files, the scan's own where it is open already; the mean is chosen.

    ``voxels``: of the image of the window that the scan's file may be a copy of; a layer that shows them is the scan's.

    Raises:
        MrtransError: there is no mean any more, or a file is damaged or cannot be read.
    """
    folder = order.record(scan).parent
    std = [folder / order.file_name(scan, kind) for kind in ("std-calibrated", "std")]
    mean = folder / order.file_name(scan, "mean")
    if not mean.is_file():
        raise MrtransError(f"'{mean.name}' is not there any more; run the scan again.")
    made = [mean, *[path for path in std if path.is_file()][:1]]
    files = [path for path in (scan.path, *made) if path.is_file()]
    shown = next((layer for layer in viewer.layers if voxels is not None and layer.data is voxels), None)
    if shown is not None:
        shown.visible, files = True, [path for path in files if path != scan.path]
    layers = [_opened(viewer, path, anew=path in made) for path in files]
    for layer, path in zip(layers, files, strict=True):
        if path == mean:
            layer.contrast_limits = (0.0, 1.0)
            viewer.layers.selection.active = layer
        elif path in std:
            layer.colormap = "magma"
            spread = layer.data[layer.data > 0]
            upper = float(np.quantile(spread[:: max(1, spread.size // 100_000)], STD_QUANTILE)) if spread.size else 1.0
            layer.contrast_limits = (0.0, upper)
            layer.visible = False
    return layers if shown is None else [shown, *layers]


def _opened(viewer: ViewerModel, path: Path, *, anew: bool) -> Layer:
    """The layer of a file; ``anew``: what is open of it already may be of an earlier run, and goes."""
    for layer in [layer for layer in viewer.layers if layer.source.path and Path(layer.source.path) == path]:
        if not anew:
            layer.visible = True
            return layer
        viewer.layers.remove(layer)
    return open_nifti(viewer, path)[0]
