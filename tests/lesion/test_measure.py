from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import stats

import napari_mrtrans as mt
from cli.test_main import assert_one_line, installed, run  # noqa: F401 (fixtures)
from helpers import head, save_nifti
from napari_mrtrans.errors import MrtransError, VolumeError
from napari_mrtrans.lesion import measure
from napari_mrtrans.lesion.files import measure_files
from napari_mrtrans.lesion.interval import written
from napari_mrtrans.lesion.measure import NO_CONTRAST, TOO_SMALL, box_around, lesion_report
from napari_mrtrans.scan.resample import resample
from napari_mrtrans.transformation.names import synthetic

SHAPE = (20, 22, 18)
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.diag([1.0, 1.2, -1.5]), np.array([-10.0, -14.0, 12.0])
)


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A target in scanner units and a prediction that correlates with it."""
    rng = np.random.default_rng(seed)
    target = 400 + 50 * rng.standard_normal(SHAPE)
    return (target / 1000 + 0.05 * rng.standard_normal(SHAPE)).astype(np.float32), target.astype(np.float32)


def two_lesions() -> np.ndarray:
    """27 voxels and a diagonal of 4, two lone voxels, and one of two voxels."""
    roi = np.zeros(SHAPE, bool)
    roi[3:6, 4:7, 5:8] = True
    for step in range(4):
        roi[10 + step, 10 + step, 10 + step] = True
    roi[17, 2:4, 2] = True
    return roi


def test_pooled_and_single_lesions_are_numpys_and_scipys() -> None:
    (prediction, target), roi = images(), two_lesions()
    report = lesion_report(prediction, target, roi)
    assert report.n_voxels == 33
    assert report.r == pytest.approx(np.corrcoef(prediction[roi], target[roi])[0, 1], abs=1e-6)
    assert report.p == pytest.approx(stats.pearsonr(prediction[roi].astype(float), target[roi].astype(float)).pvalue)
    assert [lesion.n_voxels for lesion in report.components] == [27, 4, 2]
    cube = (slice(3, 6), slice(4, 7), slice(5, 8))
    assert report.components[0].r == pytest.approx(
        np.corrcoef(prediction[cube].ravel(), target[cube].ravel())[0, 1], abs=1e-6
    )
    assert report.components[0].centre == (4, 5, 6)
    diagonal = np.arange(10, 14)
    there = (diagonal, diagonal, diagonal)
    assert report.components[1].r == pytest.approx(np.corrcoef(prediction[there], target[there])[0, 1], abs=1e-6)
    assert (report.components[2].r, report.components[2].p) == (None, None)


def test_voxels_lead_back_to_the_images() -> None:
    (prediction, target), roi = images(), two_lesions()
    report = lesion_report(prediction, target, roi)
    np.testing.assert_array_equal(report.voxels, np.argwhere(roi))
    where = tuple(report.voxels.T)
    np.testing.assert_array_equal(report.values, np.stack([prediction[where], target[where]], axis=1))
    assert np.bincount(report.lesion).tolist() == [27, 4, 2]
    np.testing.assert_allclose(report.voxels[report.lesion == 0].mean(axis=0), report.components[0].centre)


def test_every_sample_has_its_own_r() -> None:
    (prediction, target), roi = images(), two_lesions()
    samples = prediction + 0.03 * np.random.default_rng(1).standard_normal((5, *SHAPE))
    samples[4] = 0.5
    report = lesion_report(prediction, target, roi, samples=samples)
    known = [np.corrcoef(sample[roi], target[roi])[0, 1] for sample in samples[:4]]
    assert report.sample_r[:4] == pytest.approx(known, abs=1e-6)
    assert report.sample_r[4] is None
    assert report.r_range == pytest.approx((np.mean(known), np.std(known)), abs=1e-6)


def test_samples_without_an_r_are_told_and_the_others_count() -> None:
    (prediction, target), roi = images(), two_lesions()
    samples = np.stack([prediction, prediction])
    assert lesion_report(prediction, target, roi, samples=samples).lines()[2].endswith(" ± 0.000 over 2")
    samples[1][np.nonzero(roi)] = np.where(np.arange(roi.sum()) < 3, np.nan, samples[1][roi])
    report = lesion_report(prediction, target, roi, samples=samples)
    assert report.sample_r == (pytest.approx(report.r), None)
    assert report.lines()[2] == f"Samples: r = {report.r:.3f} ± 0.000 over 1; 1 of 2 has no r"
    report = lesion_report(prediction, target, roi, samples=np.full_like(samples, np.inf))
    assert report.r_range is None and report.lines()[2] == "Samples: 2 of 2 have no r"


def test_a_target_that_is_nan_where_the_roi_is_overlaps_it(tmp_path: Path) -> None:
    """On the grid of the prediction, and on another one."""
    (prediction, target), roi = images(), two_lesions()
    target = np.where(roi, np.nan, target).astype(np.float32)
    mean = save_nifti(tmp_path / "mean.nii.gz", prediction, OBLIQUE)
    mask = save_nifti(tmp_path / "roi.nii.gz", roi.astype(np.uint8), OBLIQUE)
    half = OBLIQUE @ nib.affines.from_matvec(np.diag([0.5, 1, 1]), [-0.25, 0, 0])
    for data, affine in ((target, OBLIQUE), (np.repeat(target, 2, axis=0), half)):
        other = save_nifti(tmp_path / "t2.nii.gz", data, affine)
        with pytest.raises(MrtransError, match=r"^'t2' has no finite value inside the ROI\.$"):
            measure_files(mean, other, mask)


def test_planted_contrast_is_recovered() -> None:
    """Surround of mean m and standard deviation s, lesion at m + c·s: the ratio is c, whatever unit and sign."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    distance = np.sqrt(((grid - 9) ** 2).sum(axis=0))
    roi, ring = distance <= 2, np.zeros(SHAPE, bool)
    near = np.argwhere(~roi)[:, None] - np.argwhere(roi)[None]
    ring[~roi] = np.sqrt((near**2).sum(axis=-1)).min(axis=1) <= 3

    def planted(mean: float, spread: float, ratio: float) -> np.ndarray:
        image = np.full(SHAPE, 1e9)  # beyond the ring nothing counts
        noise = rng.standard_normal(ring.sum())
        image[ring] = mean + spread * (noise - noise.mean()) / noise.std()
        wiggle = rng.standard_normal(roi.sum())
        image[roi] = mean + ratio * spread + wiggle - wiggle.mean()
        return image

    std = np.where(roi, 0.2, 0.1)
    report = lesion_report(
        planted(0.5, 0.1, 3.0), planted(300, 20, 5.0), roi, source=planted(100, 7, -2.0), std=std, ring=3
    )
    assert report.contrast == pytest.approx({"prediction": 3.0, "target": 5.0, "source": -2.0})
    assert (report.std_inside, report.std_ring) == pytest.approx((0.2, 0.1))


