from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.metrics.spectrum import band_power, band_ratios

SHAPE = (64, 64, 6)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[4:60, 4:60] = True
MM = (1.0, 1.0, 3.0)


def wave(length: float) -> np.ndarray:
    """A plane wave along the first axis, its length in pixels."""
    return np.broadcast_to(np.sin(2 * np.pi * np.arange(64) / length)[:, None, None], SHAPE).copy()


@pytest.mark.parametrize(("length", "band"), [(30, 0), (8, 1), (2.5, 2)])
def test_a_wave_is_found_in_its_band(length: float, band: int) -> None:
    power = band_power(wave(length)[None], MASK, 2, MM)
    assert power[band] > 0.9 * power.sum()  # the window spills the rest


def test_wavelengths_are_in_mm() -> None:
    """Of 5 pixels: 5 mm, or 2.5 mm where pixels are half as wide."""
    wide, narrow = (band_power(wave(5)[None], MASK, 2, (mm, mm, 3.0)) for mm in (1.0, 0.5))
    assert wide.argmax() == 1
    assert narrow.argmax() == 2


@pytest.mark.parametrize("n", [2, 10])
def test_samples_of_the_truth_s_own_distribution_give_one_in_every_band(n: int) -> None:
    rng = np.random.default_rng(0)
    shape = (64, 64, 40)
    mask = np.ones(shape, dtype=bool)
    drawn = rng.standard_normal((n + 1, *shape)).astype(np.float32)
    found = band_ratios(drawn[1:], drawn[0], mask, 2, (2.0, 2.0, 2.0))
    assert found[:2] == pytest.approx([1, 1], abs=0.12)
    assert band_ratios(drawn[1:], drawn[0], mask, 2, (1.0, 1.0, 1.0))[2] == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("n", [2, 10])
@pytest.mark.parametrize("wide", [0.5, 1.15])
def test_the_ratio_does_not_depend_on_the_number_of_samples(n: int, wide: float) -> None:
    rng = np.random.default_rng(2)
    shape = (64, 64, 80)
    truth, *samples = rng.standard_normal((n + 1, *shape)).astype(np.float32)
    found = band_ratios(wide * np.stack(samples), truth, np.ones(shape, dtype=bool), 2, (2.0, 2.0, 2.0))
    assert found[:2] == pytest.approx([wide**2, wide**2], rel=0.1)


def test_samples_too_smooth_lack_what_is_fine() -> None:
    rng = np.random.default_rng(1)
    coarse, fine = rng.standard_normal((2, 21, 1, 1, 6)) * np.stack([wave(30), wave(2.5)])[:, None]
    truth = coarse[0] + fine[0]
    found = band_ratios((coarse[1:] + 0.5 * fine[1:]).astype(np.float32), truth, MASK, 2, MM)
    assert found[2] / found[0] < 0.6


def test_what_is_outside_the_head_does_not_count() -> None:
    image = wave(8)
    inside = band_power(image[None], MASK, 2, MM)
    image[~MASK] = np.nan
    np.testing.assert_allclose(band_power(image[None], MASK, 2, MM), inside)


def test_one_sample_has_no_deviation() -> None:
    with pytest.raises(MrtransError, match="at least 2 independent samples; got 1"):
        band_ratios(wave(8)[None], wave(8), MASK, 2, MM)


def test_samples_drawn_in_fixed_shares_from_models_of_the_truth_s_parts_are_as_wide_as_it() -> None:
    """A pool: the truth is of either of two parts; half of the samples are of each, so their mean varies less."""
    rng = np.random.default_rng(5)
    shape, mask = (64, 64, 40), np.ones((64, 64, 40), dtype=bool)
    place = 3 * rng.standard_normal(shape)

    def of(part: np.ndarray) -> np.ndarray:
        return (np.where(part, place, -place) + rng.standard_normal(shape)).astype(np.float32)

    ours, theirs = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    samples = np.stack([of(ours), of(ours), of(theirs), of(theirs)])
    truth = of(rng.random(shape) < 0.5)
    found = band_ratios(samples, truth, mask, 2, (2.0, 2.0, 2.0), ["a", "a", "b", "b"])
    assert found[:2] == pytest.approx([1, 1], abs=0.12)
    with pytest.raises(MrtransError, match="got 1"):
        band_ratios(samples, truth, mask, 2, MM, ["a", "a", "a", "b"])
