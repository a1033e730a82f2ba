from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_mrtrans as mt
from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint, write_calibration
from napari_mrtrans.checkpoints.correction import Z90, SpreadCorrection, Voxels
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.ood.image_quality import NAMES
from napari_mrtrans.ood.score import Isotonic, Novelty, OodCalibration, Range
from napari_mrtrans.scan.contrasts import Contrast

SHAPE = (24, 28, 12)
#: Slices 4 mm apart, so that each has all neighbours that it is judged with.
TALL = np.diag([1.0, 1, 4, 1])
#: Intensities of answer and source, where they are of no account.
HALF = (np.asarray(0.5), np.asarray(0.5))


@pytest.mark.parametrize(("floor", "factor"), [(0.05, 2.0), (0.0, 1.5), (0.08, 0.5)])
def test_a_planted_law_is_recovered(floor: float, factor: float) -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.01, 0.1, 50_000)
    truth = np.hypot(floor, factor * std)
    fit = SpreadCorrection.fit(std, rng.normal(0, truth))
    np.testing.assert_allclose(
        fit(np.array([0.02, 0.05, 0.1]), *HALF), np.hypot(floor, factor * np.array([0.02, 0.05, 0.1])), rtol=0.06
    )


def test_heavy_tails_still_give_ninety_percent() -> None:
    rng = np.random.default_rng(1)
    std = rng.uniform(0.01, 0.1, 50_000)
    error = std * rng.standard_t(3, std.shape)
    fit = SpreadCorrection.fit(std, error)
    assert np.mean(np.abs(error) <= Z90 * fit(std, *HALF)) == pytest.approx(0.9, abs=0.005)


def test_errors_without_a_spread_are_a_floor_and_no_errors_are_refused() -> None:
    error = np.random.default_rng(1).normal(0, 0.1, 10_000)
    fit = SpreadCorrection.fit(np.zeros_like(error), error)
    assert fit.floor == pytest.approx(0.1, rel=0.03) and fit.factor == 1
    with pytest.raises(MrtransError, match="No answer differs from its target"):
        SpreadCorrection.fit(np.full_like(error, 0.1), np.zeros_like(error))


def planted(rng: np.random.Generator, count: int = 60_000) -> Voxels:
    """Errors of standard deviation 0.05, twice that where the answer is bright, 1.5 times where the source is dark."""
    std, answer, source = rng.uniform(0.02, 0.06, count), rng.random(count), rng.random(count)
    width = 0.05 * np.where(answer > 0.75, 2, 1) * np.where(source < 0.25, 1.5, 1)
    return Voxels(std, rng.normal(0, width), std, answer, source)


def test_curves_tell_at_which_intensities_errors_are_larger() -> None:
    rng = np.random.default_rng(0)
    found, other = SpreadCorrection.shaped(planted(rng)), planted(rng)
    plain = SpreadCorrection.fit(other.std, other.error)
    for bright in (True, False):
        for dark in (True, False):
            these = ((other.answer > 0.85) == bright) & ((other.source < 0.15) == dark)
            these &= (np.abs(other.answer - 0.75) > 0.1) & (np.abs(other.source - 0.25) > 0.1)
            held = [
                np.mean(np.abs(other.error[these]) <= Z90 * std[these])
                for std in (found.of(other), plain(other.std, *HALF))
            ]
            assert held[0] == pytest.approx(0.9, abs=0.03)
            assert abs(held[1] - 0.9) > abs(held[0] - 0.9)
    assert found.blur_mm > 0


def test_curves_stay_with_floor_and_factor_fitted_anew() -> None:
    rng = np.random.default_rng(1)
    found, other = SpreadCorrection.shaped(planted(rng)), planted(rng)
    wide = replace(other, error=3 * other.error)
    (again,) = SpreadCorrection.refitted([(found, wide)])
    assert (again.by_answer, again.by_source) == (found.by_answer, found.by_source)
    assert np.mean(np.abs(wide.error) <= Z90 * again.of(wide)) == pytest.approx(0.9, abs=0.005)


