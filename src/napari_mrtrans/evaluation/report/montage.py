"""Slices beside their targets and answers (paper, Figs. 1, 2, 4, 10 and 11).

These pictures show scans of the data folder: they lie apart from all other figures, and what may be passed on of the
scans may be passed on of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from numpy.typing import NDArray

from ...page.panels import SCALES, WHITE, Panel, in_memory, panels_png
from ...paths import write_together

#: Places in a strip; the last stays empty for models that do not sample.
PANELS = 5


def grid(path: Path, rows: Sequence[tuple[str, Sequence[Panel]]], aspect: float) -> None:
    """Write the picture of :func:`~...page.panels.panels_png` to a file; its folder is made.

    Raises:
        MrtransError: the folder cannot be written.
    """
    data = panels_png(rows, aspect)
    write_together(path.parent, {path.name: lambda part: part.write_bytes(data)})


def strip(path: Path, images: Mapping[str, NDArray], aspect: float) -> None:
    """Draw images side by side into a PNG file.

    Args:
        path: The file; its folder is made.
        images: By title: slices in [0, 1], rows from posterior to anterior. Those named in :data:`SCALES` in colour.
        aspect: Height of a pixel over its width.

    Raises:
        MrtransError: the folder cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    panels = figure.subplots(1, PANELS)
    for axes in panels:
        axes.set_axis_off()
    for axes, (title, image) in zip(panels, images.items(), strict=False):
        scale = SCALES.get(title)
        drawn = axes.imshow(
            image, "gray" if scale is None else "magma", aspect=aspect, origin="lower", vmin=0, vmax=scale or WHITE
        )
        axes.set_title(title, fontsize=9)
        if scale:
            figure.colorbar(drawn, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    save = partial(figure.savefig, format="png", dpi=110, bbox_inches="tight", pad_inches=0.05)
    write_together(path.parent, {path.name: in_memory(save)})
