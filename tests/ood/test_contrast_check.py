from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.ood.contrast_check import ContrastCheck
from napari_mrtrans.scan.contrasts import Contrast

T1, T2, FLAIR = Contrast.T1, Contrast.T2, Contrast.FLAIR
MIDDLES = {T1: (0.0, 0.0), T2: (4.0, 0.0), FLAIR: (0.0, 4.0)}


def check() -> ContrastCheck:
    rng = np.random.default_rng(0)
    contrasts = [contrast for contrast in MIDDLES for _ in range(40)]
    found = ContrastCheck.fit([MIDDLES[c] + rng.normal(size=(4, 2)) for c in contrasts], contrasts)
    assert found is not None
    return found


@pytest.mark.parametrize("said", MIDDLES)
def test_the_odds_are_high_where_another_contrast_is_shown(said: Contrast) -> None:
    for shown, middle in MIDDLES.items():
        (score,) = check().slice_scores(np.array([middle]), said)
        assert (score > 0) == (shown != said)


def test_one_contrast_alone_cannot_be_checked() -> None:
    assert ContrastCheck.fit([np.zeros((4, 2))], [T1]) is None


def test_two_contrasts_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    found = ContrastCheck.fit([rng.normal(size=(50, 1)), 5 + rng.normal(size=(50, 1))], [T1, T2])
    assert found is not None
    low, high = found.slice_scores(np.array([[0.0], [5.0]]), T1)
    assert low < 0 < high
    np.testing.assert_allclose(found.slice_scores(np.array([[5.0], [0.0]]), T2), [-high, -low], rtol=1e-6)


def test_what_is_not_known_has_no_score() -> None:
    assert np.isnan(check().slice_scores(np.zeros((2, 2)), Contrast.PD)).all()
    assert np.isnan(check().slice_scores(np.full((1, 2), np.nan), T1)).all()


def test_standardised_scores_and_plain_numbers() -> None:
    found = check()
    again = ContrastCheck.model_validate_json(found.standardised_to([-3.0, -1.0]).model_dump_json())
    x = np.ones((1, 3))
    assert again.slice_scores(x, T1) == pytest.approx((found.slice_scores(x[:, :2], T1) + 2) / np.sqrt(2))
