"""Uncertainty one can see: a veil or lines over what is unsure, the samples under the cursor, and a film of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.colormaps import Colormap
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from .. import shortcuts
from ..contours import MULTIPLES, Contours
from ..histogram import Histogram
from ..placement import beside
from ..redraw import redraw
from ..source import RESULT_KEY, voxel_on_screen
from .film import Morph

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .saved_run import Result

#: Between two pictures of the film, and how many there are from one sample to the next.
FRAME_MS, FRAMES = 60, 6
_VEIL = Colormap([[0, 0, 0, 0], [0, 0, 0, 1]], name="veil")
_KIND, _FILM, _LINES = "unsure", "film", "contours"
_COLOURS = Colormap(
    [[0, 0, 0, 0], "#ffd54a", "#ff8c2e", "#e8324f"], controls=np.linspace(0, 1, 5), interpolation="zero", name="lines"
)


_TIP = (
    "Voxels whose samples differ: darkened the more they do, hidden from a limit on, or circled from once, twice and "
    "three times the limit on."
)
_NO_GRID = "While layers lie side by side, nothing can lie over the mean."


class Unsure(StrEnum):
    """What becomes of voxels whose std is large."""

    SHOWN = "Shown as the others"
    FADED = "Faded"
    HIDDEN = "Hidden"
    LINES = "Contour lines"


class UncertaintyPanel(QWidget):
    """Works on the layers of one run; no network is asked.

    Args:
        viewer: Whose cursor and layers.
        parent: The widget around it.
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: Result | None = None
        self._seen: dict[Image, bool] = {}
        self.unsure = QComboBox()
        self.unsure.addItems([choice.value for choice in Unsure])
        self.limit = QSlider(Qt.Orientation.Horizontal)
        self.limit.setRange(1, 100)
        self.limit.setValue(50)
        self.limit.setAccessibleName("Limit of the std")
        self.limit_text, self.cursor_text = QLabel(), QLabel()
        self.histogram = Histogram()
        self.film = QPushButton("Flip through samples")
        self.film.setCheckable(True)
        self.film.setToolTip(
            f"A smooth way from sample to sample in place of the mean: {shortcuts.shown('flip')} (the space bar alone "
            "moves the canvas). What moves is unsure. In 3-D, one sample after the other."
        )
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self._next_frame)
        self.unsure.currentIndexChanged.connect(self._veil)
        self.limit.valueChanged.connect(self._veil)
        self.film.toggled.connect(self._on_film)
        viewer.mouse_move_callbacks.append(self._on_move)
        viewer.canvas.grid.events.enabled.connect(self._on_grid)
        self._on_grid()
        self.show_run(None)

    def _build(self) -> None:
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Unsure voxels", self.unsure)
        self._limit_row = QWidget()
        line = QHBoxLayout(self._limit_row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.limit, 1)
        line.addWidget(self.limit_text)
        rows.addRow(self._limit_row)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)
        for widget in (self.film, self.cursor_text, self.histogram):
            column.addWidget(widget)

    def end(self) -> None:
        """The dock is gone; the viewer may live on."""
        if self._on_move in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._on_move)
        self._viewer.canvas.grid.events.enabled.disconnect(self._on_grid)
        self.show_run(None)

    def _on_grid(self, event: Any = None) -> None:
        """In a grid what should lie over the mean would have a cell of its own."""
        if isalive(self):
            side_by_side = self._viewer.canvas.grid.enabled
            if side_by_side:
                self.unsure.setCurrentIndex(0)
            self.unsure.setEnabled(not side_by_side)
            self.unsure.setToolTip(_NO_GRID if side_by_side else _TIP)

    def show_run(self, run: Result | None) -> None:
        """It is about this run from now on."""
        self.show_plainly()
        self._run = run
        self.cursor_text.clear()
        self.histogram.hide()
        self.refresh()

    def show_plainly(self) -> None:
        """Neither a film nor anything over the mean."""
        self.film.setChecked(False)
        self.unsure.setCurrentIndex(0)

    def refresh(self) -> None:
        """Layers may have come or gone."""
        layers = None if self._run is None else self._run.layers
        several = layers is not None and layers.std is not None and layers.n_kept > 1
        self.setVisible(layers is not None and layers.std is not None)
        if not several:
            self.film.setChecked(False)  # what is off cannot be stopped
        self.film.setVisible(several)
        self.film.setEnabled(several)  # its key would press it hidden, too
        self._limit_row.setVisible(self.unsure.currentIndex() > 0)

    @property
    def veil(self) -> Image | None:
        """What lies over the mean."""
        return self._found(_KIND)

    def _found(self, kind: str) -> Any:
        layers = () if self._run is None else self._run.layers.alive()
        return next((layer for layer in layers if layer.metadata.get(RESULT_KEY, {}).get("kind") == kind), None)

    def _veil(self) -> None:
        self.refresh()
        run, choice = self._run, Unsure(self.unsure.currentText())
        std = None if run is None else run.layers.std
        if run is None or std is None:
            return
        limit = self.limit.value() / 100 * float(std.contrast_limits[1])
        self.limit_text.setText(f"± {limit:.3f}")
        veiled, lined = choice in (Unsure.FADED, Unsure.HIDDEN), choice is Unsure.LINES
        veil, lines = self.veil, self._found(_LINES)
        if veil is None and veiled:
            veil = Image(std.data, rgb=False, colormap=_VEIL, contrast_limits=(0, 1), **beside(std, _KIND))
            self._adopt(run, _KIND, veil)
        if lines is None and lined:
            span = (0, len(MULTIPLES) + 1)
            shown: Any = Contours(std.data, limit)
            lines = Image(shown, rgb=False, colormap=_COLOURS, contrast_limits=span, **beside(std, _LINES))
            self._adopt(run, _LINES, lines)
        if veil is not None:
            hard = choice is Unsure.HIDDEN
            veil.contrast_limits = (limit, 1.001 * limit + 1e-6) if hard else (0.0, 2 * limit + 1e-6)
            _show(veil, veiled)
        if lines is not None:
            if lined and lines.data.step != limit:
                lines.data.step = limit
                redraw(lines, thumbnail=False)
            _show(lines, lined)

    @staticmethod
    def _adopt(run: Result, kind: str, layer: Layer) -> None:
        layer.editable = False
        run.layers.adopt(kind, layer)

    def _on_move(self, viewer: ViewerModel, event: Any) -> None:
        """Mean, std and samples under the cursor."""
        run = self._run if isalive(self) else None
        mean = None if run is None else run.layers.mean
        if run is None or mean is None or mean not in viewer.layers:
            return
        voxel = tuple(np.round(voxel_on_screen(viewer, mean, event.position)).astype(int).tolist())
        inside = all(0 <= at < size for at, size in zip(voxel, mean.data.shape, strict=True))
        value = run.value_at(voxel) if inside else float("nan")
        if not np.isfinite(value):
            self.cursor_text.setText("Under the cursor: not computed")
            self.histogram.hide()
            return
        std = run.layers.std
        spread = "" if std is None else f" ± {float(std.data[voxel]):.3f}"
        self.cursor_text.setText(f"Under the cursor: {value:.3f}{spread}")
        self.histogram.show_values(run.layers.samples_at(voxel))

    def _on_film(self, on: bool) -> None:
        run = self._run
        if on and run is not None and run.layers.mean is not None:
            film = self._film_layer(run, run.layers.mean)
            self._seen = {layer: layer.visible for layer in run.layers.alive()}
            for layer in self._seen:
                layer.visible = layer is film
            self._timer.start()
            return
        self._timer.stop()
        for layer, visible in self._seen.items():
            layer.visible = visible
        self._seen = {}

    def _film_layer(self, run: Result, mean: Image) -> Image:
        film = self._found(_FILM)
        if film is None:
            limits, placed = mean.contrast_limits, beside(mean, _FILM)
            film = Image(Morph(run), rgb=False, colormap="gray", contrast_limits=limits, visible=False, **placed)
            self._adopt(run, _FILM, film)
            self._viewer.layers.link_layers([mean, film], ("contrast_limits",))
        return film

    def _next_frame(self) -> None:
        film = self._found(_FILM)
        if film is None or film.data.over:  # deleted, as the run or its samples may be
            self.film.setChecked(False)
            return
        flat = self._viewer.dims.ndisplay == 2
        phase = film.data.phase
        film.data.phase = (round(phase * FRAMES) + 1) / FRAMES if flat else np.floor(phase) + 1
        redraw(film, thumbnail=False)


def _show(layer: Layer, visible: bool) -> None:
    """As wanted; napari slices and draws a layer again whenever it is told to show, shown before or not."""
    if layer.visible != visible:
        layer.visible = visible
