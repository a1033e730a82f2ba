"""The held-out error of what is trained, against time, drawn with QPainter."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..plots import CURVE, PAD_BOTTOM, PAD_TOP, PAD_X, small_print

#: Seconds and held-out error over that of the parent.
Points = Sequence[tuple[float, float]]
#: The scale never shows less than this much of an improvement, so that noise does not look like one.
SPAN = 0.05
LEFT = 34


class ErrorCurve(QWidget):
    """The error of each network that was trained, one after the other; the dashed line is the parent's.

    Attributes:
        curves: By phase, in their order; the last is the one that runs.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Error on held-out slices while it is trained")
        self.setToolTip(
            "Error on slices that are not learned from, in percent of the error before (dashed). The weights that did "
            "best are kept. A new line begins with each network: the mean first, then what draws samples about it."
        )

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(300, 110)

    def clear(self) -> None:
        """Nothing was trained yet."""
        self.curves = {}
        self.update()

    def show_curve(self, phase: str, points: Points) -> None:
        """Show what is known of a phase."""
        self.curves[phase] = [(float(at), float(error)) for at, error in points]
        self.update()

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest error of the scale."""
        errors = [error for points in self.curves.values() for _, error in points]
        low, high = min([*errors, 1.0]), min(max([*errors, 1.0]), 2.0)
        missing = max(SPAN - (high - low), 0.0)
        return low - missing - 0.01, high + 0.01

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(LEFT, PAD_TOP, -PAD_X, -PAD_BOTTOM)

    def _placed(self) -> list[list[QPointF]]:
        """The points on the widget: each curve begins where the one before ends."""
        total = sum(points[-1][0] for points in self.curves.values() if points) or 1.0
        area, (low, high), before, out = self._area(), self.limits, 0.0, []
        for points in self.curves.values():
            out.append(
                [
                    QPointF(
                        area.left() + area.width() * (before + at) / total,
                        area.bottom() - area.height() * (min(error, high) - low) / (high - low),
                    )
                    for at, error in points
                ]
            )
            before += points[-1][0] if points else 0.0
        return out

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the scale, the parent's error and the curves."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area, (low, high) = self._area(), self.limits
        text = self.palette().color(self.foregroundRole())
        faint = QColor(text)
        faint.setAlpha(60)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        parent = area.bottom() - area.height() * (1 - low) / (high - low)
        painter.setPen(QPen(faint, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(area.left(), parent), QPointF(area.right(), parent))
        for number, points in enumerate(placed := self._placed()):
            colour = QColor(CURVE)
            colour.setAlpha(255 if number == len(placed) - 1 else 110)
            painter.setPen(QPen(colour, 1.5))
            painter.setBrush(colour)
            painter.drawPolyline(QPolygonF(points))
            for point in points:
                painter.drawEllipse(point, 2.0, 2.0)
        small_print(painter, text)
        for error in {1.0, self.best}:
            height = area.bottom() - area.height() * (error - low) / (high - low)
            place = QRectF(0, min(max(height, 8), area.bottom() - 2) - 8, LEFT - 4, 16)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{100 * error:.0f} %")
        below = QRectF(area.left(), area.bottom() + 2, area.width(), PAD_BOTTOM - 2)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "error on held-out slices, of that before")
        seconds = sum(points[-1][0] for points in self.curves.values() if points)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{seconds / 60:.1f} min")
        painter.end()

    @property
    def best(self) -> float:
        """The lowest error of the phase that runs."""
        points = next(reversed(self.curves.values()), [])
        return min((error for _, error in points), default=1.0)
