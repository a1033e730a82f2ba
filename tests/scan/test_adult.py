from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.scan.adult import is_adult_brain
from napari_mrtrans.scan.intensity import head_mask, is_whole_head

SIZES = np.array([4.0, 4.0, 4.0])


def ball(radius: float, shape: tuple[int, int, int] = (60, 60, 60)) -> np.ndarray:
    """Distance in mm from the middle below ``radius``."""
    grid = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return np.sqrt(((grid * 4.0) ** 2).sum(axis=0)) < radius


def adult(data: np.ndarray) -> bool:
    data = data.astype(np.float32)
    assert not is_whole_head(data, SIZES)
    return is_adult_brain(data, SIZES, head_mask(data))


def test_a_brain_of_an_adult_with_black_ventricles() -> None:
    assert adult(np.where(ball(70), 300, 0))
    assert adult(np.where(ball(70) & ~ball(20), 300, 0))


def test_a_skull_that_is_exactly_0_is_under_the_scalp() -> None:
    skull = ball(69) & ~ball(64)
    skull[:, :, 29:31] = False  # else brain and scalp were apart, and the larger one alone the head
    assert not adult(np.where(ball(75) & ~skull, 300, 0))


@pytest.mark.parametrize(("radius", "expected"), [(45, False), (55, False), (64, True), (35, True)])
def test_small_brains_are_those_of_children(radius: float, expected: bool) -> None:
    """382, 697 and 1098 ml; and 180, which is no whole brain."""
    assert adult(np.where(ball(radius), 300, 0)) is expected


def test_a_slab_may_be_an_adult_s() -> None:
    assert adult(np.where(ball(70), 300, 0)[:, :, 26:34])
