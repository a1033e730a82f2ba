from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_mrtrans.ood.detector import Detector
from napari_mrtrans.ood.score import SCORES, Isotonic, Novelty, OodCalibration, Range, std_bias, verdict
from napari_mrtrans.ood.signs import Looks, Signs
from napari_mrtrans.scan.contrasts import Contrast


def people(count: int = 12, features: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features)) + 2 * np.eye(features)
    return {f"sub-{i}": 10 + rng.normal(size=(400, features)) @ mixing for i in range(count)}


def calibration(**others: object) -> OodCalibration:
    values = {
        "n": 20,
        "ranges": {"T1->T2": Range(low=0.04, middle=0.05, high=0.07)},
        "novelty": {Contrast.T1: Novelty.fit(people())},
        "probability": {3: Isotonic(scores=[0.0, 2.0], probabilities=[0.1, 0.9])},
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


def signs(*novelty: float) -> list[Signs]:
    return [Signs(value) for value in novelty]


def test_scores_of_a_volume() -> None:
    ood = calibration()
    got = ood.scores("T1->T2", 20, 0.05, np.array([0.04, np.nan, 0.06]), signs(1.0, np.nan, 3.0))
    assert tuple(got) == (*SCORES, "slices")
    assert got["sigma_hat"] == pytest.approx(0.05)
    assert got["sigma_hat_max"] == pytest.approx(0.06)
    assert got["novelty"] == got["image"] == pytest.approx(2.0)
    assert got["combined"] == pytest.approx(2.0)  # σ̂ at the middle of its range says 0
    assert got["slices"] == 2
    assert np.isnan(got["artefact"]) and np.isnan(got["contrast"])  # without networks that see them
    high = ood.scores("T1->T2", 20, 0.14, np.array([0.14]), signs(1.0))
    assert high["combined"] == pytest.approx(np.log(0.14 / 0.05) / (np.log(0.07 / 0.04) / 3.29))


@pytest.mark.parametrize("loud", range(3))
def test_the_image_is_as_strange_as_its_strangest_sign(loud: int) -> None:
    values = [-3.0, -3.0, -3.0]
    values[loud] = 9.0
    scores = calibration().scores("T1->T2", 1, np.nan, np.array([np.nan]), [Signs(*values)])
    assert scores["image"] == pytest.approx(9, abs=1e-4) and scores["combined"] == scores["image"]
    even = calibration().scores("T1->T2", 1, np.nan, np.array([np.nan]), [Signs(1.0, 1.0, 1.0)])
    assert even["image"] == pytest.approx(1 + np.log(3))


def test_fewer_than_three_slices_are_not_judged() -> None:
    ood, none = calibration(), np.array([np.nan])
    for count, known in ((0, False), (2, False), (3, True), (40, True)):
        scores = ood.scores("T1->T2", 1, np.nan, none, signs(*[2.0] * count, np.nan))
        assert (ood.assess(scores) is not None) == known
        assert ("fewer than 3 slices" in verdict(ood.assess(scores), scores)) == (not known)


def test_few_slices_are_judged_more_carefully() -> None:
    ood = calibration(
        probability={
            3: Isotonic(scores=[0.0, 8.0], probabilities=[0.1, 0.9]),
            12: Isotonic(scores=[0.0, 2.0], probabilities=[0.1, 0.9]),
        }
    )
    none = np.array([np.nan])
    few, many = (ood.assess(ood.scores("T1->T2", 1, np.nan, none, signs(*[2.0] * n))) for n in (11, 12))
    assert (few, many) == pytest.approx((0.3, 0.9))


def looking() -> OodCalibration:
    looks = Looks(contrasts=[Contrast.T1, Contrast.FLAIR], kinds=["none", "motion"])
    size = 5 + looks.size
    detector = Detector(means={Contrast.T1: [0.0] * size}, scale=[1.0] * size, kinds=["noise", "motion"],
                        weights=[[0.0] * size + [-1.0], [1.0] + [0.0] * (size - 1) + [-1.0]])  # fmt: skip
    return calibration(looks=looks, detector=detector, score="image")


def test_features_end_with_what_the_networks_say() -> None:
    ood = looking()
    told = np.log([0.2, 0.8, 0.3, 0.7])
    quality = np.arange(10.0).reshape(2, 5) / 5
    found = ood.signs(np.hstack([quality, np.tile(told, (2, 1))]), Contrast.T1)
    for one, own in zip(found, ood.novelty[Contrast.T1].slice_scores(quality), strict=True):
        assert one.novelty == pytest.approx(own)
        assert one.contrast == pytest.approx(np.log(4))
        assert one.contrasts == pytest.approx(told[:2])
    assert found[1].kinds == pytest.approx((-1.0, 0.0))
    assert found[1].artefact == pytest.approx(np.log(np.exp(-1) + 1))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((9.0, 0.0, 0.0), "unlike the training scans"),
        ((0.0, 9.0, 0.0), "motion"),
        ((0.0, 0.0, 9.0), "looks like FLAIR, not T1"),
        ((9.0, 4.0, 0.0), "motion"),  # novelty is louder, but says less
        ((9.0, 2.0, 0.0), "unlike the training scans"),
        ((3.0, 0.0, 1.9), "looks like FLAIR, not T1"),  # as a FLAIR called T1 of a validation person
        ((3.0, 5.0, 1.9), "motion"),
        ((3.0, 0.0, 1.5), "unlike the training scans"),
        ((0.0, 2.9, 1.9), "motion"),
        ((-9.0, -9.0, -9.0), ""),
    ],
)
def test_the_reason_is_what_speaks_loudest(values: tuple[float, ...], words: str) -> None:
    ood = looking()
    all_slices = [Signs(*values, contrasts=(-0.7, -0.7), kinds=(-1.0, 2.0))] * 5
    scores = ood.scores("T1->T2", 1, np.nan, np.array([np.nan]), all_slices)
    assert ood.reason(scores, all_slices, Contrast.T1) == words


