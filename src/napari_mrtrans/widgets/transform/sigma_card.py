"""The card of a run: whether its scan is like those the model knows, and how much its samples differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ...ood.score import verdict
from ...wording import plural
from ..named_text import NamedText
from ..plots import SlicePlot
from ..tally import SigmaTally
from ..verdict_sign import VerdictSign
from .range_bar import RangeBar

if TYPE_CHECKING:
    from .saved_run import Result


class SigmaCard(QFrame):
    """σ̂ and P(OOD) of the finished slices of a run: its name, a verdict, numbers, a bar and a clickable curve.

    σ̂ is the standard deviation over the samples, averaged over the head, in the target's normalised units. P(OOD) is
    the calibrated probability that the input is unlike the training scans.

    Signals:
        slice_clicked: Index of the slice to show.
    """

    slice_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = NamedText()
        self._headline, self._reason, self._sentence = QLabel(), QLabel(), QLabel()
        for label in (self._headline, self._reason, self._sentence):
            label.setWordWrap(True)
        self.sign = VerdictSign()
        self.bar = RangeBar()
        self.bar.hide()
        self.plot = SlicePlot()
        self.plot.slice_clicked.connect(self.slice_clicked)
        font = self._headline.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self._headline.setFont(font)
        self._headline.setToolTip(
            "P(OOD), out of distribution: the probability that this scan is unlike those the model was trained on, so "
            "that its answer may be wrong. Near 0: as usual. Near 1: look for artefacts, a wrong contrast, a crop."
        )
        self._sentence.setToolTip(
            "σ̂: how far the samples differ from one another, averaged over the head, as a share of the intensity range."
        )
        self.plot.setToolTip("σ̂ of every finished slice: where the model is least sure. Click to go to a slice.")
        said = QHBoxLayout()
        said.addWidget(self.sign, 0, Qt.AlignmentFlag.AlignTop)
        said.addWidget(self._headline, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._title)
        column.addLayout(said)
        for widget in (self._reason, self._sentence, self.bar, self.plot):
            column.addWidget(widget)
        self._tally = SigmaTally()

    @property
    def overall(self) -> float:
        """Mean std over the head voxels of the finished slices; nan before the first."""
        return self._tally.overall

    @property
    def text(self) -> str:
        """All that it says."""
        labels = (self._title, self._headline, self._reason, self._sentence)
        return "\n".join(label.text() for label in labels if label.text())

    def show_run(self, run: Result | None) -> None:
        """Show what has come of ``run``; None: nothing."""
        self._tally = SigmaTally() if run is None else run.tally
        self.setVisible(run is not None and (run.n > 1 or run.ood is not None))
        for label in (self._headline, self._reason, self._sentence):
            label.clear()
        self._title.setText("" if run is None else run.title)
        for widget in (self.sign, self._headline, self._reason, self._sentence, self.bar, self.plot):
            widget.hide()
        self.plot.set_values(self._tally.sigma)
        if run is not None:
            self.redraw(run)

    def redraw(self, run: Result) -> None:
        """Show what was added to the run's tally, with P(OOD) where its checkpoint is calibrated."""
        tally = self._tally
        if not tally.count:
            return
        spread = bool(np.isfinite(self.overall))
        self._sentence.show()
        self.sign.setVisible(run.ood is not None)
        self._headline.setVisible(run.ood is not None)
        if run.ood is not None:
            self._judge(run)
        slices = plural(tally.count, "slice")
        if spread:
            self._sentence.setText(
                f"<b>σ̂ = {self.overall:.4f}</b>: over {slices}, the {run.n} samples of a voxel spread by "
                f"±{100 * self.overall:.1f} % of the {run.pair.target} intensity range."
            )
            self.plot.set_values(tally.sigma)
        else:
            self._sentence.setText(f"Over {slices}; one answer has no spread.")
        self.plot.setVisible(spread)

    def _judge(self, run: Result) -> None:
        """Verdict, number and reason, and σ̂ in its range."""
        ood, tally = run.ood, self._tally
        assert ood is not None
        scores = tally.scores(run.n, run.pair, ood)
        probability = ood.assess(scores)
        said = verdict(probability, scores)
        self.sign.show_verdict(said)
        behind = f" ({plural(int(scores['slices']), 'slice')})"
        self._headline.setText(said if probability is None else f"P(OOD) = {probability:.2f}: {said}{behind}")
        reason = ood.reason(scores, tally.signs, run.pair.source)
        self._reason.setText(f"Unusual: {reason}." if reason else "")
        self._reason.setVisible(bool(reason))
        # the range is of whole scans: of a slice or two it would say as little as a verdict
        self.bar.show_value(scores["sigma_hat"], None if probability is None else ood.ranges.get(run.pair.key))
