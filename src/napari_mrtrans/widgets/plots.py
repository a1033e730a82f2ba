"""σ̂ per slice as a small curve that is also a slice picker, drawn with QPainter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

CURVE = QColor("#d0367a")
MARK = QColor("#f0a830")
#: The curve stays this much below the upper edge.
HEADROOM = 1.15
PAD_X, PAD_TOP, PAD_BOTTOM = 6, 8, 18


class SlicePlot(QWidget):
    """One value per axial slice; unfinished slices leave a gap.

    Signals:
        slice_clicked: Index of the slice under the mouse.
    """

    slice_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: NDArray[np.float64] = np.empty(0)
        self._current: int | None = None
        self._ends: tuple[int, int] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("σ̂ per slice")

    def sizeHint(self) -> QSize:
        """Wide and low: it sits under a line of text."""
        return QSize(300, 104)

    @property
    def values(self) -> NDArray[np.float64]:
        """The plotted values, nan where a slice is not finished."""
        return self._values

    @property
    def current(self) -> int | None:
        """The marked slice."""
        return self._current

    def set_values(self, values: NDArray[np.float64]) -> None:
        """Show these values, one per slice."""
        self._values = np.array(values, dtype=np.float64)
        self.update()

    def set_numbers(self, first: int, last: int) -> None:
        """What the viewer's slider shows at the first and the last slice: so they are numbered, from left to right."""
        if (first, last) != self._ends:
            self._ends = (first, last)
            self.update()

    def number_of(self, index: int) -> int:
        """The slider's number of slice ``index``."""
        first, last = self._ends or (0, len(self._values) - 1)
        return round(first + (last - first) * index / max(len(self._values) - 1, 1))

    @property
    def _mirrored(self) -> bool:
        return self._ends is not None and self._ends[0] > self._ends[1]

    def set_current(self, index: int | None) -> None:
        """Mark the slice on screen."""
        if index != self._current:
            self._current = index
            self.update()

    def x_of(self, index: int) -> float:
        """Horizontal pixel of slice ``index``."""
        area = self._area()
        share = index / max(len(self._values) - 1, 1)
        return area.left() + area.width() * (1 - share if self._mirrored else share)

    def index_at(self, x: float) -> int | None:
        """Slice under the horizontal pixel ``x``, or None while nothing is plotted."""
        if len(self._values) == 0:
            return None
        area = self._area()
        position = (x - area.left()) / max(area.width(), 1.0) * (len(self._values) - 1)
        index = int(np.clip(round(position), 0, len(self._values) - 1))
        return len(self._values) - 1 - index if self._mirrored else index

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(PAD_X, PAD_TOP, -PAD_X, -PAD_BOTTOM)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Send the slice under the mouse."""
        if event is not None:
            self._pick(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Dragging scrubs; hovering tells the value."""
        if event is None:
            return
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._pick(event)
        index = self.index_at(event.position().x())
        if index is not None:
            value = self._values[index]
            shown = "not done" if np.isnan(value) else f"σ̂ {value:.4f}"
            QToolTip.showText(event.globalPosition().toPoint(), f"slice {self.number_of(index)}: {shown}", self)

    def _pick(self, event: QMouseEvent) -> None:
        index = self.index_at(event.position().x())
        if index is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.slice_clicked.emit(index)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the frame, the curve, the mark and the end labels."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        text = self.palette().color(self.foregroundRole())
        faint = QColor(text)
        faint.setAlpha(60)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        finite = self._values[np.isfinite(self._values)]
        if finite.size:
            top = float(finite.max()) * HEADROOM or 1.0
            self._draw_curve(painter, area, top)
            self._draw_labels(painter, area, text, top)
        painter.end()

    def _draw_curve(self, painter: QPainter, area: QRectF, top: float) -> None:
        if self._current is not None:
            painter.setPen(QPen(MARK, 2))
            x = round(self.x_of(self._current))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setPen(QPen(CURVE, 1.5))
        painter.setBrush(CURVE)
        previous: QPointF | None = None
        for index, value in enumerate(self._values):
            if np.isnan(value):
                previous = None
                continue
            point = QPointF(self.x_of(index), area.bottom() - area.height() * value / top)
            if previous is not None:
                painter.drawLine(previous, point)
            else:
                painter.drawEllipse(point, 1.0, 1.0)
            previous = point

    def _draw_labels(self, painter: QPainter, area: QRectF, text: QColor, top: float) -> None:
        small_print(painter, text)
        below = QRectF(area.left(), area.bottom() + 2, area.width(), PAD_BOTTOM - 2)
        low, high = sorted((self.number_of(0), self.number_of(len(self._values) - 1)))
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"slice {low}")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, str(high))
        if self._current is not None:
            painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, f"on screen: {self.number_of(self._current)}")
        painter.drawText(QRectF(area.left() + 2, 0, area.width(), 16), Qt.AlignmentFlag.AlignLeft, f"{top:.3f}")


def small_print(painter: QPainter, colour: QColor) -> None:
    """Write what follows small and in a muted ``colour``."""
    font = painter.font()
    font.setPointSizeF(max(font.pointSizeF() * 0.85, 6.0))
    painter.setFont(font)
    muted = QColor(colour)
    muted.setAlpha(170)
    painter.setPen(muted)
