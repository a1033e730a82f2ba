"""Planted motions come back; what is no match is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_mrtrans.errors import VolumeError
from napari_mrtrans.prepare import register as registration
from napari_mrtrans.prepare.images import affine_of, cube_grid, resample, to_array, to_image, to_transform
from napari_mrtrans.prepare.match import nmi
from napari_mrtrans.prepare.register import LEAST_EDGES, Registration, RegistrationError, register
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.volume import Volume
from prepare.heads import head, motion

OBLIQUE = motion((20, -10, 30), (5, 6, 7)) @ np.diag([-2.0, 1.5, 3.0, 1.0])


SHEARED = np.diag([2.0, 1.5, 3.0, 1.0])
SHEARED[0, 2] = 0.3


@pytest.mark.parametrize("affine", [np.diag([2.0, 2, 2, 1]), np.diag([-1.0, 2, 3, 1]), OBLIQUE, SHEARED], ids=str)
def test_voxels_lie_where_the_affine_says(affine: np.ndarray) -> None:
    data = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    image = to_image(data, affine)
    ras = np.array(image.TransformIndexToPhysicalPoint((4, 1, 2))) * (-1, -1, 1)
    np.testing.assert_allclose(ras, (affine @ (4, 1, 2, 1))[:3], atol=1e-5)
    np.testing.assert_allclose(affine_of(image), affine, atol=1e-6)
    np.testing.assert_array_equal(to_array(image), data)


def test_a_matrix_means_the_same_to_simpleitk() -> None:
    matrix, point = motion((10, 20, 30), (1, 2, 3)), np.array([4.0, 5.0, 6.0])
    moved = np.array(to_transform(matrix).TransformPoint((point * (-1, -1, 1)).tolist())) * (-1, -1, 1)
    np.testing.assert_allclose(moved, (matrix @ (*point, 1))[:3])


def test_resampling_by_whole_voxels_is_exact() -> None:
    data = np.random.default_rng(0).random((12, 12, 12)).astype(np.float32)
    grid = np.diag([2.0, 2.0, 2.0, 1.0])
    volume = Volume(data, grid)
    shifted = resample(volume, volume, motion(shift=(2.0, -4.0, 0.0)))
    np.testing.assert_allclose(shifted[:-1, 2:], data[1:, :-2], atol=1e-4)
    assert not shifted[-1].any()  # outside its field of view


@pytest.mark.parametrize("shear", [0.0, 0.02, 0.1])
def test_a_sheared_volume_is_resampled_where_its_affine_says(shear: float) -> None:
    data = ndimage.gaussian_filter(np.random.default_rng(0).random((24, 28, 20)), 2).astype(np.float32)
    one, other = np.diag([4.0, 4.0, 4.0, 1.0]), np.diag([4.0, 4.0, 5.0, 1.0])
    one[0, 2] = 4 * shear
    one[:3, 3], other[:3, 3] = -one[:3, :3] @ (11.5, 13.5, 9.5), (-46, -54, -37.5)
    found = resample(Volume(data, one), Volume(data[..., :16], other), np.eye(4))
    there = np.linalg.inv(one) @ other
    expected = ndimage.affine_transform(data, there[:3, :3], there[:3, 3], found.shape, order=3, mode="mirror")
    inside = (slice(4, -4),) * 3
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)


def test_cubes_hold_all_of_a_sheared_volume() -> None:
    """Where their own affine says, with right angles: what is found on them is right for the volume."""
    data = np.zeros((30, 40, 20), np.float32)
    data[20:, 30:, 17:] = data[:6, :6, :3] = 1
    cubes = cube_grid(to_image(data, SHEARED), 1.0)
    axes = affine_of(cubes)[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    grid = Volume(np.random.default_rng(0).random(cubes.GetSize()), affine_of(cubes))
    for mask in (data > 0, data == 0):
        there = resample(Volume(mask.astype(np.float32), SHEARED), grid, np.eye(4))
        assert there.sum() == pytest.approx(mask.sum() * np.linalg.det(SHEARED), rel=0.05)


def test_nmi_of_equal_and_of_independent_samples() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 32, (2, 200_000)).astype(float)
    assert nmi(a, a) == pytest.approx(2.0)
    assert nmi(a, 31 - a) == pytest.approx(2.0)  # a negative has all the information
    assert nmi(a, b) == pytest.approx(1.0, abs=0.005)
    assert nmi(a, np.zeros_like(a)) == pytest.approx(1.0)


@pytest.mark.parametrize(("turn", "shift"), [((20, -15, 10), (25, -20, 10)), ((0, 0, 30), (0, 35, 0))], ids=str)
def test_a_planted_motion_is_found_across_contrasts(turn: tuple, shift: tuple) -> None:
    fixed, brain = head()
    planted = motion(turn, shift)
    moving, _ = head(Contrast.T2, planted, seed=1)
    # Another array order and handedness say nothing of where the head is.
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = moving.data.shape[1] - 1
    moving = Volume(
        moving.data[:, ::-1].transpose(2, 0, 1), moving.affine @ flip @ np.eye(4)[[1, 2, 0, 3]], Contrast.T2
    )
    found = register(fixed, moving)
    points = np.argwhere(brain)[::50] @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    error = ((found.matrix - planted) @ np.column_stack([points, np.ones(len(points))]).T)[:3]
    assert np.linalg.norm(error, axis=0).mean() < 0.5
    assert found.nmi_after > 1.1
    assert found.nmi_after > found.nmi_before
    assert found.edges > 2 * LEAST_EDGES


def test_where_nothing_matches_better_the_files_position_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images on one grid, already aligned, a search can but blur one; they are no mistake and are not moved."""
    import SimpleITK as sitk

    away = sitk.TranslationTransform(3, (0.7, 0.4, 0.0))
    monkeypatch.setattr(registration, "align", lambda *_, **__: (away, -1.0))
    found = register(head()[0], head(Contrast.T2, seed=1)[0])
    assert found.stays and found.inverse().stays and found.degrees == 0
    assert found.nmi_after == found.nmi_before > 1.3
    assert found.edges > 2 * LEAST_EDGES


def test_the_inverse_goes_back() -> None:
    there = Registration(motion((10, 20, 30), (1, 2, 3)), 1.1, 1.2, 1.9)
    np.testing.assert_allclose(there.inverse().matrix @ there.matrix, np.eye(4), atol=1e-12)
    assert there.inverse().degrees == pytest.approx(there.degrees)


def test_a_head_without_a_brain_is_no_match() -> None:
    """Noise of the head's own outline, skull and all: mutual information alone takes it for the same head."""
    fixed, brain = head()
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(brain.shape), 2.0)
    moving = np.where(brain, 300 + 60 * noise / noise.std(), head(Contrast.T2)[0].data).astype(np.float32)
    with pytest.raises(RegistrationError, match=r"'noise' does not match 'T1' .*edges agree (0.9|1.0|1.1)"):
        register(fixed, Volume(moving, fixed.affine, Contrast.T2, "noise"))


@pytest.mark.parametrize(
    ("shape", "sizes"), [((60, 60, 1), (3, 3, 5)), ((60, 60, 8), (3, 3, 20)), ((60, 60, 5), (3, 3, 3))], ids=str
)
def test_volumes_without_depth_are_refused(shape: tuple, sizes: tuple) -> None:
    fixed, _ = head()
    data = np.random.default_rng(0).random(shape).astype(np.float32)
    with pytest.raises(VolumeError, match="needs at least 5 slices"):
        register(fixed, Volume(data, np.diag([*sizes, 1.0]), name="thin"))
