"""The σ̂ card: how much the samples differ, overall and slice by slice, and what that says of the input."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from ...ood.score import OodCalibration, verdict
from ...ood.signs import Signs
from ...scan.contrasts import Pair
from ..plots import SlicePlot
from ..tally import SigmaTally
from .range_bar import RangeBar


class SigmaCard(QFrame):
    """σ̂ and P(OOD) of the finished slices: numbers, a verdict, a bar, a sentence and a clickable curve.

    σ̂ is the standard deviation over the samples, averaged over the head, in the target's normalised units. P(OOD) is
    the calibrated probability that the input is unlike the training scans.

    Signals:
        slice_clicked: Index of the slice to show.
    """

    slice_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._headline = QLabel()
        self._sentence = QLabel()
        self._sentence.setWordWrap(True)
        self.bar = RangeBar()
        self.bar.hide()
        self.plot = SlicePlot()
        self.plot.slice_clicked.connect(self.slice_clicked)
        font = self._headline.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self._headline.setFont(font)
        self._headline.setWordWrap(True)
        self._headline.setToolTip(
            "P(OOD), out of distribution: the probability that this scan is unlike those the model was trained on, so "
            "that its answer may be wrong. Near 0: as usual. Near 1: look for artefacts, a wrong contrast, a crop. "
            "σ̂: how far the samples differ from one another, averaged over the head, as a share of the intensity range."
        )
        self.plot.setToolTip("σ̂ of every finished slice: where the model is least sure. Click to go to a slice.")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self._headline, self.bar, self._sentence, self.plot):
            column.addWidget(widget)
        self._tally = SigmaTally()

    @property
    def overall(self) -> float:
        """Mean std over the head voxels of the finished slices; nan before the first."""
        return self._tally.overall

    @property
    def text(self) -> str:
        """Headline and sentence."""
        return f"{self._headline.text()}\n{self._sentence.text()}"

    def begin(self, n_slices: int) -> None:
        """Forget the last run."""
        self._tally = SigmaTally(n_slices)
        self.plot.set_values(self._tally.sigma)
        self.bar.hide()
        self._headline.clear()
        self._sentence.clear()

    def add(self, index: int, sigma: float, voxels: int, signs: Signs) -> None:
        """Slice ``index`` is finished: its σ̂ over so many head voxels, and what speaks against the input."""
        self._tally.add(index, sigma, voxels, signs)

    def redraw(self, n: int, pair: Pair, ood: OodCalibration | None) -> None:
        """Show what was added, for ``n`` samples, with P(OOD) where the checkpoint is calibrated."""
        tally = self._tally
        if not tally.count:
            return
        spread, reason = bool(np.isfinite(tally.overall)), ""
        parts = [f"σ̂ = {tally.overall:.4f}"] if spread else []
        if ood is not None:
            scores = tally.scores(n, pair, ood)
            probability = ood.assess(scores)
            self.bar.show_value(scores["sigma_hat"], ood.ranges.get(pair.key))
            said = verdict(probability, scores)
            if probability is not None:
                said = f"P(OOD) = {probability:.2f}: {said}"
            parts.append(said)
            reason = ood.reason(scores, tally.signs, pair.source)
        self._headline.setText(" · ".join(parts))
        slices = "1 slice" if tally.count == 1 else f"{tally.count} slices"
        if spread:
            self._sentence.setText(
                f"Over {slices}, the {n} samples of a voxel spread by ±{100 * self.overall:.1f} % "
                f"of the {pair.target} intensity range."
            )
            self.plot.set_values(tally.sigma)
        else:
            self._sentence.setText(f"Over {slices}; this model gives one answer and no spread.")
        if reason:
            self._sentence.setText(f"{self._sentence.text()} Unusual: {reason}.")
        self.plot.setVisible(spread)