def test_the_background_is_no_surround() -> None:
    prediction, target = images()
    roi = np.zeros(SHAPE, bool)
    roi[8:11, 8:11, 8:11] = True
    inner = lesion_report(prediction, target, roi, std=prediction).contrast
    outside = np.ones(SHAPE, bool)
    outside[7:12, 7:12, 7:12] = False
    cut = np.where(outside, 0, prediction)
    assert lesion_report(cut, target, roi).contrast == pytest.approx(
        lesion_report(prediction, np.where(outside, 0, target), roi).contrast
    )
    assert lesion_report(cut, target, roi).contrast["target"] != pytest.approx(inner["target"])


@pytest.mark.parametrize("prediction, ring", [(np.ones(SHAPE), 3), (None, 0)])
def test_without_a_ring_that_varies_there_is_no_contrast(prediction: np.ndarray | None, ring: float) -> None:
    given, target = images()
    roi = np.zeros(SHAPE, bool)
    roi[8:11, 8:11, 8:11] = True
    if prediction is not None:
        given = np.where(roi, given, prediction)
    assert lesion_report(given, target, roi, ring=ring).contrast["prediction"] is None


def test_what_is_not_finite_is_left_out() -> None:
    (prediction, target), roi = images(), two_lesions()
    target[4, 5, 6], prediction[3, 4, 5], target[4, 5, 12] = np.nan, np.inf, np.nan
    report = lesion_report(prediction, target, roi)
    known = roi & np.isfinite(prediction) & np.isfinite(target)
    assert (report.n_voxels, report.n_missing) == (31, 2)
    assert report.lines()[-1] == "2 of 33 voxels are not in every image; they are left out"
    assert report.lines(missing=False) == report.lines()[:-1]
    assert lesion_report(*images(), roi).n_missing == 0
    assert report.r == pytest.approx(np.corrcoef(prediction[known], target[known])[0, 1], abs=1e-6)
    assert np.isfinite(report.contrast["target"])


