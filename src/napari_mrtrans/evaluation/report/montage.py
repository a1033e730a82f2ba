"""Slices beside their targets and answers (paper, Figs. 1, 2, 4, 10 and 11).

These pictures show scans of the data folder: they lie apart from all other figures, and what may be passed on of the
scans may be passed on of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from numpy.typing import NDArray

from ...paths import in_memory, write_together

#: Grey up to here; above, white.
WHITE = 0.8
#: Places in a strip; the last stays empty for models that do not sample.
PANELS = 5
#: Upper ends of the colour scales.
SCALES = {"|error|": 0.4, "std": 0.2}


@dataclass(frozen=True)
class Panel:
    """One image of a grid.

    Attributes:
        title: Above it in the first row; where it is one of :data:`SCALES`, or ends with it, the image is in colour.
        image: (row, column) in [0, 1], rows from posterior to anterior; None = the place stays empty.
        outline: (row, column): its border is drawn in red.
    """

    title: str
    image: NDArray | None = None
    outline: NDArray | None = None


def grid(path: Path, rows: Sequence[tuple[str, Sequence[Panel]]], aspect: float) -> None:
    """Draw rows of panels, each with its name at the left, into a PNG file; all rows have the same columns.

    Args:
        path: The file; its folder is made.
        rows: Name and panels of each.
        aspect: Height of a pixel over its width.

    Raises:
        MrtransError: the folder cannot be written.
    """
    from matplotlib.figure import Figure

    columns = max(len(panels) for _, panels in rows)
    figure = Figure(figsize=(1.3 * columns, 1.6 * len(rows) + 0.3), layout="constrained")
    for place, (line, (name, panels)) in zip(
        figure.subplots(len(rows), columns, squeeze=False), enumerate(rows), strict=True
    ):
        for axes, panel in zip(place, panels, strict=False):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if line == 0:
                axes.set_title(panel.title, fontsize=7)
            if panel.image is None:
                continue
            scale = next((top for ending, top in SCALES.items() if panel.title.endswith(ending)), None)
            axes.imshow(
                panel.image.astype(float), "gray" if scale is None else "magma", aspect=aspect, origin="lower", vmin=0,
                vmax=scale or WHITE,
            )  # fmt: skip
            if panel.outline is not None and panel.outline.any() and not panel.outline.all():
                axes.contour(panel.outline.astype(float), levels=[0.5], colors="#ff2020", linewidths=0.6)
        for axes in place[len(panels) :]:
            axes.set_axis_off()
        place[0].set_ylabel(name, fontsize=7)
    save = partial(figure.savefig, format="png", dpi=160, bbox_inches="tight", pad_inches=0.05)
    write_together(path.parent, {path.name: in_memory(save)})


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