def test_kept_voxels_are_read_again_and_none_are_none() -> None:
    rng = np.random.default_rng(5)
    voxels = planted(rng, 100)
    kept = voxels.lists(rng, 40, 1.25)
    again = Voxels.read(kept)
    assert [len(values) for values in kept.values()] == [40] * 5
    place = int(np.argmin(np.abs(voxels.answer - again.answer[0])))
    assert again.std[0] == pytest.approx(1.25 * voxels.std[place], abs=1e-4)
    assert again.smooth[0] == pytest.approx(voxels.smooth[place], abs=1e-4)  # an average does not depend on n
    assert Voxels(*(np.zeros(0) for _ in range(5))).lists(rng, 40) == {}


def test_few_voxels_bend_a_curve_little() -> None:
    rng = np.random.default_rng(2)
    few = planted(rng, 200)
    bright = few.answer > 0.9
    few.error[bright] *= 50
    assert max(SpreadCorrection.shaped(few).by_answer) < 2


def test_a_slice_is_corrected_by_its_surroundings_and_its_intensities() -> None:
    inside = np.zeros((40, 30), dtype=bool)
    inside[5:35, 5:25] = True
    rng = np.random.default_rng(3)
    std, answer, source = rng.uniform(0.02, 0.06, (40, 30)), np.full((40, 30), 0.5), np.full((40, 30), 0.25)
    source[:, 15:] = 1.0
    std[~inside] = 9.0  # of no account: outside the head nothing is known
    law = SpreadCorrection(floor=0.0, factor=2.0, blur_mm=3.0, by_source=[1.0, 1.0, 3.0])
    out = law.image(std, answer, source, inside, (1.0, 1.0))
    assert not out[~inside].any()
    middle = np.sqrt(np.mean(std[inside] ** 2))
    np.testing.assert_allclose(out[inside & (source < 1)], 2 * middle, rtol=0.15)
    np.testing.assert_allclose(out[inside & (source == 1)], 6 * middle, rtol=0.15)
    # Twice as large pixels: half as many of them.
    coarse = law.image(std, answer, source, inside, (2.0, 2.0))
    assert coarse[inside & (source < 1)].std() > 1.5 * out[inside & (source < 1)].std()


def test_a_correction_of_before_is_still_one() -> None:
    law = SpreadCorrection.model_validate_json('{"floor": 0.03, "factor": 2.0}')
    rng = np.random.default_rng(4)
    std = rng.uniform(0, 0.1, (8, 9))
    expected = np.hypot(0.03, 2 * std)
    np.testing.assert_allclose(law.image(std, std, std, std >= 0, (1.0, 1.0)), expected, rtol=1e-5)


@pytest.mark.parametrize("text", ['"by_answer": [1.0, 0.0]', '"by_source": [-1.0]', '"blur_mm": -1.0'])
def test_a_curve_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.split('"')[1]):
        SpreadCorrection.model_validate_json(f'{{"floor": 0.03, "factor": 2.0, {text}}}')


def calibrated(path: Path, family: str = "flow"):
    checkpoint = tiny_checkpoint(path, family)
    rng = np.random.default_rng(0)
    scans = {f"sub-{i}": rng.normal(size=(40, len(NAMES))) for i in range(5)}
    calibration = Calibration(
        card=checkpoint.card_digest,
        spread={"T1->T2": SpreadCorrection(floor=0.03, factor=2.0)},
        ood=OodCalibration(
            n=4,
            ranges={"T1->T2": Range(low=0.01, middle=0.02, high=0.03)},
            novelty={Contrast.T1: Novelty.fit(scans)},
            probability={3: Isotonic(scores=[-1e6, 1e6], probabilities=[0.2, 0.8])},
        ),
    )
    write_calibration(checkpoint, calibration, path.parent)
    return read_checkpoint(path)


def test_it_is_found_beside_the_checkpoint_and_shows_in_a_result(tmp_path: Path) -> None:
    checkpoint = calibrated(tmp_path / "tiny.safetensors")
    volume = mt.Volume(head(SHAPE), TALL, contrast="T1", name="brain")
    ensemble = mt.transform(volume, checkpoint, target="T2", n=4)
    assert ensemble.calibrated_std is not None
    inside = ensemble.std > 0
    np.testing.assert_allclose(ensemble.calibrated_std[inside], np.hypot(0.03, 2 * ensemble.std[inside]), rtol=1e-5)
    assert not ensemble.calibrated_std[volume.data == 0].any()
    info = ensemble.info
    assert info["sigma_hat_calibrated"] > info["sigma_hat"]
    assert 0.2 <= info["ood_probability"] <= 0.8
    assert info["verdict"] in ("in distribution", "unsure", "out of distribution")
    assert info["ood_scores"]["sigma_hat"] == pytest.approx(info["sigma_hat"], abs=1e-6)
    written = ensemble.save(tmp_path / "out")
    assert {"mean", "std", "std-calibrated", "json"} == set(written)
    assert json.loads(written["json"].read_text())["ood_probability"] == info["ood_probability"]


