"""A sign for a verdict, told apart by shape as well as by colour, drawn with QPainter."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

SIZE = 18
#: By the verdict's first words; what is not here is not judged.
COLOURS = {
    "in distribution": QColor("#3a9d5d"),
    "unsure": QColor("#d9a21b"),
    "out of distribution": QColor("#d64545"),
}
NEUTRAL = QColor("#8a8f98")


class VerdictSign(QWidget):
    """A green tick, a yellow question mark, a red triangle, or a grey dash where nothing is judged."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._verdict = ""
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """A line of text high."""
        return QSize(SIZE, SIZE)

    @property
    def colour(self) -> QColor:
        """Of the verdict shown."""
        return COLOURS.get(self._verdict, NEUTRAL)

    def show_verdict(self, verdict: str) -> None:
        """One of :data:`COLOURS`, or anything else for a scan that is not judged."""
        self._verdict = verdict
        self.setAccessibleName(verdict)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the shape and what is in it."""
        painter = QPainter(self)
        _paint(painter, self._verdict, self.colour if self.isEnabled() else NEUTRAL)
        painter.end()


def verdict_icon(verdict: str) -> QIcon:
    """The same sign for the cell of a table."""
    picture = QPixmap(SIZE, SIZE)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    _paint(painter, verdict, COLOURS.get(verdict, NEUTRAL))
    painter.end()
    return QIcon(picture)


def _paint(painter: QPainter, verdict: str, colour: QColor) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    corners = ((9, 1), (17.5, 17), (0.5, 17))
    if verdict == "out of distribution":
        painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in corners]))
    else:
        painter.drawEllipse(QRectF(1, 1, SIZE - 2, SIZE - 2))
    painter.setPen(QPen(QColor("white"), 2))
    font = painter.font()
    font.setBold(True)
    font.setPixelSize(13)
    painter.setFont(font)
    if verdict == "in distribution":
        painter.drawPolyline(QPolygonF([QPointF(5, 9.5), QPointF(8, 12.5), QPointF(13, 6)]))
    elif verdict == "unsure":
        painter.drawText(QRectF(0, 0, SIZE, SIZE), Qt.AlignmentFlag.AlignCenter, "?")
    elif verdict == "out of distribution":
        painter.drawText(QRectF(0, 2, SIZE, SIZE - 2), Qt.AlignmentFlag.AlignCenter, "!")
    else:
        painter.drawLine(QPointF(5.5, 9), QPointF(12.5, 9))
