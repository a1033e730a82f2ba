"""How well a score tells unusual inputs from normal ones (paper, "Classification evaluation"; Fig. 6 and Table 3).

``labels`` are true for unusual (out-of-distribution) inputs; ``probability`` is P(unusual) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MrtransError

#: Equal-width bins of the expected calibration error; the paper does not say how many.
BINS = 10


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: how often an unusual input scores above a normal one, ties counted half.

    Raises:
        MrtransError: lengths differ, a score is not finite, or one of the two classes is missing.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_checked(labels, scores)))


def stratified_auc(labels: ArrayLike, scores: ArrayLike, groups: Sequence[str]) -> float | None:
    """:func:`auc` within each group, for scores that do not compare between them, averaged over the unusual inputs;
    groups of one class count for nothing, and None: there are no others. Raises as :func:`auc`."""
    truth, values, of = np.asarray(labels, dtype=bool), np.asarray(scores), np.asarray(groups)
    aucs, counts = [], []
    for group in dict.fromkeys(groups):
        mine = truth[of == group]
        if mine.any() and not mine.all():
            aucs.append(auc(mine, values[of == group]))
            counts.append(int(mine.sum()))
    return float(np.average(aucs, weights=counts)) if aucs else None


def roc(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates over falling thresholds, each from 0 to 1. Raises as :func:`auc`."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(*_checked(labels, scores))
    return np.asarray(false), np.asarray(true)


def f1_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds (every score, rising) and the F1 (Eq. 13) of calling all inputs from there on unusual.

    The first threshold calls everything unusual: its F1 is the baseline that a score has to beat. Raises as
    :func:`auc`.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(*_checked(labels, scores))
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(thresholds), f1[:-1]


def max_f1(labels: ArrayLike, scores: ArrayLike) -> float:
    """The largest F1 over all thresholds. Raises as :func:`auc`."""
    return float(f1_curve(labels, scores)[1].max())


def all_positive_f1(labels: ArrayLike) -> float:
    """F1 of calling every input unusual, 2P / (2P + N): what a worthless score reaches."""
    truth = np.asarray(labels, dtype=bool)
    return float(2 * truth.sum() / (truth.sum() + truth.size))


def brier(labels: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared error of the probabilities (Eq. 14). Raises as :func:`ece`."""
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(*_probabilities(labels, probability)))


def nll(labels: ArrayLike, probability: ArrayLike) -> float:
    """Negative log-likelihood (Eq. 15) in nats, probabilities kept within [1/(N+2), 1 - 1/(N+2)] for N inputs.

    Isotonic calibration gives exact 0 and 1, which one mistake would make infinite. Raises as :func:`ece`.
    """
    from sklearn.metrics import log_loss

    truth, p = _probabilities(labels, probability)
    least = 1 / (truth.size + 2)
    return float(log_loss(truth, np.clip(p, least, 1 - least)))


def ece(labels: ArrayLike, probability: ArrayLike) -> float:
    """Expected calibration error (Eq. 16): mean |share of unusual inputs - mean probability| of equal-width bins.

    Raises:
        MrtransError: as :func:`auc`, or a probability is outside [0, 1].
    """
    truth, p = _probabilities(labels, probability)
    bin_of = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bin_of, truth - p, BINS)  # bin size x (share - mean probability)
    return float(np.abs(gaps).sum() / truth.size)


def min_max(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores scaled to [0, 1] by their own range, the paper's "normalised" σ̂; 0 where they are all equal."""
    values = np.asarray(scores, dtype=np.float64)
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, values = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise MrtransError(f"Labels {truth.shape} and scores {values.shape} are not two lists of one length.")
    if not np.isfinite(values).all():
        raise MrtransError("A score is NaN or infinite; leave out inputs without a score.")
    if truth.all() or not truth.any():
        raise MrtransError("Detection needs both normal and unusual inputs; one of the two is missing.")
    return truth, values


def _probabilities(labels: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, p = _checked(labels, probability)
    if p.min() < 0 or p.max() > 1:
        raise MrtransError("A probability is outside [0, 1]; scale or calibrate the scores first.")
    return truth, p
