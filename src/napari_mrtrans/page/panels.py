"""Rows of slices side by side, as a picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from numpy.typing import NDArray

#: Grey up to here; above, white.
WHITE = 0.8
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


def panels_png(rows: Sequence[tuple[str, Sequence[Panel]]], aspect: float) -> bytes:
    """Rows of panels, each with its name at the left, as a PNG file; all rows have the same columns.

    Args:
        rows: Name and panels of each.
        aspect: Height of a pixel over its width.
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
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160, bbox_inches="tight", pad_inches=0.05)
    return out.getvalue()


def in_memory(save: Callable[[BinaryIO], object]) -> Callable[[Path], None]:
    """What writes a picture to a stream as what writes it to a path.

    Pillow takes a short write for a whole one: on a full disk it would cut a picture off and say nothing.
    """

    def write(path: Path) -> None:
        held = io.BytesIO()
        save(held)
        path.write_bytes(held.getvalue())

    return write
