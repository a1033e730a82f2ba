"""An acquired image on another image's grid: in normalised units, of the same head or refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.prepare.reference import normalised_on
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import HEADROOM
from napari_mrtrans.scan.volume import Volume

SHAPE = (16, 20, 18)


@pytest.fixture
def head() -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, n) for n in SHAPE], indexing="ij"))
    return (grid**2).sum(axis=0) < 1


def volume(data: np.ndarray) -> Volume:
    return Volume(data.astype(np.float32), np.eye(4), name="b_T2w")


def test_the_median_of_its_own_head_sets_the_scale(head: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    data = np.where(head, rng.uniform(300, 500, SHAPE), 0)
    said: list[str] = []
    found, inside = normalised_on(volume(data), Contrast.T2, head, np.eye(4), name="a", say=said.append)
    np.testing.assert_allclose(found, data / np.median(data[head]) / HEADROOM[Contrast.T2], rtol=1e-5)
    np.testing.assert_array_equal(inside, head)
    assert said == []


def test_another_grid_is_resampled_and_said(head: np.ndarray) -> None:
    data = np.repeat(np.where(head, 400, 0), 2, axis=2)
    to_reference = np.diag([1.0, 1, 2, 1])
    to_reference[2, 3] = 0.5
    said: list[str] = []
    found, inside = normalised_on(volume(data[:-2]), Contrast.T2, head, to_reference, name="a", say=said.append)
    assert np.isnan(found[-2:]).all() and not inside[-2:].any()
    assert said == ["'b_T2w' lies on another grid than 'a'; it was resampled."]
    np.testing.assert_allclose(found[:-2][head[:-2]], 1 / HEADROOM[Contrast.T2], rtol=1e-5)


def test_other_heads_are_refused(head: np.ndarray) -> None:
    data = np.where(head, 400.0, 0)
    away = np.eye(4)
    away[0, 3] = 100
    with pytest.raises(MrtransError, match=r"'b_T2w' does not overlap 'a'\."):
        normalised_on(volume(data), Contrast.T2, head, away, name="a")
    with pytest.raises(MrtransError, match=r"'b_T2w' is not the head of 'a': they overlap by \d\d %\."):
        normalised_on(volume(data), Contrast.T2, head, np.diag([1.4, 1.4, 1.4, 1]), name="a")


def test_dark_fluid_that_is_0_is_head_all_the_same(head: np.ndarray) -> None:
    data = np.where(head, 400.0, 0)
    data[7:9, 9:11, 8:10] = 0
    for place in (np.eye(4), nib.affines.from_matvec(np.eye(3), [0.25, 0, 0])):
        found, inside = normalised_on(volume(data), Contrast.T2, head, place, name="a")
        assert inside[7:9, 9:11, 8:10].all() and found[7, 9, 8] == 0


def test_what_is_around_a_head_does_not_darken_its_rim(head: np.ndarray) -> None:
    """Half a voxel beside, where the rim would be the mean of tissue and air."""
    beside = nib.affines.from_matvec(np.eye(3), [0.5, 0.5, 0])
    found, inside = normalised_on(volume(np.where(head, 400.0, 0)), Contrast.T2, head, beside, name="a")
    np.testing.assert_allclose(found[inside], 1 / HEADROOM[Contrast.T2], rtol=1e-5)
    assert not found[~inside & np.isfinite(found)].any()
    assert inside.sum() == pytest.approx(head.sum(), rel=0.1)
