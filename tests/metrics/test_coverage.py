from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.metrics.coverage import LEVELS, calibration_error, coverage, pit

VOXELS = 100_000


@pytest.mark.parametrize("n", [1, 4, 20])
def test_a_truth_like_one_more_sample_is_covered_as_it_should_be(n: int) -> None:
    """Whatever n; intervals between the quantiles of 20 samples would cover 0.82 of it at 0.9."""
    rng = np.random.default_rng(n)
    drawn = rng.gamma(2, size=(n + 1, VOXELS))
    covered = coverage(pit(drawn[:n], drawn[n], rng))
    assert covered == pytest.approx(list(LEVELS), abs=0.006)
    assert calibration_error(covered) < 0.004


def test_ties_are_broken_at_random() -> None:
    """Samples and truth that are black or white only, as clipped images have them."""
    rng = np.random.default_rng(0)
    drawn = (rng.random((9, VOXELS)) < 0.3).astype(np.float32)
    assert coverage(pit(drawn[:8], drawn[8], rng)) == pytest.approx(list(LEVELS), abs=0.006)


def test_too_narrow_samples_cover_too_little_and_too_wide_ones_too_much() -> None:
    """For many samples, the central 0.5 interval of N(0, s²) holds P(|z| < 0.6745 s) of N(0, 1)."""
    rng = np.random.default_rng(0)
    truth, samples = rng.standard_normal(20_000), rng.standard_normal((200, 20_000))
    at = LEVELS.index(0.5)
    assert coverage(pit(0.5 * samples, truth, rng))[at] == pytest.approx(0.264, abs=0.015)
    assert coverage(pit(2 * samples, truth, rng))[at] == pytest.approx(0.823, abs=0.015)


def test_a_biased_prediction_is_hardly_covered() -> None:
    rng = np.random.default_rng(0)
    covered = coverage(pit(rng.standard_normal((20, 1000)) + 50, np.zeros(1000), rng))
    assert covered[:9] == [0] * 9
    # The lowest of 21 ranks: within 0.05 of the end, where the interval of 0.95 begins at 0.025.
    assert covered[9] == pytest.approx((1 / 21 - 0.025) * 21, abs=0.05)


def test_calibration_error_is_the_mean_distance_from_the_diagonal() -> None:
    assert calibration_error([0.2, 0.4], (0.1, 0.5)) == pytest.approx(0.1)