def test_an_artefact_of_an_unknown_kind_is_not_named() -> None:
    ood, all_slices = looking(), [Signs(0.0, 9.0, 0.0, contrasts=(-0.7, -0.7))] * 5
    scores = ood.scores("T1->T2", 1, np.nan, np.array([np.nan]), all_slices)
    assert ood.reason(scores, all_slices, Contrast.T1) == "unlike the training scans"


@pytest.mark.parametrize("score", ["combined", "sigma_hat", "sigma_hat_max"])
def test_a_verdict_by_sigma_hat_says_so(score: str) -> None:
    ood = calibration(score=score)
    scores = ood.scores("T1->T2", 20, 0.5, np.array([0.5]), signs(0.0, 0.0, 0.0))
    assert ood.reason(scores, signs(0.0, 0.0, 0.0), Contrast.T1) == "the samples differ more than usual"


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
        alone = rng.normal(size=(200_000, n)).std(axis=1).mean()
        assert std_bias(n, antithetic=False) == pytest.approx(alone, rel=5e-3)
    few = calibration().scores("T1->T2", 5, 0.05 * std_bias(5) / std_bias(20), np.array([0.05]), signs(0.0))
    assert few["sigma_hat"] == pytest.approx(0.05)
    sampled = 0.05 * std_bias(4, antithetic=False) / std_bias(20)
    alone = calibration().scores("T1->T2", 4, sampled, np.array([0.05]), signs(0.0), antithetic=False)
    assert alone["sigma_hat"] == pytest.approx(0.05)


def test_a_model_without_spread_is_judged_by_novelty() -> None:
    ood = calibration()
    scores = ood.scores("T1->T2", 1, float("nan"), np.array([np.nan]), signs(2.0, 2.0, 2.0))
    assert np.isnan(scores["sigma_hat"]) and scores["combined"] == 2.0
    assert ood.assess(scores) == pytest.approx(0.9)


def test_nothing_known_gives_no_probability() -> None:
    ood = calibration()
    scores = ood.scores("FLAIR->T2", 1, float("nan"), np.array([np.nan]), signs(*[np.nan] * 4))
    assert ood.assess(scores) is None
    assert verdict(None) == "not calibrated"


def test_a_contrast_that_nothing_was_fitted_to_is_not_calibrated() -> None:
    """The network may know it; that it looks as it should says nothing of artefacts."""
    scores = calibration().scores("PD->T1", 1, np.nan, np.array([np.nan]), [Signs(contrast=-3.0)] * 9)
    assert calibration(score="image").assess(scores) is None
    assert verdict(None, scores) == "not calibrated"


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
