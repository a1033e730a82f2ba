from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.models.noise import REACH, Noise

SHAPE = (200, 200)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("position", [0.0, 3.0, REACH / 2, REACH, 101.7])
def test_noise_is_standard_normal_everywhere_and_a_function_of_its_arguments(position: float) -> None:
    noise = Noise(1)
    a = noise.of(SHAPE, 2, position)
    assert abs(a.mean()) < 0.02
    assert a.std() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(a, Noise(1).of(SHAPE, 2, position))
    others = (
        noise.of(SHAPE, 4, position),
        Noise(2).of(SHAPE, 2, position),
        noise.of(SHAPE, 2, position, 1),
        Noise(1, stream=2).of(SHAPE, 2, position),
    )
    for other in others:
        assert abs(alike(a, other)) < 0.02


def test_neighbouring_slices_are_alike_and_far_ones_are_not() -> None:
    """Between two planes the correlation is cos(π/2 · distance / REACH); beyond two reaches, nothing is shared."""
    at = {z: Noise(0).of(SHAPE, 0, REACH * z) for z in (0, 0.25, 0.5, 1, 1.5, 2.5)}
    for first, second in ((0, 0.25), (0.25, 0.5), (0, 0.5)):
        assert alike(at[first], at[second]) == pytest.approx(np.cos(np.pi / 2 * (second - first)), abs=0.02)
    assert alike(at[0.5], at[1.5]) == pytest.approx(0.5, abs=0.02)
    assert abs(alike(at[0], at[1])) < 0.02
    assert abs(alike(at[0.5], at[2.5])) < 0.02


def test_odd_samples_are_the_negatives_of_those_before_them_unless_they_are_independent() -> None:
    paired, apart = Noise(3), Noise(3, antithetic=False)
    np.testing.assert_array_equal(paired.of(SHAPE, 5, 9.0), -paired.of(SHAPE, 4, 9.0))
    np.testing.assert_array_equal(apart.of(SHAPE, 4, 9.0), paired.of(SHAPE, 4, 9.0))
    assert abs(alike(apart.of(SHAPE, 5, 9.0), apart.of(SHAPE, 4, 9.0))) < 0.02


def test_a_slice_gets_its_own_part_of_the_noise() -> None:
    boxes = [(slice(0, 8), slice(4, 16)), (slice(10, 18), slice(0, 12))]
    noise = Noise(0)
    found = noise.framed((20, 20), [0, 3], boxes, [2.0, 5.0], 1)
    assert found.shape == (2, 2, 8, 12)
    np.testing.assert_array_equal(found[1, 1], noise.of((20, 20), 3, 5.0, 1)[boxes[1]])
