"""PD computed from the other contrasts of a phantom, whose true fractions and PD are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from helpers import head, save_nifti
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.datasets.computed_pd import computed_pd, tissue_fractions
from napari_mrtrans.datasets.phantom import PhantomSubject, phantom_subject
from napari_mrtrans.datasets.phantom_options import PhantomOptions
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

OPTIONS = PhantomOptions(resolution_mm=2, lesions=0, tumours=0, max_slice_mm=1)
ACQUIRED = (Contrast.T1, Contrast.T2, Contrast.FLAIR)


@cache
def phantom(index: int) -> PhantomSubject:
    return phantom_subject(11, index, OPTIONS)


def computed(index: int, seed: int = 0) -> np.ndarray:
    subject = phantom(index)
    images = {c: subject.volumes[c] for c in ACQUIRED}
    return computed_pd(images, subject.mask, np.random.default_rng(seed))


@pytest.mark.parametrize("index", range(3))
def test_fractions_sum_to_one_and_fluid_is_where_t2_is_brightest(index: int) -> None:
    subject = phantom(index)
    found = tissue_fractions({c: subject.volumes[c] for c in ACQUIRED}, subject.mask)
    np.testing.assert_allclose(sum(found.values()), 1, atol=1e-5)
    assert all((part >= 0).all() for part in found.values())
    t2 = subject.volumes[Contrast.T2][subject.mask]
    assert found["fluid"][t2 > np.quantile(t2, 0.97)].mean() > 0.6
    assert found["fluid"][t2 < np.median(t2)].mean() < 0.1
    assert found["lesion"].mean() < 0.2


def test_the_image_is_a_function_of_the_generator_and_black_outside() -> None:
    subject = phantom(0)
    first, again, other = computed(0), computed(0), computed(0, 1)
    np.testing.assert_array_equal(first, again)
    assert not first[~subject.mask].any() and (first[subject.mask] > 0).all()
    assert np.corrcoef(first[subject.mask], other[subject.mask])[0, 1] < 0.9999


def test_contrast_is_as_low_as_that_of_pd_images() -> None:
    for index in range(3):
        inside = phantom(index).mask
        computed_range, true_range = (
            np.subtract(*np.quantile(image[inside], [0.9, 0.1])) / np.median(image[inside])
            for image in (computed(index), phantom(index).volumes[Contrast.PD])
        )
        t2 = phantom(index).volumes[Contrast.T2][inside]
        assert computed_range < 0.6 * np.subtract(*np.quantile(t2, [0.9, 0.1])) / np.median(t2)
        assert computed_range < 3 * true_range + 0.1


@pytest.mark.parametrize("index", range(3))
def test_what_is_dark_on_every_contrast_is_no_fluid_and_dark_on_pd(index: int) -> None:
    subject = phantom(index)
    inside = subject.mask
    dark = inside & ~ndimage.binary_erosion(inside, iterations=2)  # a mask with a rim of bone, as scans have
    images = {c: subject.volumes[c].copy() for c in ACQUIRED}
    for image in images.values():
        image[dark] = 0.2 * np.median(image[inside])
    found = tissue_fractions(images, inside)
    assert found["fluid"][dark[inside]].mean() < 0.1
    t2 = np.where(dark, 0, images[Contrast.T2])[inside]
    assert found["fluid"][t2 > np.quantile(t2, 0.97)].mean() > 0.6
    made = computed_pd(images, inside, np.random.default_rng(0))
    assert np.median(made[dark]) < 0.3 * np.median(made[inside & ~dark])


def test_without_t2_dark_fluid_is_not_taken_for_bone() -> None:
    images = {c: phantom(0).volumes[c] for c in (Contrast.T1, Contrast.FLAIR)}
    assert set(tissue_fractions(images, phantom(0).mask)) == {"white", "cortex", "fluid", "lesion"}


def test_one_contrast_is_too_few() -> None:
    with pytest.raises(ValueError, match="2 of T1, T2 and FLAIR"):
        computed_pd({Contrast.T1: head()}, head() > 0, np.random.default_rng(0))


def test_a_session_computes_what_it_lacks_and_a_recipe_asks_for_it(tmp_path: Path) -> None:
    subject = phantom(0)
    for person in ("01", "02", "03"):
        for contrast, suffix in zip(ACQUIRED, ("T1w", "T2w", "FLAIR"), strict=True):
            path = tmp_path / f"sub-{person}" / "anat" / f"sub-{person}_{suffix}.nii.gz"
            save_nifti(path, subject.volumes[contrast], subject.affine)
    plain = Session("sub-01", "", dict.fromkeys(ACQUIRED, tmp_path / "x"), None)
    assert Contrast.PD not in plain.contrasts
    recipe = Recipe.model_validate(
        {
            "name": "x", "model": "direct", "pairs": ["T1->PD"], "stages": [{"steps": 1}],
            "data": {"computed_pd": True, "test": ["sub-03"], "validation": ["sub-02"]},
        }
    )  # fmt: skip
    splits, skipped = open_splits(recipe, tmp_path, tmp_path / "cache")
    assert not skipped
    decoded = splits["train"][0]
    assert Contrast.PD in decoded.contrasts
    image = decoded.images[decoded.contrasts.index(Contrast.PD)]
    assert float(np.median(image[image > 0])) == pytest.approx(0.5, abs=0.02)
