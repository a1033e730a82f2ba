from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.ood.signs import LIMIT, Looks, Signs, Standard
from napari_mrtrans.scan.contrasts import Contrast

LOOKS = Looks(contrasts=[Contrast.T1, Contrast.T2, Contrast.FLAIR], kinds=["none", "motion", "noise"])


def told(contrasts: list[float], kinds: list[float]) -> np.ndarray:
    return np.log(np.array([*contrasts, *kinds]))


def test_log_odds_are_those_of_the_probabilities() -> None:
    odds = LOOKS.log_odds(told([0.7, 0.1, 0.2], [0.25, 0.5, 0.25]), Contrast.T1)
    assert odds == pytest.approx([np.log(0.3 / 0.7)])


def test_one_slice_alone_does_not_decide() -> None:
    sure = np.array([-100.0, 0.0, -100.0, -100.0, 0.0, -100.0])
    assert LOOKS.log_odds(sure, Contrast.T1) == pytest.approx([LIMIT])


def test_a_contrast_that_the_network_does_not_know_is_not_judged() -> None:
    assert np.isnan(LOOKS.log_odds(told([0.7, 0.1, 0.2], [0.5, 0.25, 0.25]), Contrast.PD)).all()


def test_scores_are_in_standard_deviations_of_usual_scans() -> None:
    standard = Standard.of([1.0, 3.0])
    assert standard(np.array([2.0, 2 + np.sqrt(2)])) == pytest.approx([0, 1])


def test_the_likeliest_other_contrast_is_that_of_all_slices() -> None:
    rows = [[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.1, 0.6, 0.3]]
    signs = [Signs(contrasts=tuple(np.log(row))) for row in rows]
    assert LOOKS.likeliest_other(signs, Contrast.T1) is Contrast.FLAIR
    assert LOOKS.likeliest_other(signs, Contrast.FLAIR) is Contrast.T2
    assert LOOKS.likeliest_other([Signs(1.0)], Contrast.T1) is None


def test_signs_survive_a_file() -> None:
    signs = Signs(1.5, -2.0, 0.25, (-0.5, -1.0), (3.0, -4.0, 0.5))
    assert Signs.from_array(signs.to_array()) == signs
    unknown = Signs.from_array(Signs().to_array())
    assert np.isnan(unknown[:3]).all() and unknown[3:] == ((), ())
