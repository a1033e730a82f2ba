"""The interval of a correlation: Fisher's where voxels are independent, and wider where they resemble each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mrtrans.lesion import interval
from napari_mrtrans.lesion.interval import correlation_interval

BALL = np.argwhere(sum(axis**2 for axis in np.ogrid[-6:7, -6:7, -6:7]) <= 36)


def correlated(count: int) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=count)
    return np.stack([x, 0.6 * x + 0.8 * np.random.default_rng(2).normal(size=count)], axis=1)


def fisher(values: np.ndarray, count: float) -> tuple[float, float]:
    z, half = np.arctanh(np.corrcoef(*values.T)[0, 1]), 1.96 / np.sqrt(count - 3)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def lesions_of(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels in a row, and which lesion each is in."""
    voxels = np.column_stack([np.arange(count * size), np.zeros((count * size, 2), int)])
    return voxels, np.repeat(np.arange(count), size)


def test_independent_voxels_give_fishers_interval() -> None:
    values = correlated(len(BALL))
    found = correlation_interval(values, BALL, np.zeros(len(BALL), int))
    assert found == pytest.approx(fisher(values, len(BALL)), abs=0.01)


def test_independent_lesions_of_a_voxel_give_fishers_interval() -> None:
    values = correlated(300)
    assert correlation_interval(values, *lesions_of(300, 1)) == pytest.approx(fisher(values, 300), abs=0.002)


def test_many_voxels_of_the_same_lesion_make_it_no_surer() -> None:
    values = correlated(60)
    once = correlation_interval(values, *lesions_of(60, 1))
    often = correlation_interval(np.repeat(values, 50, 0), *lesions_of(60, 50))
    assert often == pytest.approx(once, abs=1e-9)


def test_it_holds_the_true_correlation_of_smooth_images_nine_times_in_ten() -> None:
    rng, true, held, plain = np.random.default_rng(0), 0.6, 0, 0
    for _ in range(60):
        one, other = (gaussian_filter(rng.normal(size=(20,) * 3), 1.7, mode="wrap")[tuple(BALL.T + 3)] for _ in "ab")
        values = np.stack([one, true * one + np.sqrt(1 - true**2) * other], axis=1)
        low, high = correlation_interval(values, BALL, np.zeros(len(BALL), int))
        held += low <= true <= high
        naive_low, naive_high = fisher(values, len(BALL))
        plain += naive_low <= true <= naive_high
    assert plain <= 30
    assert held >= 50


def test_what_is_worth_fewer_than_five_voxels_has_none() -> None:
    assert correlation_interval(np.repeat(correlated(4), 50, 0), *lesions_of(4, 50)) is None
    assert correlation_interval(correlated(4), *lesions_of(4, 1)) is None
    assert correlation_interval(correlated(6), *lesions_of(6, 1)) is not None


def test_a_constant_image_has_none_and_the_same_image_is_certain() -> None:
    values = correlated(50)
    assert correlation_interval(np.column_stack([values[:, 0], np.ones(50)]), *lesions_of(50, 1)) is None
    assert correlation_interval(values[:, [0, 0]], *lesions_of(50, 1)) == pytest.approx((1, 1), abs=1e-6)


@pytest.mark.parametrize("most", [interval.MOST, 60])
def test_the_way_the_array_lies_does_not_matter(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "MOST", most)
    voxels = np.add(np.argwhere(np.random.default_rng(3).random((11, 13, 8)) < 0.8), (3, 2, 5))
    values = correlated(len(voxels)) + voxels[:, :1] / 20
    one = np.zeros(len(voxels), int)
    first = correlation_interval(values, voxels, one)
    assert first is not None
    for turned in (
        voxels[:, [2, 0, 1]],
        [29, 31, 17] - voxels,
        np.column_stack([40 - voxels[:, 1], voxels[:, [2, 0]]]),
    ):
        order = np.lexsort(turned.T[::-1])  # as they come in that array
        assert correlation_interval(values[order], turned[order], one) == pytest.approx(first, abs=1e-9)


def test_a_large_lesion_is_looked_at_in_cubes_of_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    one, other = (gaussian_filter(rng.normal(size=(30,) * 3), 3, mode="wrap") for _ in "ab")
    values = np.stack([one.ravel(), (one + other).ravel()], axis=1)
    voxels, whole = np.argwhere(np.ones((30,) * 3)), np.zeros(30**3, int)
    fine = correlation_interval(values, voxels, whole)
    monkeypatch.setattr(interval, "MOST", 1000)
    coarse = correlation_interval(values, voxels, whole)
    assert coarse == pytest.approx(fine, abs=0.03)
