"""Prediction over target, voxel by voxel, as small clickable points drawn with QPainter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..plots import CURVE, MARK, small_print

#: More points than these are one blot; every so many is left out.
MAX_POINTS = 4000
PAD_LEFT, PAD_RIGHT, PAD_TOP, PAD_BOTTOM = 20, 8, 8, 20


class ScatterPlot(QWidget):
    """Points (target, prediction); axes run from the smallest to the largest value.

    Signals:
        point_clicked: Index of the point nearest to the mouse.
    """

    point_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._points: NDArray[np.float64] = np.empty((0, 2))
        self._drawn: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._picked: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Prediction over reference")
        self.setToolTip("One point for each voxel of the ROI. Click one to see where it lies.")

    def sizeHint(self) -> QSize:
        """Wide and low: it sits under a table."""
        return QSize(300, 170)

    @property
    def count(self) -> int:
        """Number of points, drawn or left out."""
        return len(self._points)

    @property
    def picked(self) -> int | None:
        """The point that was clicked."""
        return self._picked

    def set_points(self, points: NDArray[np.float64]) -> None:
        """Show these points, (n, 2): target and prediction."""
        self._points = points
        self._drawn = np.arange(0, len(points), -(-len(points) // MAX_POINTS) or 1)
        self._picked = None
        self.update()

    def place_of(self, index: int) -> QPointF:
        """Where point ``index`` is drawn."""
        return QPointF(*self._places(np.array([index]))[0].tolist())

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(PAD_LEFT, PAD_TOP, -PAD_RIGHT, -PAD_BOTTOM)

    def _places(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        area = self._area()
        low = self._points.min(axis=0)
        share = (self._points[indices] - low) / (self._points.max(axis=0) - low)
        return np.stack([area.left() + share[:, 0] * area.width(), area.bottom() - share[:, 1] * area.height()], axis=1)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Mark and send the point nearest to the mouse."""
        if event is None or not self.count:
            return
        at = event.position()
        away = ((self._places(self._drawn) - (at.x(), at.y())) ** 2).sum(axis=1)
        self._picked = int(self._drawn[away.argmin()])
        self.update()
        self.point_clicked.emit(self._picked)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the axes, their names and ends, the points and the one that was clicked."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        faint = QColor(self.palette().color(self.foregroundRole()))
        faint.setAlpha(60)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.bottomLeft(), area.topLeft())
        if self.count:
            self._draw_labels(painter, area, faint)
            dot = QColor(CURVE)
            dot.setAlpha(150)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(dot)
            for x, y in self._places(self._drawn).tolist():
                painter.drawEllipse(QPointF(x, y), 2.0, 2.0)
            if self._picked is not None:
                painter.setBrush(MARK)
                painter.drawEllipse(self.place_of(self._picked), 4.5, 4.5)
        painter.end()

    def _draw_labels(self, painter: QPainter, area: QRectF, colour: QColor) -> None:
        small_print(painter, colour)
        low, high = self._points.min(axis=0), self._points.max(axis=0)
        names = (("reference", QRectF(area.left(), area.bottom() + 2, area.width(), PAD_BOTTOM - 2)),
                 ("prediction", QRectF(-area.bottom(), 0, area.height(), PAD_LEFT - 2)))  # fmt: skip
        for axis, (name, room) in enumerate(names):
            painter.save()
            painter.rotate(-90 * axis)
            painter.drawText(room, Qt.AlignmentFlag.AlignLeft, f"{low[axis]:.3g}")
            painter.drawText(room, Qt.AlignmentFlag.AlignHCenter, name)
            painter.drawText(room, Qt.AlignmentFlag.AlignRight, f"{high[axis]:.3g}")
            painter.restore()
