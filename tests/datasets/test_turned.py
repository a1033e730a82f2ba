from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers import bids_folder, save_nifti
from napari_mrtrans.datasets.readers import read_folders
from napari_mrtrans.datasets.store import decode
from napari_mrtrans.datasets.turned import TurnedSession, in_planes
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.planes import seen_from
from napari_mrtrans.scan.volume import Volume


@pytest.fixture
def sessions(tmp_path: Path):
    bids_folder(tmp_path, 2, (40, 48, 52))
    mask = np.zeros((40, 48, 52), np.uint8)
    mask[20, 30:33, 10] = 1
    save_nifti(tmp_path / "derivatives/masks/sub-00/anat/sub-00_mask.nii.gz", mask)
    return next(iter(read_folders(tmp_path, (".",), "bids"))).sessions


def trimmed(image: np.ndarray) -> np.ndarray:
    """Without the black around it."""
    return image[tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(image))]


def test_slices_are_those_of_the_plane(sessions, tmp_path: Path) -> None:
    plain = decode(sessions[0], 1.0, tmp_path / "cache")
    coronal = decode(TurnedSession(sessions[0], "coronal"), 1.0, tmp_path / "cache")
    sagittal = decode(TurnedSession(sessions[0], "sagittal"), 1.0, tmp_path / "cache")
    assert plain.contrasts == coronal.contrasts == sagittal.contrasts
    head = np.asarray(nib.load(sessions[0].files[Contrast.T1]).dataobj)
    for plane, decoded, axis in (("axial", plain, 2), ("coronal", coronal, 1), ("sagittal", sagittal, 0)):
        assert decoded.images.shape[1] == head.shape[axis], plane
        np.testing.assert_array_equal(decoded.area, (head > 0).sum(axis=tuple(a for a in range(3) if a != axis)), plane)
    above, front, side = (trimmed(decoded.images[0]) for decoded in (plain, coronal, sagittal))
    np.testing.assert_array_equal(front, above.transpose(1, 0, 2))  # (slice, row, column): rows run upwards
    np.testing.assert_array_equal(side, above.transpose(2, 0, 1))
    np.testing.assert_array_equal(np.flatnonzero(plain.marked), [10])
    np.testing.assert_array_equal(np.flatnonzero(coronal.marked), [30, 31, 32])
    np.testing.assert_array_equal(np.flatnonzero(sagittal.marked), [20])


def test_each_plane_has_its_own_name_and_place_in_the_cache(sessions) -> None:
    seen = in_planes(sessions, ("axial", "coronal", "sagittal"))
    assert [one.name for one in seen] == [
        "sub-00", "sub-01", "sub-00/plane-coronal", "sub-01/plane-coronal", "sub-00/plane-sagittal",
        "sub-01/plane-sagittal",
    ]  # fmt: skip
    assert len({str(one.stamp()) for one in seen}) == 6
    assert [one.name for one in in_planes(sessions, ("coronal",))] == ["sub-00/plane-coronal", "sub-01/plane-coronal"]


def test_thick_slices_are_seen_from_above_only(tmp_path: Path) -> None:
    bids_folder(tmp_path, 1, (40, 48, 12), np.diag([1.0, 1, 4, 1]))
    sessions = next(iter(read_folders(tmp_path, (".",), "bids"))).sessions
    left_out: list[str] = []
    assert [one.name for one in in_planes(sessions, ("axial", "coronal"), left_out)] == ["sub-00"]
    (line,) = left_out
    assert line.startswith("coronal slices of sub-00: its voxels are 4.0 mm long, and those of more than 2 mm show too")


def test_a_slab_is_seen_from_above_only(tmp_path: Path) -> None:
    """As in a transformation, which does not look at it from the side."""
    turned = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # the first axis goes up
    bids_folder(tmp_path, 1, (48, 60, 60), turned)
    sessions = next(iter(read_folders(tmp_path, (".",), "bids"))).sessions
    left_out: list[str] = []
    assert [one.name for one in in_planes(sessions, ("axial", "sagittal"), left_out)] == ["sub-00"]
    assert left_out == [
        "sagittal slices of sub-00: its field of view is 48.0 mm high, and slabs of less than 50 mm are strips from "
        "the side"
    ]


def test_a_voxel_size_of_0_is_named(tmp_path: Path) -> None:
    bids_folder(tmp_path, 1, (40, 48, 52))
    sessions = next(iter(read_folders(tmp_path, (".",), "bids"))).sessions
    image = nib.load(first := next(iter(sessions[0].files.values())))
    image.header["srow_z"] = 0  # as no affine is, which nibabel would refuse
    raw = image.header.binaryblock + b"\0" * 4 + np.asarray(image.dataobj).tobytes(order="F")
    first.write_bytes(gzip.compress(raw, 1))
    with pytest.raises(VolumeError, match=rf"'{first.name}' has a voxel size of 0; repair its header"):
        in_planes(sessions, ("axial", "coronal"))


def test_small_voxels_are_known_in_any_unit(tmp_path: Path) -> None:
    bids_folder(tmp_path, 1, (100, 120, 80), np.diag([1500.0, 1500, 1500, 1]))
    for path in tmp_path.glob("sub-00/anat/*.nii.gz"):
        image = nib.load(path)
        image.header.set_xyzt_units("micron")
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    sessions = next(iter(read_folders(tmp_path, (".",), "bids"))).sessions
    assert [one.name for one in in_planes(sessions, ("coronal",))] == ["sub-00/plane-coronal"]


def test_any_order_of_axes_is_turned_alike() -> None:
    data = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    sizes = np.diag([40.0, 30, 25, 1])
    there = seen_from(Volume(data, sizes, Contrast.T1, "a"), "coronal")
    np.testing.assert_array_equal(there.data, data.transpose(0, 2, 1))
    np.testing.assert_array_equal(there.voxel_sizes, [40, 25, 30])
    flipped = np.diag([-40.0, 30, 25, 1])
    np.testing.assert_array_equal(seen_from(Volume(data[::-1], flipped, None, "b"), "coronal").data, there.data)
    across = seen_from(Volume(data, sizes, Contrast.T1, "a"), "sagittal")
    np.testing.assert_array_equal(across.data, data.transpose(1, 2, 0))
    np.testing.assert_array_equal(across.voxel_sizes, [30, 25, 40])
