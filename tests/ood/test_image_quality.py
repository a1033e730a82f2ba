from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.ood.image_quality import NAMES, features


def brain(seed: int = 0) -> np.ndarray:
    """A smooth symmetric ellipse with a little noise, as the model's grid has it."""
    y, x = np.meshgrid(np.linspace(-1, 1, 96), np.linspace(-1, 1, 80), indexing="ij")
    inside = (y / 0.9) ** 2 + (x / 0.75) ** 2 < 1
    tissue = 0.5 + 0.2 * np.cos(6 * x) * np.cos(5 * y) + 0.005 * np.random.default_rng(seed).standard_normal(x.shape)
    return np.where(inside, tissue, 0).astype(np.float32)


def value(image: np.ndarray, name: str) -> float:
    return float(features(image)[NAMES.index(name)])


def test_one_number_for_each_name_and_none_is_missing() -> None:
    found = features(brain())
    assert found.shape == (len(NAMES),)
    assert np.isfinite(found).all()


def test_quantiles_are_those_of_the_head() -> None:
    image = brain()
    assert value(image, "intensity quantile 0.25") == pytest.approx(np.quantile(image[image > 0], 0.25), abs=1e-6)


def test_noise_raises_the_laplacian() -> None:
    image = brain()
    noisy = np.where(image > 0, image + 0.05 * np.random.default_rng(1).standard_normal(image.shape), 0)
    assert value(noisy.astype(np.float32), "median Laplacian") > value(image, "median Laplacian") + 0.5


def test_a_spike_in_frequency_space_is_a_peak_there() -> None:
    image = brain()
    row = np.arange(image.shape[0])[:, None]
    striped = np.where(image > 0, image + 0.05 * np.cos(2 * np.pi * 0.375 * row), 0).astype(np.float32)
    assert value(striped, "high frequencies, peak") > value(image, "high frequencies, peak") + 1
    assert value(striped, "middle frequencies, peak") < value(image, "middle frequencies, peak") + 0.5


def test_half_a_head_is_not_symmetric() -> None:
    image = brain()
    assert value(image, "left-right overlap") > 0.95
    assert value(image, "left-right correlation") > 0.95
    half = image.copy()
    half[:, :30] = 0
    half[:40] = np.roll(half[:40], 5, axis=1)
    assert value(half, "left-right correlation") < 0.9


def test_a_tilted_head_has_a_tilt() -> None:
    from scipy.ndimage import rotate

    turned = np.clip(rotate(brain(), 30, reshape=False, order=1), 0, None)
    assert abs(value(brain(), "tilt")) < 0.01
    assert abs(value(turned, "tilt")) > 0.1


def test_a_linear_bias_field_is_found_with_its_size() -> None:
    image = np.where(brain() > 0, 0.5, 0).astype(np.float32)
    field = np.linspace(-0.1, 0.1, image.shape[1])[None]
    biased = np.where(image > 0, image + field, 0).astype(np.float32)
    # The trend is over head widths; the field rises by 0.2 over the whole row of 80 pixels, i.e. 79 steps.
    assert value(biased, "trend column") == pytest.approx(0.2 * 80 / 79, rel=1e-3)
    assert value(biased, "share of variance in the trend") == pytest.approx(1, abs=1e-4)
    assert value(image, "trend column") == pytest.approx(0, abs=1e-6)


def test_almost_no_head_has_no_features() -> None:
    image = np.zeros((32, 32), np.float32)
    image[:3, :3] = 1
    assert np.isnan(features(image)).all()


@pytest.mark.parametrize("image", [np.full((32, 32), 0.5, np.float32), np.eye(64, dtype=np.float32)])
def test_odd_heads_give_finite_numbers(image: np.ndarray) -> None:
    assert np.isfinite(features(image)).all()
