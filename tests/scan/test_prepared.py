from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import RAS, head, turned_head
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import HEADROOM
from napari_mrtrans.scan.masks import checked_mask
from napari_mrtrans.scan.prepared import PreparedVolume
from napari_mrtrans.scan.volume import Volume

SHAPE = (20, 22, 12)
#: Columns 0.9 mm wide, rows 1.1 mm, slices 3 mm apart.
AFFINE = nib.affines.from_matvec(np.diag([0.9, 1.1, 3.0]), [-9, -12, -18])
CODES = ["RAS", "LPS", "RAI", "SAR", "IPL", "PIR", "ASL", "LSA"]


def lopsided() -> NDArray[np.float32]:
    """A head that no turn and no flip maps onto itself, axes (R, A, S)."""
    data = head(SHAPE)
    data[:7, :, 7:] = 0
    data[:, 14:, 3:5] = 0
    return data


def turned(data: NDArray, codes: str, affine: NDArray = AFFINE) -> Volume:
    """The same head with axes towards ``codes``."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    image = nib.Nifti1Image(data, affine).as_reoriented(turn)
    assert "".join(nib.aff2axcodes(image.affine)) == codes
    return Volume(np.asarray(image.dataobj), image.affine, Contrast.T1, codes)


@pytest.mark.parametrize("codes", CODES)
def test_one_head_is_the_same_in_any_order_of_the_axes(codes: str) -> None:
    canonical = lopsided().transpose(2, 1, 0)
    prepared = PreparedVolume.of(turned(lopsided(), codes))
    np.testing.assert_array_equal(prepared.mask, canonical > 0)
    assert prepared.area.tolist() == (canonical > 0).sum(axis=(1, 2)).tolist()
    assert prepared.spacing == pytest.approx((3.0, 1.1, 0.9))
    assert all(type(size) is float for size in prepared.spacing)
    assert prepared.head.shape == prepared.data.shape == prepared.volume.data.shape
    np.testing.assert_array_equal(prepared.orientation.to_canonical(prepared.data), canonical)
    straight = PreparedVolume.of(Volume(lopsided(), AFFINE)).normalised(Contrast.T2).transpose(2, 1, 0)
    np.testing.assert_array_equal(prepared.orientation.to_canonical(prepared.normalised(Contrast.T2)), straight)


@pytest.mark.parametrize("contrast", Contrast)
def test_intensities_are_scaled_by_the_median_of_the_head(contrast: Contrast) -> None:
    prepared = PreparedVolume.of(Volume(lopsided(), AFFINE))
    images = prepared.normalised(contrast)
    assert images.dtype == np.float32
    assert 0 < images[prepared.head].min() <= images.max() <= 1
    assert not images[~prepared.head].any()
    assert np.median(images[prepared.head]) == pytest.approx(1 / HEADROOM[contrast])


def test_voxels_of_no_use_are_cleaned() -> None:
    data = lopsided()
    inside = np.argwhere(data > 0)
    dark, bright, unknown = (tuple(inside[len(inside) // 2 + i]) for i in range(3))
    top = data.max()
    data[dark], data[bright], data[unknown] = -50, np.inf, np.nan
    volume = Volume(data, AFFINE)
    prepared = PreparedVolume.of(volume)
    assert (prepared.data[dark], prepared.data[unknown]) == (0, 0)
    assert prepared.data[bright] == pytest.approx(top)
    assert prepared.volume is volume and np.isnan(volume.data[unknown])


def test_a_given_mask_is_kept_to_where_there_is_signal() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[:, :, 5:9] = True
    prepared = PreparedVolume.of(turned(lopsided(), "RAS"), mask)
    np.testing.assert_array_equal(prepared.head, mask & (lopsided() > 0))
    assert np.flatnonzero(prepared.area).tolist() == [5, 6, 7, 8]
    assert not prepared.normalised(Contrast.T1)[~prepared.head].any()


def test_without_a_head_it_is_refused() -> None:
    prepared = PreparedVolume.of(Volume(lopsided(), AFFINE), lopsided() == 0)
    with pytest.raises(VolumeError, match=r"^No signal inside the head mask; give a better one with --mask\.$"):
        prepared.normalised(Contrast.T1)


def test_a_mask_is_inside_where_it_is_above_zero() -> None:
    volume = Volume(lopsided(), RAS, name="scan")
    graded = np.zeros(SHAPE)
    graded[3, 4, 5], graded[4, 4, 5], graded[5, 4, 5], graded[6, 4, 5] = 1e-3, -1, np.nan, np.inf
    found = checked_mask(graded, volume)
    assert found.dtype == bool
    assert np.argwhere(found).tolist() == [[3, 4, 5], [6, 4, 5]]
    assert checked_mask(np.full(SHAPE, 255, np.uint8), volume).all()
    for empty in (np.zeros(SHAPE, bool), np.full(SHAPE, -1), np.full(SHAPE, np.nan)):
        with pytest.raises(VolumeError, match=r"^The mask is empty\. Give another, or none\.$"):
            checked_mask(empty, volume)
    for other in (np.ones((*SHAPE, 1)), np.ones(SHAPE[::-1]), np.ones(())):
        with pytest.raises(VolumeError, match=r"^The mask has shape \(.*\), 'scan' has \(20, 22, 12\); they must lie"):
            checked_mask(other, volume)


def test_zeros_inside_a_known_mask_are_inside() -> None:
    """Fluid that the scanner wrote as 0, also where it reaches the rim; it tells nothing of how bright the head is."""
    data = lopsided()
    mask = data > 0
    plain = PreparedVolume.of(Volume(data, AFFINE), mask)
    dark = data.copy()
    dark[9:12, 9:12, :] = 0
    prepared = PreparedVolume.of(Volume(dark, AFFINE), mask)
    np.testing.assert_array_equal(prepared.head, mask)
    kept = mask & (dark > 0)
    level = HEADROOM[Contrast.T1] * np.median(dark[kept])
    np.testing.assert_allclose(prepared.normalised(Contrast.T1)[kept], np.clip(dark[kept] / level, 0, 1), rtol=1e-6)
    np.testing.assert_array_equal(plain.head, mask)


def test_a_mask_over_air_is_kept_to_what_signal_surrounds() -> None:
    data = lopsided()
    data[10, 11, 5] = 0
    prepared = PreparedVolume.of(Volume(data, AFFINE), np.ones(SHAPE, bool))
    np.testing.assert_array_equal(prepared.head, lopsided() > 0)


def test_the_air_of_a_whole_head_is_no_head() -> None:
    """It made a median of noise, so that all of the tissue was 1."""
    data = turned_head()
    prepared = PreparedVolume.of(Volume(data, np.diag([6.0, 6.0, 6.0, 1.0]), Contrast.T1))
    assert prepared.whole and not PreparedVolume.of(Volume(head(), RAS)).whole
    assert np.median(prepared.normalised(Contrast.T1)[data > 10]) == pytest.approx(1 / HEADROOM[Contrast.T1], rel=0.01)
