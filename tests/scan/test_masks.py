from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from helpers import head, save_nifti
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.masks import border, checked_mask, inside, load_mask, read_mask
from napari_mrtrans.scan.volume import Volume

SHAPE = (20, 22, 12)
AFFINE = np.array([[0.9, 0, 0, -9], [0, 1.1, 0, -14], [0, 0, 3, 20], [0, 0, 0, 1.0]])


@pytest.fixture
def block() -> NDArray[np.bool_]:
    """No turn and no flip maps it onto itself."""
    out = np.zeros(SHAPE, dtype=bool)
    out[4:12, 5:15, 3:8] = True
    out[12:15, 5:7, 3:5] = True
    return out


@pytest.fixture
def volume() -> Volume:
    return Volume(head(SHAPE), AFFINE, name="scan")


def test_ripples_of_a_moved_mask_are_outside_and_it_is_said(block: NDArray, tmp_path: Path) -> None:
    moved = ndimage.shift(block.astype(float), (0.3, 0.4, 0.2), order=3).astype(np.float32)
    assert (moved > 0).sum() > 2 * block.sum()
    said: list[str] = []
    mask, _ = load_mask(save_nifti(tmp_path / "m.nii.gz", moved, AFFINE), said.append)
    np.testing.assert_array_equal(mask, moved > moved.max() / 2)
    assert abs(int(mask.sum()) - int(block.sum())) < 0.2 * block.sum()
    assert said == [
        f"'m.nii.gz' has fractional values: voxels above half of its maximum ({moved.max() / 2:.3g}) are inside, "
        f"{mask.sum()} of {(moved > 0).sum()} above 0."
    ]


@pytest.mark.parametrize("top", [100, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("how", ["moved", "turned"])
def test_percent_is_no_label(top: int, dtype: type, how: str, block: NDArray, tmp_path: Path) -> None:
    truth = block.astype(float)
    moved = ndimage.shift(truth, (0.3, 0.4, 0.2), order=1)
    soft = moved if how == "moved" else ndimage.rotate(truth, 9, order=1, reshape=False)
    soft = np.round(top * soft)
    assert (soft > 0).sum() > 1.15 * block.sum()
    said: list[str] = []
    mask, _ = load_mask(save_nifti(tmp_path / "m.nii", soft.astype(dtype), AFFINE), said.append)
    np.testing.assert_array_equal(mask, soft > soft.max() / 2)
    assert abs(int(mask.sum()) - int(block.sum())) < 0.2 * block.sum()
    (line,) = said
    assert line.startswith(f"'m.nii' has a scale from 0 to {soft.max():.0f}, not labels: voxels above half of its ma")


@pytest.mark.parametrize("count", [2, 20, 100, 400])
def test_many_regions_are_labels(count: int, block: NDArray) -> None:
    """As of an atlas: every number up to the last, each for about as many voxels."""
    regions = np.zeros(SHAPE, np.int16)
    regions[block] = 1 + np.arange(block.sum()) * count // int(block.sum())
    assert border(regions) == 0
    np.testing.assert_array_equal(inside(regions), block)


@pytest.mark.parametrize("top", [1, 4, 255, 0.4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
def test_labels_are_inside_whatever_their_number(top: float, dtype: type, block: NDArray, tmp_path: Path) -> None:
    values = (block * top).astype(dtype) if dtype is not np.uint8 or top >= 1 else block.astype(np.uint8)
    if not values.any():
        values = block.astype(dtype)
    np.testing.assert_array_equal(inside(values), block)
    said: list[str] = []
    if dtype is not bool:
        mask, _ = load_mask(save_nifti(tmp_path / "m.nii", values, AFFINE), said.append)
        np.testing.assert_array_equal(mask, block)
    assert said == []


def test_several_labels_and_what_is_no_number() -> None:
    assert inside(np.array([0.0, 1, 2, 40])).tolist() == [False, True, True, True]
    assert inside(np.array([0.0, np.nan, 0.2, 0.6, 1, np.inf, -np.inf])).tolist() == [
        False, False, False, True, True, True, False,
    ]  # fmt: skip
    assert border(np.zeros(3)) == 0


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "ILP", "PIR"])
def test_a_mask_with_turned_axes_is_turned_back(codes: str, block: NDArray, volume: Volume, tmp_path: Path) -> None:
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes))
    nib.Nifti1Image(block.astype(np.uint8), AFFINE).as_reoriented(turn).to_filename(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", volume), block)


@pytest.mark.parametrize(("beside", "fits"), [(0.01, True), (0.02, True), (0.1, False), (1.0, False)])
def test_a_mask_may_be_a_rounding_beside(
    beside: float, fits: bool, block: NDArray, volume: Volume, tmp_path: Path
) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] += beside
    path = save_nifti(tmp_path / "m.nii.gz", block.astype(np.uint8), affine)
    if fits:
        np.testing.assert_array_equal(read_mask(path, volume), block)
    else:
        with pytest.raises(
            VolumeError,
            match=r"^The mask 'm.nii.gz' does not lie on the grid of 'scan': its corners are up to (0.17|1.7) mm ",
        ):
            read_mask(path, volume)