def test_why_a_small_lesion_has_no_interval_is_told() -> None:
    roi = np.zeros(SHAPE, bool)
    roi[4:6, 4:6, 4] = True
    report = lesion_report(*images(), roi)
    assert report.r is not None and report.interval is None
    assert report.lines()[1] == "No interval: these voxels are worth fewer than 5 independent ones"
    assert not any("interval" in line for line in lesion_report(images()[0], None, roi).lines())


def test_blank_voxels_are_counted() -> None:
    (prediction, target), roi = images(), two_lesions()
    prediction[3] = 0
    report = lesion_report(prediction, target, roi)
    assert report.n_blank == 9
    assert report.r == pytest.approx(np.corrcoef(prediction[roi], target[roi])[0, 1], abs=1e-6)
    assert report.lines()[-1].startswith("9 of these voxels are 0 in the prediction")


def test_mistakes_are_one_line() -> None:
    (prediction, target), roi = images(), np.zeros(SHAPE, bool)
    for _ in range(3):
        with pytest.raises(MrtransError, match=f"^{TOO_SMALL}$"):
            lesion_report(prediction, target, roi)
        roi[5, 5, 5 + roi.sum()] = True
    assert lesion_report(prediction, target, roi).n_voxels == 3
    flat = np.where(roi, np.float32(0.1) + np.float32(1e-8) * prediction, prediction)
    for pair in ((flat, target), (prediction, np.where(roi, 0, target))):
        with pytest.raises(MrtransError, match=f"^{NO_CONTRAST}$"):
            lesion_report(*pair, roi)
    with pytest.raises(MrtransError, match=r"^No voxel of the ROI is finite in every image\.$"):
        lesion_report(prediction, np.where(roi, np.nan, target), roi)
    with pytest.raises(MrtransError, match=r"^The target has shape \(20, 22\), the ROI \(20, 22, 18\)"):
        lesion_report(prediction, target[..., 0], roi)
    volume = mt.Volume(target, np.eye(4))
    for given in ((volume, target, roi), (prediction, volume, roi), (prediction, target, volume)):
        with pytest.raises(MrtransError, match=r"^Expected an array, got a Volume; give volume\.data\.$"):
            lesion_report(*given)


def test_a_constant_lesion_has_no_r_but_the_others_have() -> None:
    (prediction, target), roi = images(), two_lesions()
    prediction[10:14, 10:14, 10:14] = 0.25
    report = lesion_report(prediction, target, roi)
    assert [lesion.r is None for lesion in report.components] == [False, True, True]


def test_box_stays_inside() -> None:
    roi = np.zeros(SHAPE, bool)
    assert box_around(roi, 3) is None
    roi[0, 10, 17] = True
    assert box_around(roi, 3) == (slice(0, 4), slice(7, 14), slice(14, 18))


def test_table_and_json_hold_the_same() -> None:
    (prediction, target), roi = images(), two_lesions()
    report = mt.lesion_report(prediction, target, roi, std=prediction, samples=np.stack([prediction, prediction]))
    rows = list(csv.DictReader(report.csv().splitlines()))
    assert [row["lesion"] for row in rows] == ["all", "1", "2", "3"]
    assert float(rows[0]["r"]) == report.r
    assert float(rows[0]["sample_r_mean"]) == pytest.approx(report.r)
    assert [float(row["r"]) for row in rows[1:3]] == [lesion.r for lesion in report.components[:2]]
    assert rows[3]["r"] == ""
    assert (rows[0]["n_missing"], rows[0]["std_corrected"], rows[1]["n_missing"]) == ("0", "False", "")
    again = json.loads(json.dumps(report.to_dict()))
    assert (again["n_missing"], again["std_corrected"]) == (0, False)
    assert again["components"][0]["n_voxels"] == 27
    assert again["contrast"]["prediction"] == report.contrast["prediction"]


