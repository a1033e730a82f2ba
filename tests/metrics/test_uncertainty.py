from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.metrics.uncertainty import crps, gradient, rank_correlation, sparsification_error

RNG = np.random.default_rng(0)
ERROR = RNG.normal(0, 1, (20, 21, 22))
EVERYWHERE = np.ones(ERROR.shape, dtype=bool)


def test_a_map_that_rises_with_the_error_has_rank_correlation_one_and_no_sparsification_error() -> None:
    for told in (np.abs(ERROR), 0.1 + 3 * np.abs(ERROR), np.abs(ERROR) ** 3):
        assert rank_correlation(told, ERROR, EVERYWHERE) == pytest.approx(1)
        assert sparsification_error(told, ERROR, EVERYWHERE) == pytest.approx(0, abs=1e-12)
    assert rank_correlation(-np.abs(ERROR), ERROR, EVERYWHERE) == pytest.approx(-1)
    assert sparsification_error(-np.abs(ERROR), ERROR, EVERYWHERE) > 1.5


def test_a_map_that_knows_nothing_is_at_chance() -> None:
    told = RNG.normal(0, 1, ERROR.shape)
    assert rank_correlation(told, ERROR, EVERYWHERE) == pytest.approx(0, abs=0.03)
    assert sparsification_error(told, ERROR, EVERYWHERE) == pytest.approx(1, abs=0.05)
    # All the same: a random order, whatever the voxels' own.
    constant = np.ones(ERROR.shape)
    assert np.isnan(rank_correlation(constant, ERROR, EVERYWHERE))
    rising = np.sort(np.abs(ERROR).ravel()).reshape(ERROR.shape)
    assert sparsification_error(constant, rising, EVERYWHERE) == pytest.approx(1)
    assert np.isnan(sparsification_error(np.abs(ERROR), constant, EVERYWHERE))


def test_sparsification_of_four_voxels_by_hand() -> None:
    error, told = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 3.0])
    inside = np.ones(4, dtype=bool)

    def area(squares: list[float]) -> float:
        return np.mean([np.sqrt(np.mean(squares[:k])) for k in range(1, 5)])

    mine, best, chance = area([1, 4, 16, 9]), area([1, 4, 9, 16]), np.sqrt(30 / 4)
    assert sparsification_error(told, error, inside) == pytest.approx((mine - best) / (chance - best))


def test_only_the_mask_counts() -> None:
    told, mask = np.abs(ERROR).copy(), EVERYWHERE.copy()
    mask[0] = False
    told[0] = np.nan
    assert rank_correlation(told, ERROR, mask) == pytest.approx(1)
    assert sparsification_error(told, ERROR, mask) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 20])
def test_crps_of_normal_samples_is_the_closed_form_for_every_number_of_them(n: int) -> None:
    """Of N(0, σ) for a truth y: σ (z (2Φ(z) - 1) + 2φ(z) - 1/sqrt(π)), z = y/σ (Gneiting & Raftery 2007, Eq. 21)."""
    from scipy.stats import norm

    sigma = 0.3
    truth = np.full((60, 60, 60), 0.2)
    samples = RNG.normal(0, sigma, (n, *truth.shape))
    z = 0.2 / sigma
    expected = sigma * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert crps(samples, truth, np.ones(truth.shape, dtype=bool)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("counts", [(2, 2), (6, 4)])
def test_crps_of_so_many_samples_of_each_is_that_of_their_mixture(counts: tuple[int, int]) -> None:
    truth, sides = np.full((40, 40, 40), 0.1), (-0.5, 0.5)
    inside, n = np.ones(truth.shape, dtype=bool), sum(counts)
    strata = [side for side, count in zip(sides, counts, strict=True) for _ in range(count)]
    samples = RNG.normal(0, 0.2, (n, *truth.shape)) + np.reshape(strata, (n, 1, 1, 1))
    chance = RNG.choice(sides, (40, *truth.shape), p=np.array(counts) / n)
    expected = crps(RNG.normal(0, 0.2, chance.shape) + chance, truth, inside)
    assert crps(samples, truth, inside, strata) == pytest.approx(expected, rel=0.02)
    assert crps(samples, truth, inside) < 0.97 * expected


def test_crps_needs_two_samples_of_whatever_draws_them() -> None:
    with pytest.raises(MrtransError, match="at least 2 independent samples of each that draws some; got 1"):
        crps(RNG.normal(0, 1, (3, *ERROR.shape)), ERROR, EVERYWHERE, ["a", "b", "a"])


def test_crps_of_samples_that_are_all_the_same_is_the_absolute_error() -> None:
    point = np.repeat(np.zeros((1, *ERROR.shape)), 4, axis=0)
    assert crps(point, ERROR, EVERYWHERE) == pytest.approx(np.abs(ERROR).mean())


def test_gradient_is_in_plane_and_per_mm() -> None:
    i, j, k = np.meshgrid(*map(np.arange, (6, 7, 8)), indexing="ij")
    ramp = 3.0 * i + 4.0 * j + 100.0 * k
    np.testing.assert_allclose(gradient(ramp, 2), 5)
    np.testing.assert_allclose(gradient(ramp, 2, (1.0, 2.0, 9.0)), np.hypot(3, 2))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda told, mask: (np.where(told > 0, np.nan, told), mask), "holds NaN or infinite voxels inside the mask"),
        (lambda told, mask: (told, np.zeros_like(mask)), "The mask holds 0 voxels; at least 2 are needed"),
        (lambda told, mask: (told[1:], mask), "different shapes"),
    ],
)
def test_bad_maps_are_named(spoil, words: str) -> None:
    told, mask = spoil(np.abs(ERROR), EVERYWHERE)
    for figure in (rank_correlation, sparsification_error):
        with pytest.raises(MrtransError, match=words):
            figure(told, ERROR, mask)


def test_one_sample_has_no_crps() -> None:
    with pytest.raises(MrtransError, match="at least 2 independent samples of each that draws some; got 1"):
        crps(ERROR[None], ERROR, EVERYWHERE)


def test_what_is_masked_does_not_count() -> None:
    score = np.abs(ERROR) + RNG.random(ERROR.shape)
    inside = RNG.random(ERROR.shape) < 0.5
    hidden = np.ma.MaskedArray(np.where(inside, ERROR, 1e6), mask=~inside)
    assert rank_correlation(score, hidden) == rank_correlation(score, ERROR, inside)
    assert sparsification_error(score, hidden, EVERYWHERE) == sparsification_error(score, ERROR, inside)
    samples = RNG.normal(0, 1, (4, *ERROR.shape))
    assert crps(samples, hidden, EVERYWHERE) == crps(samples, ERROR, inside)
    every = np.ma.MaskedArray(samples, mask=np.broadcast_to(~inside, samples.shape))
    assert crps(every, ERROR, EVERYWHERE) == crps(samples, ERROR, inside)
