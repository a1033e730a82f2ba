from __future__ import annotations

import numpy as np
import pytest

from helpers import head
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation.ood_inputs import ARTEFACTS, corrupted
from napari_mrtrans.scan.volume import Volume

#: Array axes towards the left, anterior, superior: LAS.
LAS = np.diag([-1.0, 1, 2, 1])


@pytest.fixture(scope="module")
def volume() -> Volume:
    return Volume(head((40, 48, 20)), LAS, name="sub-01_T1w")


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_each_is_a_visible_change_on_the_same_grid(volume: Volume, kind: str) -> None:
    made = corrupted(volume, kind, seed=0)
    assert made.data.shape == volume.data.shape and np.array_equal(made.affine, volume.affine)
    assert np.isfinite(made.data).all() and made.data.min() >= 0
    inside = volume.data > 0
    change = np.abs(made.data - volume.data)[inside].mean() / volume.data[inside].mean()
    assert change > 0.01
    if kind != "rotation":
        assert not made.data[~inside].any()


@pytest.mark.parametrize("spacing", [5.0, 7.0, 20.0])
def test_slices_that_are_thick_already_are_made_thicker(volume: Volume, spacing: float) -> None:
    thick = Volume(volume.data, np.diag([-1.0, 1, spacing, 1]), name=volume.name)
    for seed in range(20):
        assert not np.allclose(corrupted(thick, "thick slices", seed).data, thick.data, rtol=1e-3)


def test_same_seed_same_artefact_another_seed_another(volume: Volume) -> None:
    first, again, other = (corrupted(volume, "motion", seed).data for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cropping_takes_one_side(volume: Volume) -> None:
    lost = (volume.data > 0) & (corrupted(volume, "cropped", 0).data == 0)
    columns = np.flatnonzero(lost.any(axis=(1, 2)))
    filled = np.flatnonzero((volume.data > 0).any(axis=(1, 2)))
    assert columns.min() == filled.min()
    assert 0.3 < len(columns) / len(filled) <= 0.5


def test_artefacts_leave_the_random_numbers_of_others_alone(volume: Volume) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    corrupted(volume, "spike", 0)
    assert torch.rand(1) == expected


def test_an_unknown_kind_is_named(volume: Volume) -> None:
    with pytest.raises(MrtransError, match="Unknown artefact 'fog'; choose from motion"):
        corrupted(volume, "fog", 0)