def test_resampling_a_plane_is_exact_and_leaves_out_what_lies_outside() -> None:
    there = np.stack(np.meshgrid(*map(np.arange, (9, 10, 11)), indexing="ij"))
    weights = np.array([2.0, -3.0, 0.5])
    data = np.tensordot(weights, there, 1)
    to_data = nib.affines.from_matvec(OBLIQUE[:3, :3] * 0.9, [3.0, 4, 5])
    here = np.stack(np.meshgrid(*map(np.arange, (12, 8, 9)), indexing="ij"), axis=-1)
    at = nib.affines.apply_affine(to_data, here)
    within = ((at >= 0) & (at <= np.array(data.shape) - 1)).all(axis=-1)
    beyond = ((at < -0.5) | (at > np.array(data.shape) - 0.5)).any(axis=-1)
    assert within.any() and beyond.any()
    got = resample(data, to_data, (12, 8, 9))
    np.testing.assert_allclose(got[within], (at @ weights)[within], atol=1e-9)
    assert np.isnan(got[beyond]).all()
    box = (slice(2, 9), slice(1, 5), slice(3, 9))
    part = resample(data, to_data, (12, 8, 9), box=box)
    np.testing.assert_allclose(part[box], got[box], atol=1e-9)
    part[box] = np.nan
    assert np.isnan(part).all()


def test_half_floats_are_resampled_as_floats() -> None:
    data, to_data = images()[0], nib.affines.from_matvec(np.eye(3), [0.5, 0, 0])
    found = resample(data.astype(np.float16), to_data, SHAPE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, resample(data, to_data, SHAPE), atol=1e-3)


# --- files and the command ----------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    prediction, target = images()
    arrays = {"mean": prediction, "t2": target, "roi": two_lesions().astype(np.uint8), "std": 0.1 + 0.1 * prediction**2}
    return {name: save_nifti(tmp_path / f"{name}.nii.gz", data, OBLIQUE) for name, data in arrays.items()}


def test_the_spread_of_one_answer_is_left_out(files: dict[str, Path], tmp_path: Path, run) -> None:  # noqa: F811
    none = save_nifti(tmp_path / "none_std.nii.gz", np.zeros_like(images()[0]), OBLIQUE)
    words = ("lesion", "--prediction", files["mean"], "--target", files["t2"], "--roi", files["roi"], "--json")
    code, out, err = run(*words, "--std", none)
    assert code == 0 and "'none_std.nii.gz' is 0 throughout: one answer has no spread. It is left out." in err
    assert json.loads(out) | {"notices": []} == json.loads(run(*words)[1])


def test_command_prints_and_writes_what_the_function_gives(files: dict[str, Path], tmp_path: Path, run) -> None:  # noqa: F811
    prediction, target = images()
    samples = np.stack([prediction, target / 900, prediction + target / 500], axis=-1)
    stack = save_nifti(tmp_path / "samples.nii.gz", samples.astype(np.float32), OBLIQUE)
    words = ("lesion", "--prediction", files["mean"], "--target", files["t2"], "--roi", files["roi"])
    words += ("--std", files["std"], "--source", files["t2"], "--samples", stack, "--csv", tmp_path / "new" / "a.csv")
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    report = lesion_report(
        prediction, target, two_lesions(), std=0.1 + 0.1 * prediction**2, source=target,
        samples=np.moveaxis(samples.astype(np.float32), -1, 0),
    )  # fmt: skip
    told = json.loads(out)
    assert told["sample_r"] == pytest.approx(report.sample_r)
    assert told["sample_r"][1] == pytest.approx(1)
    assert told["r"] == pytest.approx(report.r, abs=1e-9)
    assert told["contrast"] == pytest.approx(report.contrast)
    assert told["std_inside"] == pytest.approx(report.std_inside)
    assert [row["n_voxels"] for row in told["components"]] == [27, 4, 2]
    assert (tmp_path / "new" / "a.csv").read_text().count("\n") == 5
    code, out, _ = run(*words)
    assert code == 0
    assert out.startswith(f"r = {written(report.r, report.interval)} over 33 voxels of 3 lesions")
    assert "lesion 3: 2 voxels" in out and " p " not in out


