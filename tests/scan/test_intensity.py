from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import head, turned_head
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import (
    HEADROOM,
    clean,
    find_head,
    head_mask,
    is_stripped,
    is_whole_head,
    normalise,
    padding,
    white_level,
    zero_level,
)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_clean_keeps_good_values_and_replaces_the_others() -> None:
    data = np.array([[[-np.inf, -3.0, 0.0, 2.5, np.nan, 7.0, np.inf]]])
    out = clean(data)
    np.testing.assert_array_equal(out, [[[0, 0, 0, 2.5, 0, 7, 7]]])
    assert out.dtype == np.float32


def test_clean_leaves_its_input_alone() -> None:
    data = np.array([[[np.nan, -1.0, 4.0]]], dtype=np.float32)
    before = data.copy()
    clean(data)
    np.testing.assert_array_equal(data, before)


@pytest.mark.parametrize("contrast", list(Contrast))
@pytest.mark.parametrize("gain", [1e-3, 1.0, 5e4])
def test_the_median_lands_on_one_over_headroom_whatever_the_scanner_unit(contrast: Contrast, gain: float) -> None:
    data = head() * np.float32(gain)
    mask = data > 0
    out = normalise(data, mask, contrast)
    assert np.median(out[mask]) == pytest.approx(1 / HEADROOM[contrast], rel=1e-5)
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert not out[~mask].any()


def test_bright_voxels_keep_their_ratio_up_to_the_clip() -> None:
    data = np.full((5, 5, 5), 100, dtype=np.float32)
    data[0, 0] = [150, 199, 201, 400, 100]
    out = normalise(data, np.ones(data.shape, bool), Contrast.T1)
    np.testing.assert_allclose(out[0, 0], [0.75, 0.995, 1, 1, 0.5], rtol=1e-6)


def test_voxels_outside_the_mask_do_not_matter() -> None:
    data = head()
    mask = data > 0
    other = np.where(mask, data, 1e6).astype(np.float32)
    np.testing.assert_array_equal(normalise(data, mask, Contrast.T1), normalise(other, mask, Contrast.T1))


@pytest.mark.parametrize("mask", [np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)])
def test_no_signal_under_the_mask(mask: NDArray[np.bool_]) -> None:
    with pytest.raises(VolumeError, match="No signal inside the head mask"):
        white_level(np.zeros((4, 4, 4), np.float32), mask, Contrast.T1)


def test_stripped_head_is_exactly_what_is_not_zero() -> None:
    data = head()
    np.testing.assert_array_equal(head_mask(data), data > 0)


def test_enclosed_dark_fluid_belongs_to_the_head() -> None:
    data = head()
    whole = data > 0
    data[18:22, 22:26, 8:12] = 0
    np.testing.assert_array_equal(head_mask(data), whole)


def test_specks_far_from_the_head_are_dropped() -> None:
    data = head()
    whole = data > 0
    data[0, 0, 0] = data[-1, -1, -1] = 500
    np.testing.assert_array_equal(head_mask(data), whole)


