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
    assert odds.shape == (1, 2)
    assert odds[0] == pytest.approx([np.log(0.75 / 0.25), np.log(0.3 / 0.7)])


def test_one_slice_alone_does_not_decide() -> None:
    sure = np.array([-100.0, 0.0, -100.0, -100.0, 0.0, -100.0])
    assert LOOKS.log_odds(sure, Contrast.T1)[0] == pytest.approx([LIMIT, LIMIT])


def test_a_contrast_that_the_network_does_not_know_is_not_judged() -> None:
    artefact, wrong = LOOKS.log_odds(told([0.7, 0.1, 0.2], [0.5, 0.25, 0.25]), Contrast.PD)[0]
    assert artefact == pytest.approx(0) and np.isnan(wrong)


def test_scores_are_in_standard_deviations_of_usual_scans() -> None:
    standard = Standard.of([1.0, 3.0])
    assert standard(np.array([2.0, 2 + np.sqrt(2)])) == pytest.approx([0, 1])
    own = LOOKS.model_copy(update={"artefact": Standard(centre=1.0, spread=2.0)})
    numbers = told([0.7, 0.1, 0.2], [0.25, 0.5, 0.25])
    assert own.standardised(numbers, Contrast.T1)[0] == pytest.approx([(np.log(3) - 1) / 2, np.log(0.3 / 0.7)])


@pytest.mark.parametrize(
    ("leading", "words"),
    [("contrast", "looks like FLAIR, not T1"), ("artefact", "motion"), ("novelty", "unlike the training scans")],
)
def test_words_name_what_speaks_loudest(leading: str, words: str) -> None:
    signs = [Signs(0.0, 0.0, 0.0, tuple(told([0.1, 0.2, 0.7], [0.2, 0.5, 0.3])))] * 3
    assert LOOKS.words(signs, Contrast.T1, leading) == words


def test_slices_that_were_not_seen_have_no_say() -> None:
    signs = [Signs(1.0), Signs(1.0, 0.0, 0.0, tuple(told([0.1, 0.7, 0.2], [0.2, 0.3, 0.5])))]
    assert LOOKS.words(signs, Contrast.T1, "contrast") == "looks like T2, not T1"
    assert LOOKS.words([Signs(1.0)], Contrast.T1, "contrast") == "unlike the training scans"
