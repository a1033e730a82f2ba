from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from napari_mrtrans import MrtransError, metrics
from napari_mrtrans.transformation.statistics import cumulants, effect_of_n, normality, repair_outliers

SPIKES = ((20, 20), (21, 21), (6, 24), (30, 40))


def smooth_slice(n: int = 20) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Samples (n, 44, 50) of a spread between 0.06 and 0.12 inside a disc that touches no border."""
    rows, columns = np.mgrid[-1:1:44j, -1:1:50j]
    mask = rows**2 + columns**2 < 0.8
    noise = np.random.default_rng(0).standard_normal((n, *mask.shape))
    return np.where(mask, 0.5 + (0.09 + 0.03 * columns) * noise, 0), mask


def with_spikes() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Samples with and without outliers in 3 of 20 samples at single pixels, and their head."""
    clean, mask = smooth_slice()
    spoiled = clean.copy()
    for row, column in SPIKES:
        assert mask[row, column]
        spoiled[:3, row, column] += 3.0
    return spoiled, clean, mask


def test_planted_outliers_are_found_and_nothing_else_is_touched() -> None:
    spoiled, clean, mask = with_spikes()
    mean, std = spoiled.mean(0), spoiled.std(0)
    before = mean.copy(), std.copy()
    repaired = repair_outliers(mean, std, spoiled, mask)
    assert sorted(zip(*np.nonzero(repaired.flagged), strict=True)) == sorted(SPIKES)
    at = repaired.flagged
    np.testing.assert_array_equal(repaired.mean[~at], mean[~at])
    np.testing.assert_array_equal(repaired.std[~at], std[~at])
    np.testing.assert_array_equal(repaired.mean[at], np.median(spoiled, axis=0)[at])
    spread = np.median(np.abs(spoiled - np.median(spoiled, axis=0)), axis=0)
    np.testing.assert_allclose(repaired.std[at], 1.4826 * spread[at], rtol=1e-4)
    assert np.abs(repaired.mean - clean.mean(0))[at].max() < 0.1 < 0.4 < np.abs(mean - clean.mean(0))[at].min()
    assert (repaired.std[at] < 0.25).all()
    assert (std[at] > 1).all()
    np.testing.assert_array_equal((mean, std), before)


def test_neither_the_rim_of_the_head_nor_a_smooth_spread_is_an_outlier() -> None:
    samples, mask = smooth_slice()
    mask[:, :9] = False  # a straight rim that the spread does not taper to
    assert not repair_outliers(samples.mean(0), samples.std(0), samples, mask).flagged.any()


def test_outliers_outside_the_head_or_below_the_floor_are_left() -> None:
    spoiled, _, mask = with_spikes()
    mean, std = spoiled.mean(0), spoiled.std(0)
    without = mask.copy()
    without[SPIKES[0]] = False
    found = repair_outliers(mean, std, spoiled, without).flagged
    assert sorted(zip(*np.nonzero(found), strict=True)) == sorted(SPIKES[1:])
    assert not repair_outliers(mean, std, spoiled, mask, min_std=2.0).flagged.any()
    assert not repair_outliers(mean / 100, std / 100, spoiled / 100, mask).flagged.any()
    assert not repair_outliers(mean, std, spoiled, mask, threshold=1e6).flagged.any()
    assert not repair_outliers(mean, std, spoiled, np.zeros_like(mask)).flagged.any()


def test_the_threshold_counts_robust_standard_deviations() -> None:
    """One pixel stands out by a known number of them: it alone is found just below, nothing just above."""
    rng = np.random.default_rng(1)
    mask = np.ones((15, 15), dtype=bool)
    std = 0.2 + 0.01 * rng.standard_normal(mask.shape)
    std[7, 7] = 0.4
    medians = np.empty_like(std)
    for i, j in np.ndindex(std.shape):
        medians[i, j] = np.median(std[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3])
    excess = std - medians
    ratio = excess[7, 7] / (1.4826 * np.median(np.abs(excess - np.median(excess))))
    samples = rng.random((5, 15, 15))
    for factor, count in ((0.999, 1), (1.001, 0)):
        found = repair_outliers(samples.mean(0), std, samples, mask, threshold=factor * ratio).flagged
        assert found.sum() == found[7, 7] == count


def test_cumulants_of_known_distributions() -> None:
    """Of the exponential distribution with mean θ, κ_k = (k - 1)! θ^k; of a normal one, κ3 = κ4 = 0."""
    rng = np.random.default_rng(0)
    samples = np.stack([rng.exponential(0.5, 400_000), rng.normal(2, 0.3, 400_000)], axis=1)
    expected = np.array([[0.5, 2], [0.25, 0.09], [0.25, 0], [0.375, 0]])
    for unbiased in (False, True):
        np.testing.assert_allclose(cumulants(samples, unbiased=unbiased), expected, atol=0.02)


