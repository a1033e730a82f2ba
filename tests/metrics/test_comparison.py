"""Figures of a mean against an acquired image, and the table of models."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.metrics import psnr, ssim
from napari_mrtrans.metrics.comparison import ModelRow, agreement, table


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A prediction, its target and a head that fills the volume."""
    rng = np.random.default_rng(0)
    target = rng.random((16, 20, 18))
    return target + rng.normal(0, 0.05, target.shape), target, np.ones(target.shape, bool)


def test_many_slices_are_measured_as_a_volume(images: tuple[np.ndarray, ...]) -> None:
    prediction, target, head = images
    some = slice(2, 14)
    found = agreement(prediction, target, head, 0, range(13, 1, -1))
    assert found == pytest.approx((ssim(prediction[some], target[some]), psnr(prediction[some], target[some]), 12))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_few_slices_are_measured_one_by_one(images: tuple[np.ndarray, ...], axis: int) -> None:
    prediction, target, head = images
    p, t = (np.moveaxis(image, axis, 0)[[5, 7]] for image in (prediction, target))
    found = agreement(prediction, target, head, axis, (7, 5))
    assert found == pytest.approx((np.mean([ssim(a, b) for a, b in zip(p, t, strict=True)]), psnr(p, t), 2))


def test_scattered_slices_are_no_volume() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((40, 20, 18))
    prediction, head = target + rng.normal(0, 0.2, target.shape), np.ones(target.shape, bool)
    apart, together = range(0, 26, 2), range(27, 40)
    single = [ssim(prediction[z], target[z]) for z in apart]
    assert agreement(prediction, target, head, 0, apart).ssim == pytest.approx(np.mean(single))
    both = 13 * [ssim(prediction[27:], target[27:])] + single
    found = agreement(prediction, target, head, 0, [*apart, *together])
    assert found.ssim == pytest.approx(np.mean(both)) and found.slices == 26


def test_what_the_reference_lacks_is_black_in_both(images: tuple[np.ndarray, ...]) -> None:
    """A reference of a part of the head: windows over its border do not compare brain with nothing."""
    prediction, target, head = images
    part = target.copy()
    part[:, :, 9:] = np.nan
    found = agreement(prediction, part, head, 0, range(16))
    black = [np.where(np.isfinite(part), image, 0) for image in (prediction, target)]
    assert found.ssim == pytest.approx(ssim(*black, np.isfinite(part)))
    part = target.copy()
    part[4:] = np.nan
    assert agreement(prediction, part, head, 0, range(16)).slices == 4


def test_only_the_head_counts_and_what_the_reference_has(images: tuple[np.ndarray, ...]) -> None:
    prediction, target, head = images
    head[:, :5] = False
    target[:, :, 12:] = np.nan
    wrong = prediction.copy()
    wrong[:, :5], wrong[:, :, 12:] = 9, 9
    inside = head & np.isfinite(target)
    assert agreement(wrong, target, head, 0, range(16))[1] == pytest.approx(
        psnr(prediction, np.nan_to_num(target), inside)
    )


def test_nothing_to_measure(images: tuple[np.ndarray, ...]) -> None:
    prediction, target, head = images
    assert agreement(prediction, np.full_like(target, np.nan), head, 0, [3]) == (None, None, 0)
    small = (slice(None), slice(0, 8))
    found = agreement(prediction[small], target[small], head[small], 0, [3])
    assert found[0] is None
    assert found[1] == pytest.approx(psnr(prediction[3, :8], target[3, :8]))


def test_table_has_a_row_for_each_model() -> None:
    rows = [
        ModelRow("flow", "a-flow", "T1->T2", 20, 0, psnr=21.5, reference="T2 of today"),
        ModelRow("direct", "d", "T1->T2", 1, 0, error="a, b"),
    ]
    assert table(rows).splitlines() == [
        "model,checkpoint,pair,n,seed,slices,sigma_hat,p_ood,ssim,psnr,seconds,error,reference",
        "flow,a-flow,T1->T2,20,0,0,,,,21.5,,,T2 of today",
        'direct,d,T1->T2,1,0,0,,,,,,"a, b",',
    ]


def test_what_is_masked_is_as_what_has_no_voxels() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random((20, 21, 14))
    prediction = np.clip(reference + 0.1 * rng.normal(size=reference.shape), 0, 1)
    known = np.ones(reference.shape, bool)
    known[:6] = False
    found = agreement(prediction, np.where(known, reference, np.nan), known | True, 2, range(14))
    wild = np.ma.MaskedArray(np.where(known, reference, 50), mask=~known)
    assert agreement(prediction, wild, known | True, 2, range(14)) == found
    wild = np.ma.MaskedArray(np.where(known, prediction, 50), mask=~known)
    assert agreement(wild, reference, known | True, 2, range(14)) == found