def test_a_pair_without_correction_has_no_calibrated_std(tmp_path: Path) -> None:
    checkpoint = calibrated(tmp_path / "tiny.safetensors")
    ensemble = mt.transform(mt.Volume(head(SHAPE), RAS, contrast="T1"), checkpoint, target="FLAIR", n=2)
    assert ensemble.calibrated_std is None and ensemble.info["sigma_hat_calibrated"] is None


def test_a_deterministic_model_has_a_probability_too(tmp_path: Path) -> None:
    checkpoint = calibrated(tmp_path / "tiny.safetensors", "direct")
    info = mt.transform(mt.Volume(head(SHAPE), TALL, contrast="T1"), checkpoint, target="T2").info
    assert info["sigma_hat"] is None and info["ood_probability"] is not None


@pytest.mark.parametrize(("slices", "judged"), [(8, 0), (10, 2), (11, 3)])
def test_a_slab_is_judged_by_slices_that_have_all_their_neighbours(slices: int, judged: int, tmp_path: Path) -> None:
    """Those 4 mm from its ends, whether it ends there or black slices follow."""
    checkpoint = calibrated(tmp_path / "tiny.safetensors", "direct")
    slab = head((24, 28, 40))[:, :, 14 : 14 + slices]
    for data in (slab, np.pad(slab, [(0, 0), (0, 0), (6, 6)])):
        info = mt.transform(mt.Volume(data, RAS, contrast="T1"), checkpoint, target="T2").info
        assert info["ood_scores"]["slices"] == judged
        assert (info["ood_probability"] is None) == (judged < 3)
        too_few = "not judged: fewer than 3 slices large enough, with head on either side"
        assert info["verdict"].startswith(too_few) == (judged < 3)


def test_the_users_own_calibration_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = calibrated(tmp_path / "tiny.safetensors")
    own = Calibration(card=checkpoint.card_digest, about={"whose": "mine"})
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    write_calibration(checkpoint, own, tmp_path / "user")
    monkeypatch.setattr("napari_mrtrans.checkpoints.checkpoint.shipped_checkpoint_dir", lambda: tmp_path)
    found = read_checkpoint(checkpoint.path).calibration
    assert found is not None and found.about == {"whose": "mine"}


def test_what_was_fitted_beside_one_s_own_checkpoint_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of an earlier day, which was installed with it."""
    checkpoint = calibrated(tmp_path / "tiny.safetensors")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    write_calibration(checkpoint, Calibration(card=checkpoint.card_digest, about={"whose": "old"}), tmp_path / "user")
    found = read_checkpoint(checkpoint.path)
    assert found.calibration is not None and found.calibration.about != {"whose": "old"}
    checkpoint.path.with_suffix(".calibration.json").unlink()
    found = read_checkpoint(checkpoint.path)
    assert found.calibration is not None and found.calibration.about == {"whose": "old"}


def test_a_checkpoint_may_be_read_by_those_who_may_read_the_folder(tmp_path: Path) -> None:
    beside = tmp_path / "plain"
    beside.touch()
    made = tiny_checkpoint(tmp_path / "tiny.safetensors").path
    assert made.stat().st_mode == beside.stat().st_mode


def test_without_one_nothing_is_calibrated(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors")
    assert checkpoint.calibration is None
    info = mt.transform(mt.Volume(head(SHAPE), RAS, contrast="T1"), checkpoint, target="T2", n=2).info
    assert info["ood_probability"] is None and info["verdict"] == "not calibrated" and info["ood_scores"] == {}


@pytest.mark.parametrize("damage", ["{", '{"card": "of another"}', '{"card": 1, "typo": 2}'])
def test_a_damaged_or_foreign_one_is_left_out_with_a_warning(tmp_path: Path, damage: str) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors")
    (tmp_path / "tiny.calibration.json").write_text(damage)
    with pytest.warns(UserWarning, match=r"tiny\.calibration\.json' is left out"):
        assert checkpoint.calibration is None
