"""Slices beside a slice."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.scan.neighbours import between_others, planes, seen


@pytest.mark.parametrize(
    ("index", "spacing", "expected"),
    [
        (50, 1.0, (47, 53)),
        (50, 1.2, (48, 52)),
        (50, 3.3, (49, 51)),
        (50, 4.5, (49, 51)),
        (50, 4.6, (50, 50)),
        (1, 1.0, (0, 4)),
        (99, 1.0, (96, 99)),
    ],
)
def test_they_are_about_3_mm_away_or_the_slice_itself(index: int, spacing: float, expected: tuple[int, int]) -> None:
    assert seen(index, 100, spacing, 3.0) == [index, *expected]


def test_without_a_distance_a_network_sees_one_slice() -> None:
    assert (planes(0.0), planes(3.0)) == (1, 3)
    assert seen(5, 10, 1.0, 0.0) == [5]


def test_slices_at_an_end_or_beside_a_black_one_are_not_between_others() -> None:
    there = np.array([True] * 9 + [False] + [True] * 3)
    assert np.flatnonzero(between_others(there, 2)).tolist() == [2, 3, 4, 5, 6]
    assert np.flatnonzero(between_others(there, 1)).tolist() == [1, 2, 3, 4, 5, 6, 7, 11]
    assert not between_others(there, 40).any()