@pytest.mark.parametrize("by", ["name", "name in BIDS", "header"])
def test_a_corrected_spread_is_called_so(files: dict[str, Path], tmp_path: Path, run, by: str) -> None:  # noqa: F811
    names = {
        "name": "a_T2_std-calibrated.nii.gz",
        "name in BIDS": "a_desc-syntheticStdCalibrated_T2w.nii.gz",
        "header": "renamed.nii.gz",
    }
    spread = tmp_path / names[by]
    image = nib.load(files["std"])
    if by == "header":
        image.header["descrip"] = synthetic({"target": "T2"}, "std-calibrated")
    image.to_filename(spread)
    words = ("lesion", "--prediction", files["mean"], "--target", files["t2"], "--roi", files["roi"], "--std")
    raw, corrected = (run(*words, path)[1] for path in (files["std"], spread))
    assert "\nMean std: " in raw and raw.replace("Mean std", "Mean corrected std") == corrected
    plain, told = (json.loads(run(*words, path, "--json")[1]) for path in (files["std"], spread))
    assert not plain["std_corrected"] and told == plain | {"std_corrected": True}
    assert not measure_files(files["mean"], files["t2"], files["roi"]).std_corrected


def test_slices_of_a_file_that_were_not_computed_are_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    (prediction, target), roi = images(), two_lesions()
    axis = mt.Volume.load(files["mean"]).axial_axis
    other = tuple(a for a in range(3) if a != axis)
    planes = np.flatnonzero(roi.any(axis=other))
    np.moveaxis(prediction, axis, 0)[planes[0]] = 0
    part = save_nifti(tmp_path / "part.nii.gz", prediction, OBLIQUE)
    said: list[str] = []
    report = measure_files(part, files["t2"], files["roi"], say=said.append)
    left = roi & (prediction != 0)
    assert (report.n_voxels, report.n_blank) == (left.sum(), 0) and left.sum() < roi.sum()
    assert report.n_missing == (missing := roi.sum() - left.sum())
    assert said == [f"{missing} of {roi.sum()} voxels were not computed; they are left out."]
    assert report.r == pytest.approx(np.corrcoef(prediction[left], target[left])[0, 1], abs=1e-6)
    np.moveaxis(prediction, axis, 0)[planes] = 0
    with pytest.raises(MrtransError, match="Nothing was computed where the ROI is"):
        measure_files(save_nifti(tmp_path / "none.nii.gz", prediction, OBLIQUE), files["t2"], files["roi"])


def test_of_a_result_of_a_region_only_that_region_counts(files: dict[str, Path], tmp_path: Path) -> None:
    (prediction, target), roi = images(), two_lesions()
    asked = np.zeros(SHAPE, bool)
    asked[4:, 3:12] = True
    part = save_nifti(tmp_path / "a_T2_mean.nii.gz", np.where(asked, prediction, 0), OBLIQUE)
    spread = save_nifti(tmp_path / "a_T2_std.nii.gz", np.where(asked, 0.1, 0).astype(np.float32), OBLIQUE)
    assert measure_files(part, files["t2"], files["roi"]).n_voxels == roi.sum()
    (tmp_path / "a_T2.json").write_text(json.dumps({"roi": {"only": True}}))
    for std in (None, spread):
        report = measure_files(part, files["t2"], files["roi"], std=std)
        left = roi & asked
        assert (report.n_voxels, report.n_blank) == (left.sum(), 0) and left.sum() < roi.sum()
        assert report.r == pytest.approx(np.corrcoef(prediction[left], target[left])[0, 1], abs=1e-6)
        known = lesion_report(np.where(asked, prediction, np.nan), target, roi)
        assert report.contrast == pytest.approx(known.contrast)


def test_the_interval_of_the_only_lesion_is_had_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (prediction, target), roi = images(), np.zeros(SHAPE, bool)
    roi[2:12, 2:12, 2:12] = True
    drawn: list[int] = []
    interval = measure.correlation_interval
    monkeypatch.setattr(measure, "correlation_interval", lambda *of: drawn.append(1) or interval(*of))
    report = lesion_report(prediction, target, roi)
    (lesion,) = report.components
    assert drawn == [1] and report.interval is not None
    assert (lesion.r, lesion.p, lesion.interval) == (report.r, report.p, report.interval)
    assert (lesion.n_voxels, lesion.centre) == (1000, (6.5, 6.5, 6.5))


