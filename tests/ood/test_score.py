from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_mrtrans.ood.score import SCORES, Isotonic, Novelty, OodCalibration, Range, std_bias, verdict
from napari_mrtrans.scan.contrasts import Contrast, Pair


def people(count: int = 12, features: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features)) + 2 * np.eye(features)
    return {f"sub-{i}": 10 + rng.normal(size=(400, features)) @ mixing for i in range(count)}


def calibration(**others: object) -> OodCalibration:
    values = {
        "n": 20,
        "ranges": {"T1->T2": Range(low=0.04, middle=0.05, high=0.07)},
        "novelty": {Contrast.T1: Novelty.fit(people())},
        "probability": Isotonic(scores=[0.0, 2.0], probabilities=[0.1, 0.9]),
        **others,
    }
    return OodCalibration.model_validate(values)


def test_novelty_is_the_mahalanobis_distance() -> None:
    scans = people()
    known = Novelty.fit(scans)
    x = np.concatenate(list(scans.values()))
    precision = np.linalg.inv(np.cov(x.T, bias=True))  # so much data leaves little to shrink
    point = x.mean(axis=0) + np.array([3.0, -1, 0, 2, 5])
    squared = (point - x.mean(axis=0)) @ precision @ (point - x.mean(axis=0)) / x.shape[1]
    got = known.slice_scores(point[None])[0] * known.spread + known.centre
    assert got == pytest.approx(0.5 * np.log(squared), abs=0.02)


def test_a_new_person_like_the_others_scores_as_they_do() -> None:
    known = Novelty.fit(people(12, seed=0))
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5)) + 2 * np.eye(5)
    fresh = np.random.default_rng(99)
    new = [known.log_distance(10 + fresh.normal(size=(400, 5)) @ mixing) for _ in range(30)]
    assert abs(np.mean(new)) < 1
    assert known.log_distance(14 + fresh.normal(size=(400, 5)) @ mixing) > 5


def test_slices_without_features_have_no_score() -> None:
    known = Novelty.fit(people())
    assert np.isnan(known.slice_scores(np.full((1, 5), np.nan))).all()


def test_isotonic_rises_and_keeps_off_certainty() -> None:
    rng = np.random.default_rng(0)
    scores = np.r_[rng.normal(0, 1, 200), rng.normal(1.5, 1, 200)]
    labels = np.r_[np.zeros(200, bool), np.ones(200, bool)]
    fit = Isotonic.fit(scores.tolist(), labels.tolist())
    grid = [fit(s) for s in np.linspace(-5, 7, 100)]
    assert np.all(np.diff(grid) >= 0)
    assert grid[0] == pytest.approx(1 / 402) and grid[-1] == pytest.approx(401 / 402)
    # For these two normal laws the truth is known: equally likely half-way.
    assert fit(0.75) == pytest.approx(0.5, abs=0.15)
    again = Isotonic.model_validate_json(fit.model_dump_json())
    assert again(0.3) == fit(0.3)


def test_scores_of_a_volume() -> None:
    ood = calibration()
    got = ood.scores("T1->T2", 20, 0.05, np.array([0.04, np.nan, 0.06]), np.array([1.0, np.nan, 3.0]))
    assert tuple(got) == SCORES
    assert got["sigma_hat"] == pytest.approx(0.05)
    assert got["sigma_hat_max"] == pytest.approx(0.06)
    assert got["novelty"] == pytest.approx(2.0)
    assert got["combined"] == pytest.approx(2.0)  # σ̂ at the middle of its range says 0
    assert np.isnan(got["artefact"]) and np.isnan(got["image"])  # a calibration from before the detector
    high = ood.scores("T1->T2", 20, 0.14, np.array([0.14]), np.array([1.0]))
    assert high["combined"] == pytest.approx(np.log(0.14 / 0.05) / (np.log(0.07 / 0.04) / 3.29))


def test_the_image_is_as_strange_as_its_stranger_score() -> None:
    ood, none = calibration(), np.array([np.nan])
    scores = [
        ood.scores("T1->T2", 1, np.nan, none, np.array([novelty, np.nan]), np.array([artefact, np.nan]))
        for novelty, artefact in ((9.0, -3.0), (-3.0, 9.0), (1.0, 1.0))
    ]
    assert [s["image"] for s in scores] == pytest.approx([9, 9, 1 + np.log(2)], abs=1e-4)
    assert [s["combined"] for s in scores] == [s["image"] for s in scores]


def test_features_beyond_those_it_was_fitted_to_change_nothing() -> None:
    """Features are only ever appended: older calibrations go on to hold."""
    known = Novelty.fit(people())
    x = np.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(known.slice_scores(np.hstack([x, x])), known.slice_scores(x))


def test_the_number_of_samples_is_allowed_for() -> None:
    """The expected standard deviation of n normal samples, against their simulation."""
    rng = np.random.default_rng(0)
    for n in (2, 6, 20):
        draws = rng.normal(size=(200_000, n // 2))
        assert std_bias(n) == pytest.approx(np.hstack([draws, -draws]).std(axis=1).mean(), rel=5e-3)
    few = calibration().scores("T1->T2", 5, 0.05 * std_bias(5) / std_bias(20), np.array([0.05]), np.array([0.0]))
    assert few["sigma_hat"] == pytest.approx(0.05)


def test_a_model_without_spread_is_judged_by_novelty() -> None:
    ood = calibration()
    scores = ood.scores("T1->T2", 1, float("nan"), np.array([np.nan]), np.array([2.0]))
    assert np.isnan(scores["sigma_hat"]) and scores["combined"] == 2.0
    assert ood.assess(scores) == pytest.approx(0.9)


def test_nothing_known_gives_no_probability() -> None:
    ood = calibration()
    scores = ood.scores("FLAIR->T2", 1, float("nan"), np.array([np.nan]), np.array([np.nan]))
    assert ood.assess(scores) is None
    assert verdict(None) == "not calibrated"


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.0, "in distribution"), (0.29, "in distribution"), (0.3, "unsure"), (0.7, "out of distribution")],
)
def test_verdicts(probability: float, words: str) -> None:
    assert verdict(probability) == words


def test_a_range_is_of_percentiles() -> None:
    found = Range.of(np.linspace(0, 1, 101))
    assert (found.low, found.middle, found.high) == pytest.approx((0.05, 0.5, 0.95))


def test_an_empty_calibration_is_refused() -> None:
    with pytest.raises(ValidationError):
        Isotonic(scores=[], probabilities=[])


def test_the_reason_is_what_speaks_most_for_it() -> None:
    pair = Pair(Contrast.T1, Contrast.T2)
    ood = calibration(score="combined", probability=Isotonic(scores=[0.0, 2.0], probabilities=[0.1, 0.9]))
    usual = {"sigma_hat": 0.05, "sigma_hat_max": 0.05, "novelty": 0.1, "artefact": 0.1, "image": 0.1, "combined": 0.1}
    assert ood.reason(usual, pair) == ""
    odd = {**usual, "combined": 3.0}
    assert ood.reason({**odd, "novelty": 3.0}, pair) == "its slices are unlike those of the training scans"
    assert ood.reason({**odd, "artefact": 3.0}, pair).startswith(
        "it looks like a known artefact, or like another contrast"
    )
    assert ood.reason({**odd, "sigma_hat": 0.2}, pair) == "the samples differ more than usual"
    image = calibration(score="image")
    assert image.reason({**usual, "image": 3.0, "sigma_hat": 9.0, "novelty": 3.0}, pair).startswith("its slices are")
    assert ood.reason(dict.fromkeys(usual, float("nan")), pair) == ""
