from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers import PAIRS, tiny_checkpoint
from napari_mrtrans import Volume
from napari_mrtrans.errors import CheckpointError
from napari_mrtrans.transformation.gathered import Gathered
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.transformation.streaming import SliceUpdate

SHAPE = (3, 4, 5)
RNG = np.random.default_rng(0)
DATA = RNG.random(SHAPE, dtype=np.float32) + 1


def update(index: int, total: int = 4, **changes: object) -> SliceUpdate:
    """Slice ``index`` along axis 1 of :data:`DATA`, σ̂ = index / 10, two voxels for each index."""
    data = DATA[:, index]
    values = {"mean": data, "std": data / 10, "median": data * 2, "samples": np.stack([data, data * 3])}
    numbers = {"sigma_hat": index / 10, "voxels": 2 * index, "done": 1, "total": total}
    return SliceUpdate(index=index, **{**values, **numbers, **changes})


def gathered(*indices: int, **changes: object) -> Gathered:
    """Those slices gathered."""
    found = Gathered(SHAPE, 1, median=True, samples=2)
    for index in indices:
        found.add(update(index, **changes))
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    return tiny_checkpoint(tmp_path_factory.mktemp("c") / "tiny-flow.safetensors")


def result(found: Gathered, checkpoint, volume: Volume | None = None):
    volume = volume or Volume(DATA, np.eye(4))
    return found.ensemble(volume, checkpoint, Request(PAIRS[0].target, PAIRS[0].source, n=2), 1.5, ["said"])


def test_what_has_not_come_is_zero_and_not_counted(checkpoint) -> None:
    ensemble = result(gathered(1, 3), checkpoint)
    np.testing.assert_array_equal(ensemble.mean[:, [1, 3]], DATA[:, [1, 3]])
    assert not ensemble.mean[:, [0, 2]].any()
    np.testing.assert_array_equal(ensemble.samples[1][:, 3], DATA[:, 3] * 3)
    assert ensemble.info["slices"] == [1, 3] and ensemble.info["slices_done"] == 2
    assert ensemble.info["complete"] is False
    # weighted by voxels: (2 x 0.1 + 6 x 0.3) / 8
    assert ensemble.sigma_hat == pytest.approx(0.25)
    assert ensemble.info["sigma_hat_per_slice"] == [None, 0.1, None, 0.3]
    assert ensemble.info["notices"] == ["said"] and ensemble.info["seconds"] == 1.5


def test_complete_when_all_that_were_asked_for_have_come(checkpoint) -> None:
    assert result(gathered(1, 2, 3, total=3), checkpoint).info["complete"] is True


def test_what_lay_beside_the_checkpoint_is_told_as_it_was_when_it_began(tmp_path: Path) -> None:
    direct = tiny_checkpoint(tmp_path / "tiny-direct.safetensors", "direct")
    planes = tiny_checkpoint(tmp_path / "tiny-direct.planes.safetensors", "direct", seed=1).path
    request = Request(PAIRS[0].target, PAIRS[0].source, three_planes=True)
    found, late = Gathered(SHAPE, 1), Gathered(SHAPE, 1)
    for one in (found, late):
        one.add(update(1))
    found.begin(direct, request)
    volume = Volume(DATA, np.eye(4))
    before = late.ensemble(volume, direct, request, 1.5).info
    planes.unlink()
    assert found.turned(np.array([[0, 1], [1, 1], [2, 1]])).ensemble(volume, direct, request, 1.5).info == before
    with pytest.raises(CheckpointError, match="knows axial slices only"):
        late.ensemble(volume, direct, request, 1.5)


def test_the_reference_is_told_by_its_name_and_levels(checkpoint) -> None:
    request = Request(PAIRS[0].target, PAIRS[0].source, n=2, sampler="reference")
    info = gathered(1).ensemble(Volume(DATA, np.eye(4)), checkpoint, request, 1.5).info
    assert (info["sampler"], info["steps"]) == ("reference", None)
    assert info["reference"] == {"sampler": "dpm++2m", "steps": 200}
    assert "reference" not in result(gathered(1), checkpoint).info


def test_a_model_of_one_pass_has_no_reference(tmp_path: Path) -> None:
    request = Request(PAIRS[0].target, PAIRS[0].source, n=2, sampler="reference")
    direct = tiny_checkpoint(tmp_path / "tiny-direct.safetensors", "direct")
    info = gathered(1).ensemble(Volume(DATA, np.eye(4)), direct, request, 1.5).info
    assert (info["sampler"], info["steps"]) == (None, 1) and "reference" not in info


def test_without_median_and_samples(checkpoint) -> None:
    found = Gathered(SHAPE, 1)
    found.add(update(1))
    ensemble = result(found, checkpoint)
    assert ensemble.median is None and ensemble.samples is None


@pytest.mark.parametrize("order, signs", list(product(permutations(range(3)), product((1, -1), repeat=3))))
def test_turned_onto_any_other_order_of_the_axes(checkpoint, order, signs) -> None:
    turn = np.column_stack([order, signs]).astype(float)
    ensemble = result(gathered(1, 3).turned(turn), checkpoint, Volume(nib.apply_orientation(DATA, turn), np.eye(4)))
    straight = result(gathered(1, 3), checkpoint)
    for name in ("mean", "std", "median"):
        expected = nib.apply_orientation(getattr(straight, name), turn)
        np.testing.assert_array_equal(getattr(ensemble, name), expected)
    np.testing.assert_array_equal(ensemble.samples[1], nib.apply_orientation(straight.samples[1], turn))
    axis = order[1]
    filled = [k for k in range(SHAPE[1]) if np.take(ensemble.mean, k, axis).any()]
    assert ensemble.info["slices"] == filled
    assert ensemble.info["sigma_hat_per_slice"] == [None, 0.1, None, 0.3][:: signs[1]]
    assert ensemble.sigma_hat == pytest.approx(0.25)


def test_calibrated_std_appears_with_its_first_slice(checkpoint) -> None:
    corrected = np.full((SHAPE[0], SHAPE[2]), 0.5, np.float32)
    ensemble = result(gathered(1, calibrated_std=corrected), checkpoint)
    assert ensemble.calibrated_std[:, 1].max() == 0.5 and not ensemble.calibrated_std[:, 2].any()
    assert ensemble.info["sigma_hat_calibrated"] == 0.5
    assert result(gathered(1), checkpoint).calibrated_std is None


def test_files_hold_what_was_gathered(checkpoint, tmp_path: Path) -> None:
    paths = result(gathered(1), checkpoint).save(tmp_path)
    np.testing.assert_array_equal(nib.load(paths["mean"]).get_fdata()[:, 1], DATA[:, 1])
