from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.ood.detector import Detector
from napari_mrtrans.scan.contrasts import Contrast


def scans(seed: int = 0, per_kind: int = 30) -> tuple[list[np.ndarray], list[Contrast], list[str | None]]:
    """Usual scans lie about another middle for each contrast; ``a`` raises the first feature, ``b`` lowers it."""
    rng = np.random.default_rng(seed)
    features, contrasts, kinds = [], [], []
    for contrast, middle in ((Contrast.T1, 0.0), (Contrast.T2, 50.0)):
        for kind, shift in ((None, 0.0), ("a", 3.0), ("b", -3.0)):
            for _ in range(per_kind):
                x = middle + rng.normal(size=(4, 3))
                x[:, 0] += shift
                features.append(x)
                contrasts.append(contrast)
                kinds.append(kind)
    return features, contrasts, kinds


def test_opposite_artefacts_are_both_told_from_none() -> None:
    """A single direction cannot tell both; and a contrast's own middle is no artefact."""
    features, contrasts, kinds = scans()
    detector = Detector.fit(features, contrasts, kinds)
    x = np.array([[0.0, 0, 0], [3.0, 0, 0], [-3.0, 0, 0]])
    for contrast, middle in ((Contrast.T1, 0.0), (Contrast.T2, 50.0)):
        usual, first, second = detector.slice_scores(middle + x, contrast)
        assert usual < 0 < min(first, second)
        odds = detector.log_odds(middle + x, contrast)
        assert [detector.kinds[i] for i in odds[1:].argmax(axis=1)] == ["a", "b"]


def test_log_odds_of_two_normal_laws_are_the_known_ones() -> None:
    """Unit normal laws a distance d apart: log odds d (x - d / 2); weak shrinkage with this many slices."""
    rng = np.random.default_rng(0)
    usual, moved = rng.normal(size=(2, 40, 500, 1))
    detector = Detector.fit([*usual, *(moved + 2)], [Contrast.T1] * 80, [None] * 40 + ["shift"] * 40)
    x = np.array([[-1.0], [1.0], [3.0]])
    np.testing.assert_allclose(detector.log_odds(x, Contrast.T1)[:, 0], [-4, 0, 4], atol=0.25)


def test_rare_kinds_weigh_as_much_as_frequent_ones() -> None:
    features, contrasts, kinds = scans()
    few = [i for i, kind in enumerate(kinds) if kind != "b" or i % 5 == 0]
    rare = Detector.fit([features[i] for i in few], [contrasts[i] for i in few], [kinds[i] for i in few])
    odds = rare.log_odds(np.array([[3.0, 0, 0], [-3.0, 0, 0]]), Contrast.T1)
    assert odds[0, 0] == pytest.approx(odds[1, 1], abs=1.0)


def test_a_contrast_never_seen_has_no_score() -> None:
    detector = Detector.fit(*scans())
    assert np.isnan(detector.slice_scores(np.zeros((2, 3)), Contrast.PD)).all()


def test_a_slice_without_features_has_no_score() -> None:
    detector = Detector.fit(*scans())
    assert np.isnan(detector.slice_scores(np.full((1, 3), np.nan), Contrast.T1)).all()


def test_standardised_scores_and_plain_numbers() -> None:
    detector = Detector.fit(*scans()).standardised_to([-3.0, -1.0])
    again = Detector.model_validate_json(detector.model_dump_json())
    x = np.ones((1, 3))
    total = np.logaddexp.reduce(detector.log_odds(x, Contrast.T1), axis=1)
    assert again.slice_scores(x, Contrast.T1) == pytest.approx((total + 2) / np.sqrt(2))


def test_features_appended_later_are_left_out() -> None:
    detector = Detector.fit(*scans())
    x = np.ones((1, 3))
    assert detector.slice_scores(np.append(x, [[9.0]], axis=1), Contrast.T1) == detector.slice_scores(x, Contrast.T1)