def test_plain_cumulants_are_the_paper_s_moments_and_k_statistics_have_no_bias() -> None:
    bits = np.array(np.meshgrid(*[[0.0, 1.0]] * 5)).reshape(5, -1)  # all outcomes of five throws of a coin
    plain, unbiased = cumulants(bits), cumulants(bits, unbiased=True)
    assert plain.shape == unbiased.shape == (4, 32)
    share = bits.mean(0)
    np.testing.assert_allclose(plain[1], share * (1 - share), atol=1e-12)
    np.testing.assert_allclose(plain[2], share * (1 - share) * (1 - 2 * share), atol=1e-12)
    fourth = share * (1 - share) * ((1 - share) ** 3 + share**3)
    np.testing.assert_allclose(plain[3], fourth - 3 * plain[1] ** 2, atol=1e-12)
    np.testing.assert_allclose(unbiased.mean(1), [0.5, 0.25, 0, -0.125], atol=1e-12)
    assert abs(plain[1].mean() - 0.25) > 0.04
    with pytest.raises(MrtransError, match="at least 4 samples; got 3"):
        cumulants(bits[:3], unbiased=True)


def test_as_many_normal_pixels_pass_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    normal, mask = rng.standard_normal((20, 50, 60)), np.ones((50, 60), dtype=bool)
    assert normality(normal, mask) == pytest.approx(0.95, abs=0.015)
    assert normality(normal, mask, 0.3) == pytest.approx(0.7, abs=0.03)
    assert normality(np.exp(2 * normal), mask) < 0.02


def test_normality_is_counted_voxel_by_voxel_inside_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    samples = rng.gamma(1.5, size=(12, 5, 6, 4)).astype(np.float32)
    mask = rng.random((5, 6, 4)) < 0.7
    samples[:, 2] = 0.5  # constants pass the test; they are left out
    tested = mask.copy()
    tested[2] = False
    passed = [stats.shapiro(column).pvalue > 0.05 for column in samples[:, tested].T]
    assert 0.2 < np.mean(passed) < 0.8
    for chunk in (1, 7, 4096):
        assert normality(samples, mask, chunk=chunk) == pytest.approx(np.mean(passed))
    constant = np.zeros_like(mask)
    constant[2] = True
    for nothing in (constant, np.zeros_like(mask)):
        assert math.isnan(normality(samples, nothing))
    with pytest.raises(MrtransError, match="at least 3 samples; got 2"):
        normality(samples[:2], mask)


def test_normality_needs_memory_for_a_chunk_alone() -> None:
    samples = np.random.default_rng(0).standard_normal((20, 40_000), dtype=np.float32)
    mask = np.zeros(40_000, dtype=bool)
    mask[::8] = True

    def peak(chunk: int) -> int:
        tracemalloc.start()
        normality(samples, mask, chunk=chunk)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(100) < 0.3 * peak(5000)


def test_effect_of_n_is_that_of_the_running_mean() -> None:
    """Independent noise of variance v on the target: the error of the mean of n samples is v / n, κ2 is v (1 - 1/n)."""
    rng = np.random.default_rng(0)
    target = rng.random((24, 22, 20))
    samples = (target + 0.1 * rng.standard_normal((20, *target.shape))).astype(np.float32)
    mask = rng.random(target.shape) < 0.8
    rows = effect_of_n(samples, target, mask)
    assert [row.n for row in rows] == [1, 2, 5, 10, 20]
    for row in rows:
        assert row.psnr == pytest.approx(20 + 10 * math.log10(row.n), abs=0.2)
        mean = samples[: row.n].mean(0)
        assert row.ssim == pytest.approx(metrics.ssim(mean, target, mask), abs=1e-6)
        k1, k2, k3, k4 = row.cumulants
        assert k1 == pytest.approx(mean[mask].mean(), abs=1e-6)
        if row.n == 1:  # it has no spread
            assert np.isnan([k2, k3, k4]).all()
            continue
        assert k2 == pytest.approx(0.01 * (1 - 1 / row.n), abs=2e-4)
        assert (k3, k4) == tuple(pytest.approx(x) for x in cumulants(samples[: row.n])[2:, mask].mean(1))
    assert [row.n for row in effect_of_n(samples, target, mask, (3, 20, 21))] == [3, 20]


def test_effect_of_n_has_no_ssim_of_thin_volumes_and_slices() -> None:
    samples = np.random.default_rng(0).random((4, 24, 22, 10))
    for some in (samples, samples[..., 0]):
        rows = effect_of_n(some, some[0], np.ones(some.shape[1:], dtype=bool))
        assert [row.n for row in rows] == [1, 2]
        assert all(math.isnan(row.ssim) for row in rows)
        assert rows[0].psnr == math.inf
    with pytest.raises(MrtransError, match="mask is empty"):
        effect_of_n(samples, samples[0], np.zeros((24, 22, 10), dtype=bool))
    with pytest.raises(MrtransError, match="different shapes"):
        effect_of_n(samples, samples[0, 1:], np.ones((23, 22, 10), dtype=bool))