def test_a_target_on_another_grid_is_resampled_by_its_affine(tmp_path: Path, run) -> None:  # noqa: F811
    """A smooth function of millimetres, sampled on two grids, correlates as if sampled on one."""

    def at(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        x, y, z = np.moveaxis(
            nib.affines.apply_affine(affine, np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)), -1, 0
        )
        return (300 + 2 * x + 3 * y - z).astype(np.float32)

    finer = nib.affines.from_matvec(np.diag([-0.7, 0.7, 0.9]), [20.0, -25.0, -25.0])
    like, _ = images()
    roi = np.zeros(SHAPE, np.uint8)
    roi[8:12, 8:12, 7:11] = 1
    mean = save_nifti(tmp_path / "mean.nii.gz", like, OBLIQUE)
    other = save_nifti(tmp_path / "t2.nii.gz", at(finer, (60, 70, 60)), finer)
    mask = save_nifti(tmp_path / "roi.nii.gz", roi, OBLIQUE)
    said: list[str] = []
    report = measure_files(mean, other, mask, say=said.append)
    expected = np.corrcoef(like[roi > 0], at(OBLIQUE, SHAPE)[roi > 0])[0, 1]
    assert report.r == pytest.approx(expected, abs=1e-6)
    assert said == ["'t2' lies on another grid than 'mean'; it was resampled by their affines."]
    far = save_nifti(tmp_path / "far.nii.gz", head((30, 30, 12)), nib.affines.from_matvec(np.eye(3), [300, 300, 300]))
    code, out, err = run("lesion", "--prediction", mean, "--target", far, "--roi", mask)
    assert (code, out) == (2, "")
    assert_one_line(err, "The ROI does not overlap 'far'.")


def test_images_may_be_smaller_than_a_head_and_one_that_is_constant_is_said_to_be(
    files: dict[str, Path],
    tmp_path: Path,
    run,  # noqa: F811
) -> None:
    (prediction, target), roi = images(), two_lesions()
    lower, upper = np.argwhere(roi).min(axis=0) - 1, np.argwhere(roi).max(axis=0) + 2
    affine = OBLIQUE @ nib.affines.from_matvec(np.eye(3), lower)
    affine[:3] /= 10
    part = tuple(slice(*ends) for ends in zip(lower, upper, strict=True))
    small = {
        name: save_nifti(tmp_path / f"small-{name}.nii.gz", image[part], affine)
        for name, image in {"mean": prediction, "t2": target, "roi": roi.astype(np.uint8)}.items()
    }
    with pytest.raises(VolumeError, match="which no head is"):
        mt.Volume.load(small["mean"])
    report = measure_files(small["mean"], small["t2"], small["roi"])
    assert report.r == pytest.approx(np.corrcoef(prediction[roi], target[roi])[0, 1], abs=1e-6)
    flat = save_nifti(tmp_path / "flat.nii.gz", np.full(SHAPE, 0.5, np.float32), OBLIQUE)
    for given in ({"mean": flat}, {"t2": flat}):
        named = {**files, **given}
        code, _, err = run("lesion", "--prediction", named["mean"], "--target", named["t2"], "--roi", named["roi"])
        assert code == 2
        assert_one_line(err, "Intensity is constant in this ROI; correlation undefined.")


def test_images_of_two_people_and_one_given_twice_are_said(files: dict[str, Path], tmp_path: Path, run) -> None:  # noqa: F811
    mean = files["mean"].rename(tmp_path / "sub-01_desc-synthetic_T2w.nii.gz")
    target = files["t2"].rename(tmp_path / "sub-02_T2w.nii.gz")
    code, _, err = run("lesion", "--prediction", mean, "--target", target, "--roi", files["roi"])
    assert code == 0
    assert_one_line(err, f"'{mean.name}' is of sub-01 and '{target.name}' of sub-02")
    code, _, err = run("lesion", "--prediction", mean, "--target", mean, "--roi", files["roi"])
    assert code == 0
    assert_one_line(err, f"'{mean.name}' is given twice")