def test_voxels_that_are_a_little_larger_are_off_at_the_far_end(block: NDArray, volume: Volume, tmp_path: Path) -> None:
    """Element for element the affines are within 0.005 of one another."""
    affine = AFFINE.copy()
    affine[1, 1] += 0.005
    with pytest.raises(VolumeError, match=r"does not lie on the grid of 'scan': its corners are up to 0.1[01] mm away"):
        read_mask(save_nifti(tmp_path / "m.nii.gz", block.astype(np.uint8), affine), volume)
    small = save_nifti(tmp_path / "m.nii.gz", block[1:].astype(np.uint8), AFFINE)
    with pytest.raises(
        VolumeError, match=r"of 'scan': it has 19 x 22 x 12 voxels, and that 20 x 22 x 12\. Resample it"
    ):
        read_mask(small, volume)


def test_colours_complex_numbers_and_several_volumes_are_refused(block: NDArray, tmp_path: Path) -> None:
    colour = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["R"] = block
    kinds = {"RGB": colour, "complex": block.astype(np.complex64), "4-D": np.stack([block.astype(np.uint8)] * 2, -1)}
    for kind, values in kinds.items():
        with pytest.raises(VolumeError, match=rf"^The mask 'm.nii' is {kind}; expected one 3-D volume"):
            load_mask(save_nifti(tmp_path / "m.nii", values, AFFINE))
    mask, _ = load_mask(save_nifti(tmp_path / "m.nii", block.astype(np.uint8)[..., None, None], AFFINE))
    np.testing.assert_array_equal(mask, block)


