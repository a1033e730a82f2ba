from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from helpers import head
from napari_mrtrans import metrics
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


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_refusals(metric, pair: tuple) -> None:
    prediction, target, mask = pair
    with pytest.raises(MrtransError, match="different shapes"):
        metric(prediction[1:], target)
    with pytest.raises(MrtransError, match="mask is empty"):
        metric(prediction, target, np.zeros_like(mask))
    with pytest.raises(MrtransError, match="another shape"):
        metric(prediction, target, mask[1:])


def test_ssim_needs_a_window() -> None:
    with pytest.raises(MrtransError, match="at least 11 voxels"):
        metrics.ssim(np.zeros((30, 30, 10)), np.zeros((30, 30, 10)))
