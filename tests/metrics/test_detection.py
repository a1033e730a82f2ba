from __future__ import annotations

import math

import numpy as np
import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.metrics import detection

#: Two normal inputs, then two unusual ones; one pair of four is the wrong way round.
LABELS = [False, False, True, True]
SCORES = [0.1, 0.5, 0.4, 0.9]


def test_auc_counts_pairs_in_order_and_ties_half() -> None:
    assert detection.auc(LABELS, SCORES) == pytest.approx(3 / 4)
    assert detection.auc(LABELS, [0.1, 0.4, 0.4, 0.9]) == pytest.approx(3.5 / 4)
    assert detection.auc(LABELS, [3, 4, 1, 2]) == 0


def test_the_roc_curve_has_the_area_of_auc() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(60) < 0.4
    scores = rng.standard_normal(60) + labels
    false, true = detection.roc(labels, scores)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(detection.auc(labels, scores))


def test_f1_over_the_threshold_by_hand() -> None:
    """From 0.4 on: two hits, one false alarm, so 2·2 / (2·2 + 1)."""
    thresholds, f1 = detection.f1_curve(LABELS, SCORES)
    assert thresholds.tolist() == [0.1, 0.4, 0.5, 0.9]
    assert f1.tolist() == pytest.approx([2 / 3, 4 / 5, 1 / 2, 2 / 3])
    assert detection.max_f1(LABELS, SCORES) == pytest.approx(4 / 5)


def test_the_paper_s_ddpm_does_as_well_as_calling_everything_unusual() -> None:
    """Its largest F1 of 0.395 is that of 47 unusual inputs among 144 normal ones, all called unusual."""
    labels = [True] * 47 + [False] * 144
    assert detection.all_positive_f1(labels) == pytest.approx(0.395, abs=5e-4)
    assert detection.max_f1(labels, np.zeros(191)) == pytest.approx(detection.all_positive_f1(labels))


def test_brier_is_the_mean_squared_error() -> None:
    assert detection.brier(LABELS, SCORES) == pytest.approx((0.01 + 0.25 + 0.36 + 0.01) / 4)


def test_nll_by_hand_and_of_certain_mistakes() -> None:
    expected = -(math.log(0.8) + math.log(0.5) + math.log(0.4) + math.log(0.8)) / 4
    assert detection.nll(LABELS, [0.2, 0.5, 0.4, 0.8]) == pytest.approx(expected)
    # Four inputs: probabilities end at 1/6 and 5/6.
    assert detection.nll(LABELS, [0, 0, 1, 0]) == pytest.approx(-(3 * math.log(5 / 6) + math.log(1 / 6)) / 4)


def test_ece_by_hand() -> None:
    """Bins [0.1, 0.2): share 0, mean 0.15; [0.9, 1]: share 1/2, mean 0.95."""
    assert detection.ece([False, False, True, False], [0.12, 0.18, 0.9, 1.0]) == pytest.approx(0.5 * 0.15 + 0.5 * 0.45)
    assert detection.ece([True, False], [0.5, 0.5]) == pytest.approx(0)


def test_ece_of_true_probabilities_is_small() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    labels = rng.random(20_000) < p
    assert detection.ece(labels, p) < 0.02
    assert detection.ece(labels, p**3) > 0.15


def test_min_max_scaling() -> None:
    assert detection.min_max([2, 4, 3]).tolist() == [0, 1, 0.5]
    assert detection.min_max([2, 2]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([True, True], [0.1, 0.2], "both normal and unusual"),
        ([True, False], [0.1, np.nan], "NaN or infinite"),
        ([True, False], [0.1], "not two lists of one length"),
    ],
)
def test_what_cannot_be_scored_is_refused(labels: list[bool], scores: list[float], words: str) -> None:
    for measure in (detection.auc, detection.roc, detection.max_f1, detection.ece, detection.brier, detection.nll):
        with pytest.raises(MrtransError, match=words):
            measure(labels, scores)


def test_probabilities_lie_between_0_and_1() -> None:
    for measure in (detection.ece, detection.brier, detection.nll):
        with pytest.raises(MrtransError, match=r"outside \[0, 1\]"):
            measure([True, False], [1.2, 0.1])
