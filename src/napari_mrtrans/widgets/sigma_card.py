"""The σ̂ card: how much the samples differ, overall and slice by slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from ..contrasts import Contrast
from .plots import SlicePlot


class SigmaCard(QFrame):
    """σ̂ of the finished slices, as a number, a sentence and a clickable curve.

    σ̂ is the standard deviation over the samples, averaged over the head, in the target's normalised units.

    Signals:
        slice_clicked: Index of the slice to show.
    """

    slice_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._headline = QLabel()
        self._sentence = QLabel()
        self._sentence.setWordWrap(True)
        self.plot = SlicePlot()
        self.plot.slice_clicked.connect(self.slice_clicked)
        font = self._headline.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self._headline.setFont(font)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self._headline, self._sentence, self.plot):
            column.addWidget(widget)
        self._sum = 0.0
        self._voxels = 0
        self._sigma: NDArray[np.float64] = np.empty(0)

    @property
    def overall(self) -> float:
        """Mean std over the head voxels of the finished slices; nan before the first."""
        return self._sum / self._voxels if self._voxels else float("nan")

    @property
    def text(self) -> str:
        """Headline and sentence."""
        return f"{self._headline.text()}\n{self._sentence.text()}"

    def begin(self, n_slices: int) -> None:
        """Forget the last run."""
        self._sum, self._voxels = 0.0, 0
        self._sigma = np.full(n_slices, np.nan)
        self.plot.set_values(self._sigma)
        self._headline.clear()
        self._sentence.clear()

    def add(self, index: int, sigma: float, voxels: int) -> None:
        """Slice ``index`` is finished: its σ̂ over so many head voxels."""
        if voxels and np.isfinite(sigma):
            self._sum += sigma * voxels
            self._voxels += voxels
            self._sigma[index] = sigma

    def redraw(self, n: int, target: Contrast) -> None:
        """Show what was added, for ``n`` samples of ``target``."""
        if not self._voxels:
            return
        finished = int(np.isfinite(self._sigma).sum())
        self._headline.setText(f"σ̂ = {self.overall:.4f}")
        slices = "1 slice" if finished == 1 else f"{finished} slices"
        self._sentence.setText(
            f"Over {slices}, the {n} samples of a voxel spread by ±{100 * self.overall:.1f} % "
            f"of the {target} intensity range."
        )
        self.plot.set_values(self._sigma)
