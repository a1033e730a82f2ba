from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate, correlate1d
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

from helpers import head
from napari_mrtrans import Volume, metrics
from napari_mrtrans.errors import MrtransError


@pytest.fixture(scope="module")
def pair() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    target = head((16, 15, 14)).astype(np.float64) / 500
    prediction = np.clip(target + 0.1 * np.random.default_rng(0).standard_normal(target.shape), 0, 1)
    return prediction, target, target > 0


def gaussian_ssim(a: NDArray, b: NDArray, data_range: float = 1.0) -> NDArray[np.float64]:
    """Wang et al. 2004, window by window: Gaussian σ 1.5 over 11³ voxels, borders mirrored (edge voxel repeated)."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = line[:, None, None] * line[:, None] * line
    window /= window.sum()
    a, b = (np.pad(x, 5, mode="symmetric") for x in (a, b))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    out = np.empty([n - 10 for n in a.shape])
    for index in np.ndindex(out.shape):
        box = tuple(slice(i, i + 11) for i in index)
        x, y = a[box], b[box]
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
        cov = (window * (x - mx) * (y - my)).sum()
        out[index] = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return out


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_is_the_mean_of_gaussian_windows(pair: tuple, masked: bool, data_range: float) -> None:
    prediction, target, mask = pair
    similarity = gaussian_ssim(prediction, target, data_range)
    expected = similarity[mask].mean() if masked else similarity.mean()
    got = metrics.ssim(prediction, target, mask if masked else None, data_range=data_range)
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.2 < got < 0.99


def test_psnr_by_definition_and_by_skimage(pair: tuple) -> None:
    prediction, target, mask = pair
    assert metrics.psnr(prediction, target) == pytest.approx(peak_signal_noise_ratio(target, prediction, data_range=1))
    error = np.mean((prediction - target)[mask] ** 2)
    assert metrics.psnr(prediction, target, mask) == pytest.approx(10 * math.log10(1 / error))
    assert metrics.psnr(prediction, target, mask) < metrics.psnr(prediction, target)
    assert metrics.psnr(prediction, target, data_range=10) == pytest.approx(metrics.psnr(prediction, target) + 20)


def test_equal_images(pair: tuple) -> None:
    _, target, mask = pair
    assert metrics.psnr(target, target) == math.inf
    assert metrics.ssim(target, target, mask) == pytest.approx(1)


def test_both_are_symmetric_and_worsen_with_noise(pair: tuple) -> None:
    prediction, target, mask = pair
    worse = prediction + 0.2 * np.random.default_rng(1).standard_normal(target.shape)
    for metric in (metrics.psnr, metrics.ssim):
        assert metric(prediction, target, mask) == pytest.approx(metric(target, prediction, mask))
        assert metric(worse, target, mask) < metric(prediction, target, mask)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_any_number_type_is_computed_in_double(dtype: type) -> None:
    a, b = (np.arange(12**3).reshape(12, 12, 12) % 2).astype(dtype), np.ones((12, 12, 12), dtype)
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(2))


def test_ssim_and_psnr_are_those_of_torchmetrics(pair: tuple) -> None:
    """Where the window does not reach beyond the border, which torchmetrics mirrors without its edge voxel."""
    prediction, target, _ = pair
    images = [torch.from_numpy(x)[None, None] for x in (prediction, target)]
    interior = np.zeros(target.shape, dtype=bool)
    interior[5:-5, 5:-5, 5:-5] = True
    _, similarity = torch_ssim(*images, sigma=1.5, data_range=1.0, return_full_image=True)
    expected = similarity[0, 0].numpy()[interior].mean()
    assert metrics.ssim(prediction, target, interior) == pytest.approx(expected, abs=1e-4)
    assert metrics.psnr(prediction, target) == pytest.approx(float(torch_psnr(*images, data_range=1.0)), abs=1e-4)


def flat_ssim(a: NDArray, b: NDArray) -> float:
    """Wang et al. 2004 in the plane, by moments: Gaussian σ 1.5 over 11² pixels, borders mirrored."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))

    def smooth(x: NDArray) -> NDArray:
        for axis in (0, 1):
            x = correlate1d(x, line / line.sum(), axis, mode="reflect")
        return x

    ma, mb = smooth(a), smooth(b)
    va, vb, cov = smooth(a * a) - ma**2, smooth(b * b) - mb**2, smooth(a * b) - ma * mb
    return float(((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))).mean())


def edges(volume: NDArray, axis: int) -> NDArray:
    """Sobel gradient magnitude of each slice, up to a factor; slices in front."""
    kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    slices = np.moveaxis(volume, axis, 0)
    down, right = (np.stack([correlate(s, k, mode="reflect") for s in slices]) for k in (kernel, kernel.T))
    return np.hypot(down, right)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_bssim_compares_edges_within_slices(pair: tuple, axis: int, masked: bool) -> None:
    prediction, target, mask = pair
    a, b = edges(prediction, axis), edges(target, axis)
    similarity = gaussian_ssim(a / b.max(), b / b.max())
    expected = similarity[np.moveaxis(mask, axis, 0)].mean() if masked else similarity.mean()
    got = metrics.bssim(prediction, target, mask if masked else None, axis=axis)
    assert got == pytest.approx(expected, abs=1e-9)
    assert got < 0.95


