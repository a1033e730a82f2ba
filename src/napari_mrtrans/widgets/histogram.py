"""A small histogram of values in [0, 1], drawn with QPainter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from .plots import CURVE, small_print

BINS = 25
HEIGHT, PAD, PAD_BOTTOM = 56, 6, 14


class Histogram(QWidget):
    """How often each value occurs; hidden without values."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.counts: NDArray[np.intp] = np.zeros(BINS, dtype=np.intp)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Histogram of the samples under the cursor")

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(300, HEIGHT)

    def show_values(self, values: NDArray[np.floating] | None) -> None:
        """Show these; what lies outside [0, 1] counts as its end."""
        self.setVisible(values is not None and bool(np.isfinite(values).all()))
        if values is not None:
            self.counts = np.histogram(np.clip(np.nan_to_num(values), 0, 1), BINS, (0, 1))[0]
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw bars, a base line and its ends."""
        painter = QPainter(self)
        area = QRectF(self.rect()).adjusted(PAD, 2, -PAD, -PAD_BOTTOM)
        width = area.width() / BINS
        for place, count in enumerate(self.counts.tolist()):
            height = area.height() * count / max(int(self.counts.max()), 1)
            painter.fillRect(QRectF(area.left() + place * width, area.bottom() - height, width - 1, height), CURVE)
        faint = QColor(self.palette().color(self.foregroundRole()))
        faint.setAlpha(60)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        small_print(painter, faint)
        below = QRectF(area.left(), area.bottom(), area.width(), PAD_BOTTOM)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "samples")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, "1")
        painter.end()
