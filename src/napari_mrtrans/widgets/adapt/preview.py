"""One held-out slice side by side: as it was answered before, as it is now, and as it was acquired."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..plots import small_print

#: Of a line of the command: which image stands under which title.
TITLES = {"source": "source", "before": "before", "now": "now", "target": "target"}
#: Grey up to here; above, white, as in the report.
WHITE = 0.8
TITLE, GAP = 18, 4


class PreviewRow(QWidget):
    """Source, before, now and target in one grey scale, the patient's right on the left.

    Attributes:
        images: By title, (row, column) bytes as they are drawn; empty while there is none.
        pair: ``T1->T2``.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.images: dict[str, NDArray[np.uint8]] = {}
        self.pair = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("A held-out slice before, now, and as it was acquired")
        self.setToolTip("One slice that is not learned from. 'now' is what the network answers at this moment.")

    def sizeHint(self) -> QSize:
        """Four heads in a row under their titles."""
        return QSize(340, TITLE + 106)

    def clear(self) -> None:
        """Nothing to show."""
        self.images, self.pair = {}, ""
        self.update()

    def show_preview(self, told: dict[str, Any]) -> None:
        """Show what the command told: ``pair``, and images as shape and base64 of a byte a pixel."""
        images = {name: _decoded(told[name]) for name in TITLES}
        rows, columns = _head(images["source"])
        scaled = {name: np.clip(image[rows, columns] / WHITE, 0, 255) for name, image in images.items()}
        # from anterior to posterior, and from the patient's right to the left
        self.images = {name: np.ascontiguousarray(image[::-1, ::-1].astype(np.uint8)) for name, image in scaled.items()}
        self.pair = str(told["pair"]).replace("->", "→")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw titles and images."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        small_print(painter, self.palette().color(self.foregroundRole()))
        width = (self.width() - GAP * (len(TITLES) - 1)) / len(TITLES)
        for number, (name, title) in enumerate(TITLES.items()):
            left = number * (width + GAP)
            if name in ("source", "target") and self.pair:
                title = f"{title} {self.pair.split('→')[name == 'target']}"
            painter.drawText(QRectF(left, 0, width, TITLE), Qt.AlignmentFlag.AlignCenter, title)
            place = QRectF(left, TITLE, width, self.height() - TITLE)
            if name not in self.images:
                painter.fillRect(place, QColor(128, 128, 128, 25))
                continue
            painter.fillRect(place, Qt.GlobalColor.black)
            image = self.images[name]
            rows, columns = image.shape
            scale = min(place.width() / columns, place.height() / rows)
            fitted = QRectF(0, 0, columns * scale, rows * scale)
            fitted.moveCenter(place.center())
            drawn = QImage(image.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
            painter.drawImage(fitted, drawn)
        painter.end()


def _decoded(told: dict[str, Any]) -> NDArray[np.uint8]:
    rows, columns = told["shape"]
    return np.frombuffer(base64.b64decode(told["bytes"]), np.uint8).reshape(rows, columns)


def _head(source: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The part of a slice with the head in it, and a pixel around."""
    sides = []
    for axis in (1, 0):
        there = np.flatnonzero(source.any(axis=axis))
        sides.append(slice(max(int(there[0]) - 1, 0), int(there[-1]) + 2) if there.size else slice(None))
    return sides[0], sides[1]