def test_bssim_sees_edges_alone(pair: tuple) -> None:
    _, target, _ = pair
    assert metrics.bssim(target + 0.2, target, axis=2) == pytest.approx(1)
    stairs = np.tile(np.arange(14.0) / 14, (16, 15, 1))
    with pytest.raises(MrtransError, match="no edges"):
        metrics.bssim(target, stairs, axis=2)
    assert metrics.bssim(stairs, stairs, axis=0) == pytest.approx(1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scssim_is_equation_12_over_neighbours_that_are_not_empty(pair: tuple, axis: int) -> None:
    p, t = (np.moveaxis(x, axis, 0).copy() for x in pair[:2])
    p[:2] = t[:2] = p[7] = t[7] = 0  # empty in both: out
    p[4] = 0  # empty in one: counts
    counted = [i for i in range(2, len(t) - 1) if i not in (6, 7)]
    within = [abs(flat_ssim(p[i], p[i + 1]) - flat_ssim(t[i], t[i + 1])) for i in counted]
    between = [flat_ssim(p[i + 1] - p[i], t[i + 1] - t[i]) for i in counted]
    volumes = np.moveaxis(p, 0, axis), np.moveaxis(t, 0, axis)
    assert metrics.scssim(*volumes, axis=axis) == pytest.approx(1 - np.mean(within), abs=1e-9)
    assert metrics.scssim_difference(*volumes, axis=axis) == pytest.approx(np.mean(between), abs=1e-9)
    assert np.mean(within) > 0.2
    assert np.mean(between) < 0.9


def test_only_the_second_form_of_scssim_knows_which_slice_it_is(pair: tuple) -> None:
    """A mirrored volume has the same likeness between its neighbours."""
    _, target, _ = pair
    assert metrics.scssim(target[::-1], target, axis=2) == pytest.approx(1)
    assert metrics.scssim_difference(target[::-1], target, axis=2) < 0.95
    for metric in (metrics.scssim, metrics.scssim_difference):
        assert metric(target, target, axis=2) == pytest.approx(1)


@pytest.mark.parametrize("metric", [metrics.bssim, metrics.scssim, metrics.scssim_difference])
def test_slices_lie_along_the_third_axis_unless_told(metric, pair: tuple) -> None:
    prediction, target, _ = pair
    assert metric(prediction, target) == metric(prediction, target, axis=2) == metric(prediction, target, axis=-1)
    assert metric(prediction, target, axis=-3) == metric(prediction, target, axis=0)


@pytest.mark.parametrize("metric", [metrics.bssim, metrics.scssim, metrics.scssim_difference])
def test_refusals_of_metrics_by_slice(metric, pair: tuple) -> None:
    prediction, target, _ = pair
    with pytest.raises(MrtransError, match="different shapes"):
        metric(prediction[1:], target, axis=0)
    with pytest.raises(MrtransError, match="axis 3 of shape"):
        metric(prediction, target, axis=3)
    with pytest.raises(MrtransError, match="of a 3-D volume"):
        metric(prediction[0], target[0], axis=0)
    with pytest.raises(MrtransError, match="at least 11"):
        metric(prediction[:10, :10], target[:10, :10], axis=2)


def test_scssim_needs_neighbours(pair: tuple) -> None:
    target = pair[1].copy()
    target[::2] = 0
    for metric in (metrics.scssim, metrics.scssim_difference):
        with pytest.raises(MrtransError, match="two neighbouring slices"):
            metric(target, target, axis=0)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_refusals(metric, pair: tuple) -> None:
    prediction, target, mask = pair
    with pytest.raises(MrtransError, match="different shapes"):
        metric(prediction[1:], target)
    with pytest.raises(MrtransError, match="mask is empty"):
        metric(prediction, target, np.zeros_like(mask))
    with pytest.raises(MrtransError, match="another shape"):
        metric(prediction, target, mask[1:])
    volume = Volume(target, np.eye(4))
    for given in ((volume, volume), (prediction, volume), (prediction, target, volume)):
        with pytest.raises(MrtransError, match=r"^Expected an array, got a Volume; give volume\.data\.$"):
            metric(*given)


def test_what_was_not_computed_outside_the_mask_does_not_matter(pair: tuple) -> None:
    prediction, target, mask = pair
    black = [np.where(mask, image, 0) for image in (prediction, target)]
    for unknown in (np.nan, np.inf):
        some = np.where(mask, prediction, unknown)
        assert metrics.ssim(some, target, mask) == metrics.ssim(*black, mask)
        assert metrics.bssim(some, target, mask, axis=2) == metrics.bssim(*black, mask, axis=2)
        assert metrics.psnr(some, target, mask) == metrics.psnr(prediction, target, mask)
    # What is known outside it still counts for the windows at its rim, and inside it nothing may be unknown.
    assert metrics.ssim(*black, mask) != metrics.ssim(prediction, np.where(mask, target, 0.5), mask)
    assert math.isnan(metrics.ssim(np.where(prediction > 0.5, np.nan, prediction), target, mask))


def test_ssim_needs_a_window() -> None:
    with pytest.raises(MrtransError, match="at least 11 voxels"):
        metrics.ssim(np.zeros((30, 30, 10)), np.zeros((30, 30, 10)))


def test_what_is_masked_does_not_count() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((14, 15, 16))
    prediction, wild = target + 0.05 * rng.normal(size=target.shape), target.copy()
    wild[:3] = 50
    inside = wild <= 1
    for hidden in (np.ma.masked_where(wild > 1, wild), np.ma.masked_greater(wild.astype(np.float32), 1)):
        for figure in (metrics.psnr, metrics.ssim):
            plain = figure(prediction, np.where(inside, wild, np.nan), inside)
            assert figure(prediction, hidden) == pytest.approx(plain, abs=1e-6)
            assert figure(hidden, prediction) == pytest.approx(plain, abs=1e-6)
    assert metrics.psnr(prediction, target, np.ma.MaskedArray(np.ones(target.shape, bool), mask=~inside)) == (
        metrics.psnr(prediction, target, inside)
    )
    with pytest.raises(MrtransError, match="empty"):
        metrics.psnr(prediction, np.ma.masked_all(target.shape))
