"""A bar that places one value in a range of usual values, drawn with QPainter."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from ...ood.score import Range
from ..plots import MARK

#: Of no verdict: σ̂ may be usual where the scan is not.
USUAL = QColor("#5d7fb5")
HEIGHT, PAD = 30, 6


class RangeBar(QWidget):
    """The 5th to 95th percentile of the training scans as a band, their median as a tick, and this scan as a mark."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._range: Range | None = None
        self._value = float("nan")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("σ̂ in the range of the training scans")

    def sizeHint(self) -> QSize:
        """As wide as the dock."""
        return QSize(300, HEIGHT)

    def show_value(self, value: float, usual: Range | None) -> None:
        """Place ``value`` in ``usual``; hidden without a range."""
        self._range, self._value = usual, value
        self.setVisible(usual is not None and value == value)
        if usual is not None:
            self.setToolTip(
                f"σ̂ {value:.4f}; 90 % of the training scans lie between {usual.low:.4f} and {usual.high:.4f}. "
                "How sure the model is, which is another thing than whether the scan is like those it knows."
            )
        self.update()

    def position(self, value: float) -> float:
        """Horizontal pixel of a value; the band takes the middle half, what lies beyond the ends stays at them."""
        assert self._range is not None
        width = max(self._range.high - self._range.low, 1e-9)
        share = 0.25 + 0.5 * (value - self._range.low) / width
        return PAD + (self.width() - 2 * PAD) * min(max(share, 0.0), 1.0)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw line, band, tick and mark."""
        if self._range is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        faint = QColor(self.palette().color(self.foregroundRole()))
        faint.setAlpha(60)
        middle = 9.0
        painter.setPen(QPen(faint, 2))
        painter.drawLine(QPointF(PAD, middle), QPointF(self.width() - PAD, middle))
        low, high = self.position(self._range.low), self.position(self._range.high)
        painter.fillRect(QRectF(low, middle - 4, high - low, 8), USUAL)
        painter.setPen(QPen(QColor("white"), 1))
        x = self.position(self._range.middle)
        painter.drawLine(QPointF(x, middle - 4), QPointF(x, middle + 4))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(MARK)
        x = self.position(self._value)
        corners = ((x, middle - 5), (x - 5, middle - 12), (x + 5, middle - 12))
        painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in corners]))
        painter.drawRect(QRectF(x - 1, middle - 6, 2, 12))
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.8, 6.0))
        painter.setFont(font)
        faint.setAlpha(170)
        painter.setPen(faint)
        below = QRectF(low - 80, middle + 5, high - low + 160, HEIGHT - middle - 5)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, "spread in training scans")
        painter.end()
