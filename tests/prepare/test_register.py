"""On the built-in template, 4 mm coarse: fast, and a real anatomy."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from napari_mrtrans.errors import VolumeError
from napari_mrtrans.prepare.images import resample
from napari_mrtrans.prepare.register import nmi, register
from napari_mrtrans.sample import sample_volume
from napari_mrtrans.volume import Volume


@pytest.fixture(scope="module")
def brain() -> Volume:
    fine = sample_volume()
    data = ndimage.zoom(fine.data, 0.34, order=1)
    affine = fine.affine @ np.diag([*(np.array(fine.data.shape) / data.shape), 1])
    return Volume(np.clip(data, 0, None), affine, name="fixed")


def rigid(degrees: tuple[float, float, float], millimetres: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = nib.eulerangles.euler2mat(*np.radians(degrees))
    matrix[:3, 3] = millimetres
    return matrix


@pytest.mark.parametrize("flip", [False, True])
def test_a_planted_motion_is_found_across_contrasts(brain: Volume, flip: bool) -> None:
    """The moving image has inverted intensities, another position and (flip) a left-handed grid."""
    motion = rigid((15, -10, 12), (25, -15, 10))
    data = np.where(brain.data > 0, 1.2 * brain.data.max() - brain.data, 0)
    affine = motion @ brain.affine
    if flip:
        data = data[::-1]
        affine = affine @ np.array([[-1.0, 0, 0, data.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    moving = Volume(data, affine, name="moving")
    found = register(brain, moving)
    points = np.argwhere(brain.data > 0)[::50] @ brain.affine[:3, :3].T + brain.affine[:3, 3]
    error = nib.affines.apply_affine(found.matrix, points) - nib.affines.apply_affine(motion, points)
    assert np.linalg.norm(error, axis=1).mean() < 1
    assert found.nmi_after > found.nmi_before
    assert found.degrees == pytest.approx(np.degrees(np.arccos((np.trace(motion[:3, :3]) - 1) / 2)), abs=1)
    back = resample(moving, brain, found.matrix)
    inside = (brain.data > 0) & (back > 0)
    assert np.corrcoef(back[inside], brain.data[inside])[0, 1] < -0.8


def test_one_slice_is_no_head(brain: Volume) -> None:
    with pytest.raises(VolumeError, match="'slice'"):
        register(brain, Volume(brain.data[:, :, 30:31], brain.affine, name="slice"))


def test_nmi_of_the_same_and_of_independent_samples() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(200_000), rng.random(200_000)
    assert nmi(a, a) == pytest.approx(2)
    assert nmi(a, b) == pytest.approx(1, abs=0.01)