@pytest.mark.parametrize("labels", [(1,), (1, 2, 4), (1, 2, 7), (5, 30, 100)], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
def test_labels_that_were_written_as_fractions_of_whole_numbers(
    labels: tuple[int, ...], dtype: type, block: NDArray, tmp_path: Path
) -> None:
    """Floats under a header of whole numbers: nibabel spreads them over all of these, and 1 comes back as 0.988."""
    values = np.where(block, np.resize(labels, SHAPE), 0).astype(np.float32)
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    nib.Nifti1Image(values, AFFINE, header).to_filename(tmp_path / "m.nii")
    assert nib.load(tmp_path / "m.nii").dataobj.slope != 1
    said: list[str] = []
    np.testing.assert_array_equal(load_mask(tmp_path / "m.nii", said.append)[0], block)
    assert not said


def test_a_label_that_came_back_as_a_little_less_than_1_has_its_border_at_half() -> None:
    values = np.full((10, 10, 10), 0.0015, np.float32)
    values[3:6, 3:6, 3:6] = 0.9985
    assert border(values) == 0.5


@pytest.mark.parametrize(("label", "beside"), [(1, 0.0005), (4, 0.005), (255, 0.2)])
def test_labels_beside_which_little_is_left_are_called_labels(
    label: int, beside: float, block: NDArray, tmp_path: Path
) -> None:
    values = np.where(block, label, beside).astype(np.float32)
    said: list[str] = []
    np.testing.assert_array_equal(load_mask(save_nifti(tmp_path / "m.nii", values, AFFINE), said.append)[0], block)
    assert said == [
        f"'m.nii' has labels that are not quite whole numbers: voxels above 0.5 are inside, {block.sum()} of "
        f"{block.size} above 0."
    ]


def test_a_cortex_of_two_hemispheres_is_labels() -> None:
    """FreeSurfer's numbers: 1001 to 1035 on the left, 2001 to 2035 on the right."""
    rng = np.random.default_rng(0)
    regions = np.zeros(SHAPE, np.int16)
    half = SHAPE[0] // 2
    regions[2:half, 3:-3] = 1001 + rng.integers(0, 35, regions[2:half, 3:-3].shape)
    regions[half:-2, 3:-3] = 2001 + rng.integers(0, 35, regions[half:-2, 3:-3].shape)
    np.testing.assert_array_equal(inside(regions), regions > 0)


def _numbered(count: int) -> NDArray[np.int16]:
    """Lesions that do not touch, numbered by size, the smallest first."""
    regions = np.zeros((48, 24, 24), np.int16)
    for k in range(count):
        i, j = divmod(k, 8)
        regions[5 * i + 1 : 5 * i + 3 + k // 20, 3 * j + 1 : 3 * j + 2 + k // 30, 1 : 3 + k // 3] = k + 1
    return regions


@pytest.mark.parametrize("count", [25, 37, 64])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_numbered_lesions_are_labels_however_many(count: int, dtype: type, tmp_path: Path) -> None:
    """As FSL's cluster numbers them: the largest, with the last numbers, look like the plateau of a scale."""
    regions = _numbered(count)
    assert (regions[regions > 0] >= 0.9 * count).mean() > 0.2 and len(np.unique(regions)) == count + 1
    np.testing.assert_array_equal(inside(regions.astype(dtype)), regions > 0)
    said: list[str] = []
    load_mask(save_nifti(tmp_path / "m.nii", regions.astype(dtype), np.diag([3.0, 4, 4, 1])), said.append)
    assert said == []


def test_lesions_of_a_resampled_scale_keep_their_border() -> None:
    lesions = np.zeros((48, 24, 24), dtype=bool)
    for i in (2, 18, 34):
        lesions[i : i + 10, 3:20, 3:20] = True
    lesions[30:32, 1:3, 1:3] = True
    soft = np.round(255 * ndimage.shift(lesions.astype(float), (0.3, 0.4, 0.2), order=1)).astype(np.uint8)
    np.testing.assert_array_equal(inside(soft), soft > soft.max() / 2)


def test_a_mask_that_states_no_orientation_is_taken_and_it_is_said(block: NDArray, tmp_path: Path) -> None:
    image = nib.Nifti1Image(block.astype(np.uint8), np.diag([4.0, 4, 4, 1]))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    image.to_filename(tmp_path / "m.nii")
    said: list[str] = []
    load_mask(tmp_path / "m.nii", said.append)
    assert said == [
        "'m.nii' states no orientation; its third axis was taken as inferior-superior, its second as "
        "posterior-anterior. If they are not, set the orientation in its header."
    ]


@pytest.mark.parametrize("top", [100, 499, 501, 1000, 4095, 65535])
def test_soft_lesions_of_real_numbers_have_one_border_on_every_scale(top: int) -> None:
    lesions = np.zeros((40, 40, 40), dtype=np.float32)
    for place in np.random.default_rng(0).integers(6, 34, (12, 3)):
        lesions[tuple(slice(i - 2, i + 2) for i in place)] = 1
    soft = ndimage.gaussian_filter(lesions, 1)
    np.testing.assert_array_equal(inside((top * soft).astype(np.float32)), inside(soft))
    assert inside(np.arange(30, dtype=np.float32) * np.float32(1.000015)).sum() == 29  # labels through a scale factor


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_what_is_masked_of_a_mask_is_outside(dtype: type, block: NDArray, volume: Volume) -> None:
    for hidden in (np.ma.MaskedArray(np.ones(SHAPE, dtype), mask=~block), np.ma.MaskedArray(block.astype(dtype))):
        np.testing.assert_array_equal(inside(hidden), block)
        np.testing.assert_array_equal(checked_mask(hidden, volume), block)
    with pytest.raises(VolumeError, match="The mask is empty"):
        checked_mask(np.ma.masked_all(SHAPE, dtype), volume)