def test_without_a_target_contrast_and_spread_are_left(files: dict[str, Path], run) -> None:  # noqa: F811
    (prediction, target), roi = images(), two_lesions()
    full, report = (
        lesion_report(prediction, target, roi, source=target),
        lesion_report(prediction, None, roi, source=target),
    )
    assert (report.r, report.p, report.sample_r) == (None, None, ())
    assert report.contrast == {name: full.contrast[name] for name in ("source", "prediction")}
    assert [(c.n_voxels, c.r) for c in report.components] == [(27, None), (4, None), (2, None)]
    assert report.csv().splitlines()[0] == full.csv().splitlines()[0]
    with pytest.raises(MrtransError, match="at least 3"):
        lesion_report(prediction, None, np.arange(prediction.size).reshape(prediction.shape) == 4000)
    code, out, err = run("lesion", "--prediction", files["mean"], "--roi", files["roi"], "--source", files["t2"])
    assert (code, err) == (0, "")
    assert out.startswith("33 voxels of 3 lesions, no reference\nContrast to noise: source ")


def test_a_mask_on_another_grid_is_resampled_to_the_nearest_voxel(files: dict[str, Path], tmp_path: Path) -> None:
    fine = np.repeat(two_lesions().astype(np.uint8), 3, axis=0)
    affine = OBLIQUE @ nib.affines.from_matvec(np.diag([1 / 3, 1, 1]), [-1 / 3, 0, 0])
    said: list[str] = []
    report = measure_files(
        files["mean"], files["t2"], save_nifti(tmp_path / "fine.nii.gz", fine, affine), say=said.append
    )
    assert report == measure_files(files["mean"], files["t2"], files["roi"])
    assert said == ["'fine.nii.gz' lies on another grid than 'mean'; it was resampled to the nearest voxel."]


def test_command_refuses_in_one_line(files: dict[str, Path], tmp_path: Path, run) -> None:  # noqa: F811
    away = nib.affines.from_matvec(np.eye(3), [300, 300, 300])
    small = save_nifti(tmp_path / "small.nii.gz", np.ones((4, 4, 4), np.uint8), away)
    two = np.zeros(SHAPE, np.uint8)
    two[5, 5, 5:7] = 1
    pair = save_nifti(tmp_path / "pair.nii.gz", two, OBLIQUE)
    none = save_nifti(tmp_path / "none.nii.gz", 0 * two, OBLIQUE)
    unknown = save_nifti(tmp_path / "unknown.nii.gz", np.full(SHAPE, np.nan, np.float32), OBLIQUE)
    base = ("lesion", "--prediction", files["mean"], "--target", files["t2"], "--roi")
    for words, line in (
        ((*base, small), "The ROI 'small.nii.gz' does not overlap 'mean'."),
        ((*base, pair), "The ROI 'pair.nii.gz' marks 2 voxels of the prediction; it needs at least 3."),
        ((*base, none), "The ROI 'none.nii.gz' marks nothing: no voxel is above 0."),
        ((*base, unknown), "The ROI 'unknown.nii.gz' marks nothing: all of it is NaN or infinite."),
        ((*base, tmp_path / "gone.nii.gz"), "does not exist."),
        ((*base, files["roi"], "--samples", files["t2"]), "The samples 't2.nii.gz' are no 4-D volume on the grid of"),
        ((*base, files["roi"], "--csv", files["roi"] / "a.csv"), "Choose another --csv."),
    ):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert_one_line(err, line)


def test_what_is_masked_is_left_out_as_what_is_not_finite_is() -> None:
    rng, roi = np.random.default_rng(0), two_lesions() > 0
    target = rng.random(SHAPE) + 1
    prediction = target + 0.1 * rng.random(SHAPE)
    hidden = roi & (rng.random(SHAPE) < 0.3)
    plain = lesion_report(np.where(hidden, np.nan, prediction), target, roi)
    assert plain.n_missing == hidden.sum() > 0
    assert lesion_report(np.ma.MaskedArray(prediction, mask=hidden), target, roi) == plain
    assert lesion_report(prediction, np.ma.MaskedArray(target, mask=hidden), roi).r == plain.r
    everywhere = np.ma.MaskedArray(np.ones(SHAPE), mask=~roi)
    assert lesion_report(prediction, target, everywhere) == lesion_report(prediction, target, roi)
