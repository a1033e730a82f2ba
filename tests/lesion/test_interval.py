"""The interval of a correlation: Fisher's where voxels are independent, and no narrower where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.lesion import interval
from napari_mrtrans.lesion.interval import correlation_interval


def correlated(count: int) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=count)
    return np.stack([x, 0.6 * x + 0.8 * np.random.default_rng(2).normal(size=count)], axis=1)


def test_independent_lesions_give_fishers_interval() -> None:
    values = correlated(300)
    low, high = correlation_interval(values, np.zeros((300, 3), int), np.arange(300))
    r = np.corrcoef(*values.T)[0, 1]
    z, half = np.arctanh(r), 1.96 / np.sqrt(297)
    assert (low, high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.03)


def test_many_voxels_of_the_same_lesion_make_it_no_surer() -> None:
    values = correlated(60)
    once = correlation_interval(values, np.zeros((60, 3), int), np.arange(60))
    often = correlation_interval(np.repeat(values, 50, 0), np.zeros((3000, 3), int), np.repeat(np.arange(60), 50))
    assert often == pytest.approx(once, abs=1e-9)


def test_one_lesion_is_cut_into_blocks_and_few_of_them_tell_nothing() -> None:
    voxels = np.argwhere(np.ones((8, 8, 8)))
    blocks = np.unique(voxels // 4, axis=0, return_inverse=True)[1].ravel()
    values = correlated(8)[blocks]
    whole = np.zeros(len(voxels), int)
    assert correlation_interval(values, voxels, whole) == correlation_interval(values, voxels, blocks)
    half = voxels[:, 0] < 4
    assert correlation_interval(values[half], voxels[half], whole[half]) is None


def test_the_way_the_array_lies_does_not_matter() -> None:
    voxels = np.add(np.argwhere(np.random.default_rng(3).random((11, 13, 7)) < 0.8), (3, 2, 5))
    values = correlated(len(voxels)) + voxels[:, :1] / 5
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


def test_a_large_region_has_larger_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "MOST", 8)
    voxels = np.argwhere(np.ones((12, 12, 12)))
    blocks = np.unique(voxels // 6, axis=0, return_inverse=True)[1].ravel()
    values = correlated(len(voxels))
    found = correlation_interval(values, voxels, np.zeros(len(voxels), int))
    assert found == pytest.approx(correlation_interval(values, voxels, blocks), abs=1e-9)