@pytest.mark.parametrize("axis", range(3))
def test_a_brain_in_pieces_is_all_of_it(axis: int) -> None:
    """A lost slice, or a slab in which hemispheres or lobes do not touch."""
    data = head()
    np.moveaxis(data, axis, 0)[data.shape[axis] // 2 + 1] = 0
    np.testing.assert_array_equal(head_mask(data), data > 0)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("lost", [1, 2])
def test_a_whole_head_is_not_parted_by_lost_slices(axis: int, lost: int) -> None:
    data = head()
    noisy = np.hypot(data, 8 * np.random.default_rng(0).standard_normal(data.shape)).astype(np.float32) + 1
    whole, middle = head_mask(noisy), data.shape[axis] // 2
    gap = slice(middle, middle + lost)
    np.moveaxis(noisy, axis, 0)[gap] = np.moveaxis(whole, axis, 0)[gap] = 0
    assert dice(head_mask(noisy), whole) > 0.99


@pytest.mark.parametrize("whole_numbers", [False, True], ids=["float", "int"])
@pytest.mark.parametrize("sigma", [1.0, 8.0])
def test_head_in_scanner_noise(sigma: float, whole_numbers: bool) -> None:
    """Rician noise: positive everywhere as floats, partly 0 where the scanner wrote integers."""
    data = head((40, 48, 20))
    rng = np.random.default_rng(0)
    noisy = np.hypot(data + sigma * rng.standard_normal(data.shape), sigma * rng.standard_normal(data.shape))
    if whole_numbers:
        noisy = np.floor(noisy)
        assert (noisy == 0).any() or sigma > 1
    assert dice(head_mask(noisy.astype(np.float32)), data > 0) > 0.97


def test_a_block_cut_out_of_the_middle_of_the_head_is_nearly_all_head() -> None:
    block = head((80, 96, 40))[28:52, 32:64, 12:28]
    assert (block > 0).all()
    assert head_mask(block).mean() > 0.5


def test_nothing_stands_out() -> None:
    with pytest.raises(VolumeError, match="No head found"):
        head_mask(np.zeros((12, 12, 12), np.float32))


def _air_and_tissue() -> np.ndarray:
    """Head in the middle of air that is 0."""
    return head((24, 26, 16))


@pytest.mark.parametrize("air", [-1024.0, -1.0, -0.6, -5000.0])
def test_a_background_below_0_becomes_0(air: float) -> None:
    data = _air_and_tissue()
    assert zero_level(data + np.float32(air)) == pytest.approx(air)
    np.testing.assert_allclose(clean(data + np.float32(air)), data, atol=2e-3)
    stretched = data / data.max() * 2 - 1  # [-1, 1]
    np.testing.assert_allclose(clean(stretched) / 2 * data.max(), data, atol=1e-3)


def test_a_noisy_background_below_0_becomes_0() -> None:
    noise = np.abs(np.random.default_rng(0).normal(0, 5, (24, 26, 16))).astype(np.float32)
    found = clean(_air_and_tissue() + noise - 1024)
    assert np.abs(found - _air_and_tissue() - noise).max() < 1
    assert (found >= 0).all()


def test_ripples_and_noise_about_0_are_no_background() -> None:
    from scipy import ndimage

    plain = np.pad(_air_and_tissue(), 8)
    rippled = ndimage.shift(plain, (0.3, 0.4, 0.2), order=3)
    assert (rippled[plain == 0] < 0).mean() > 0.2
    found, air = clean(rippled), ndimage.binary_erosion(plain == 0, iterations=6, border_value=1)
    assert not found[air].any()
    np.testing.assert_array_equal(found[found > 0], rippled[found > 0])
    assert is_stripped(found) and not is_stripped(np.clip(rippled, 0, None))
    assert not is_whole_head(found, np.ones(3))
    real = _air_and_tissue() + np.random.default_rng(0).normal(0, 8, (24, 26, 16)).astype(np.float32)
    np.testing.assert_array_equal(clean(real), np.clip(real, 0, None))


@pytest.mark.parametrize("sigma", [0.2, 0.6])
def test_faint_noise_about_0_is_no_ripple(sigma: float) -> None:
    """In percent of the tissue: of a small whole head, nothing else tells that skull and scalp are there."""
    noise = np.random.default_rng(0).normal(0, 3 * sigma, (40, 42, 32)).astype(np.float32)
    data = np.pad(_air_and_tissue(), 8) + noise
    np.testing.assert_array_equal(clean(data), np.clip(data, 0, None))
    assert is_whole_head(clean(data), np.ones(3))


def test_a_background_that_rounding_has_moved_becomes_0() -> None:
    """As of floats stored as 16-bit numbers with a slope."""
    data = _air_and_tissue()
    for step in (0.004, -0.004):
        moved = data + np.float32(step)
        moved[12, 13, 8] = -0.02
        found = clean(moved)
        assert not found[data == 0].any() and is_stripped(found)
    whole = np.random.default_rng(0).uniform(5, 9, data.shape).astype(np.float32) + data
    np.testing.assert_array_equal(clean(whole), whole)


def test_scores_inside_a_mask_have_lost_their_zero() -> None:
    data = _air_and_tissue()
    inside = data > 0
    scores = np.where(inside, (data - data[inside].mean()) / data[inside].std(), 0)
    for known in (scores, -data, scores[8:16, 8:18, 5:11]):  # the last is cropped: no background at all
        with pytest.raises(
            VolumeError, match=r"% of the intensities are below the background \(0\), as after z-scoring"
        ):
            clean(known)


def test_only_the_corners_of_a_turned_head_are_0() -> None:
    data, sizes = turned_head(), np.full(3, 6.0)
    assert is_stripped(data) and is_whole_head(data, sizes)
    found, whole = find_head(data, sizes)
    assert whole and dice(found, data > 10) > 0.99
    brain, whole = find_head(head(), np.ones(3))
    np.testing.assert_array_equal(brain, head_mask(head()))
    assert not whole


@pytest.mark.parametrize("order", [1, 3])
def test_padding_below_0_that_was_turned_with_the_brain_moves_no_zero(order: int) -> None:
    """Interpolation leaves every value between the two at the border, of which 0 is one."""
    from scipy import ndimage

    plain = head((40, 48, 20))
    padded = np.where(plain > 0, plain, np.float32(-1024))
    moved, expected = (
        ndimage.rotate(data, 20, reshape=False, order=order, cval=float(data.min())) for data in (padded, plain)
    )
    assert padding(moved) is not None and zero_level(moved) == 0
    found = clean(moved)
    inside = ndimage.binary_erosion(expected > 100, iterations=3)
    np.testing.assert_allclose(np.median(found[inside]), np.median(expected[inside]), rtol=0.02)
    mask, whole = find_head(found, np.ones(3))
    assert not whole and dice(mask, expected > expected.max() / 2) > 0.85
    scores = ndimage.rotate(2 * plain / plain.max() - 1, 20, reshape=False, order=order, cval=-1.0)
    assert padding(scores) is None


@pytest.mark.parametrize("level", [-1024.0, -2000.0, -32768.0])
@pytest.mark.parametrize("slices", [1, 3, 4])
def test_padding_around_a_thin_slab_moves_no_zero(slices: int, level: float) -> None:
    """Nothing in it lies further from the padding than what interpolation would have mixed with it."""
    plain = np.zeros((24, 26, slices + 2), np.float32)
    plain[..., 1:-1] = _air_and_tissue()[..., 6 : 6 + slices]
    padded = np.where(plain > 0, plain, np.float32(level))
    assert padding(padded) == level
    np.testing.assert_array_equal(clean(padded), plain)


def test_scores_of_a_brain_with_a_soft_edge_are_not_padded() -> None:
    """What is below 0 in them lies at the rim as well."""
    from scipy import ndimage

    plain = ndimage.gaussian_filter(head((40, 48, 20)), 1.0)
    plain[plain < 0.02 * plain.max()] = 0
    for scores in ((plain - plain.mean()) / plain.std(), 2 * plain / plain.max() - 1):
        assert padding(scores) is None
        np.testing.assert_allclose(clean(scores) / clean(scores).max(), plain / plain.max(), atol=1e-5)


@pytest.mark.parametrize("level", [-200.0, -1024.0, -32768.0])
@pytest.mark.parametrize("what", ["brain", "turned head"])
def test_padding_below_0_moves_no_zero(level: float, what: str) -> None:
    """Brains and air end at 0, and nothing lies between it and the padding."""
    plain = _air_and_tissue() if what == "brain" else turned_head()
    padded = np.where(plain > 0, plain, np.float32(level))
    padded[12, 13, 8] = level / 3  # an odd one
    plain[12, 13, 8] = 0
    assert padding(padded) == level and zero_level(padded) == 0
    np.testing.assert_array_equal(clean(padded), plain)
    for known in (plain, plain - 1, plain - 250, plain / plain.max() * 2 - 1):
        assert padding(known) is None
    # Brains whose background lies far below what is dark in them, as of a PD in [-1, 1]
    narrow = np.where(plain > 100, 0.5 + 0.2 * np.random.default_rng(0).standard_normal(plain.shape), -1)
    assert (narrow[narrow > -1] < 0).mean() < 0.02 and padding(narrow.astype(np.float32)) is None
