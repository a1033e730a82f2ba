from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import RAS, head, save_nifti, tiny_checkpoint
from napari_mrtrans import Contrast, Ensemble, MrtransError, Volume, transform
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.paths import check_folder
from napari_mrtrans.scan.grid import Orientation
from napari_mrtrans.transformation.ensemble import sigma_hat

SHAPE = (20, 24, 7)
OBLIQUE = nib.affines.from_matvec(
    np.array([[0.9, 0, 0.5], [0, 1.1, 0.2], [-0.16, -0.1, 2.9]]), [-12.25, 31.5, -4.0]
).round(3)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("flow") / "tiny-flow.safetensors")


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("direct") / "tiny-direct.safetensors", "direct")


def run(volume: Volume, checkpoint: Checkpoint, **options: object) -> Ensemble:
    return transform(volume, checkpoint, target="T2", device="cpu", **{"n": 2, "steps": 2, **options})


def ensemble(volume: Volume, **changes: object) -> Ensemble:
    """An ensemble that nobody computed."""
    rng = np.random.default_rng(0)
    samples = rng.random((3, *volume.data.shape), dtype=np.float32)
    values = {
        "volume": volume,
        "mean": samples.mean(0),
        "std": samples.std(0),
        "median": None,
        "samples": samples,
        "per_slice": np.zeros(volume.n_slices),
        "sigma_hat": 0.1,
        "info": {"target": "T2", "n": 3},
        **changes,
    }
    return Ensemble(**values)  # type: ignore[arg-type]


def test_an_ensemble_without_a_report_is_computed_throughout_and_asks_what_it_shows(tmp_path: Path) -> None:
    made = ensemble(Volume(head((20, 24, 5)), RAS), info={})
    np.testing.assert_array_equal(made.computed(), made.mean)
    with pytest.raises(MrtransError, match=r"info\['target'\] = 'T2'"):
        made.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made.info["target"] = "T2"
    assert made.save(tmp_path / "out")["mean"].is_file()


def test_48_orientations_of_one_head_give_the_same_answer(flow: Checkpoint) -> None:
    affine = np.diag([0.8, 1.3, 4, 1])
    original = nib.Nifti1Image(head((20, 24, 5)), affine)
    reference = run(Volume(head((20, 24, 5)), affine, Contrast.T1), flow, steps=1)
    straight = Orientation.from_affine(affine)
    assert reference.std[reference.mean > 0].min() > 0
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turned = original.as_reoriented(np.column_stack([order, signs]))
        answer = run(Volume(np.asarray(turned.dataobj), turned.affine, Contrast.T1), flow, steps=1)
        back = Orientation.from_affine(turned.affine)
        for got, wanted in ((answer.mean, reference.mean), (answer.std, reference.std)):
            np.testing.assert_array_equal(back.to_canonical(got), straight.to_canonical(wanted))
        per_slice = answer.per_slice[::-1] if back.flips[0] else answer.per_slice
        np.testing.assert_array_equal(per_slice, reference.per_slice)
        assert answer.sigma_hat == pytest.approx(reference.sigma_hat)


def inputs() -> dict[str, nib.Nifti1Image]:
    data = head(SHAPE)
    spoiled = data.copy()
    spoiled[:2], spoiled[-2:], spoiled[10, 12, 3], spoiled[11, 12, 3] = np.nan, -30, np.nan, np.inf
    integer = nib.Nifti1Image(data.astype(np.int16), OBLIQUE)
    integer.header.set_slope_inter(0.5, 3)
    units = nib.Nifti1Image(data, None)
    units.header.set_xyzt_units("mm", "sec")
    units.set_qform(OBLIQUE, 2)
    units.set_sform(None, 0)
    return {
        "float32": nib.Nifti1Image(data, RAS),
        "float64 oblique": nib.Nifti1Image(data.astype(np.float64), OBLIQUE),
        "int16 scaled": integer,
        "uint8": nib.Nifti1Image((data / 3).astype(np.uint8), OBLIQUE),
        "big-endian": nib.Nifti1Image(data, OBLIQUE, nib.Nifti1Header(endianness=">")),
        "spoiled": nib.Nifti1Image(spoiled, OBLIQUE),
        "trailing axis": nib.Nifti1Image(data[..., None], OBLIQUE),
        "qform only": units,
        "one slice": nib.Nifti1Image(data[:, :, 3:4], OBLIQUE),
        "sagittal stack": nib.Nifti1Image(data.transpose(2, 0, 1), OBLIQUE[:, [2, 0, 1, 3]]),
    }


@pytest.mark.parametrize("kind", inputs())
def test_answers_lie_on_the_input_s_grid_and_are_0_outside_the_head(
    kind: str, flow: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "a_T1w.nii.gz"
    inputs()[kind].to_filename(path)
    before = nib.load(path)
    volume = Volume.load(path)
    answer = run(volume, flow, keep_samples=True)
    written = answer.save(tmp_path / "out")
    assert {name: file.name for name, file in written.items()} == {
        "mean": "a_T1w_T2_mean.nii.gz",
        "std": "a_T1w_T2_std.nii.gz",
        "samples": "a_T1w_T2_samples.nii.gz",
        "json": "a_T1w_T2.json",
    }
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(f.name for f in written.values())
    outside = ~(np.nan_to_num(volume.data) > 0)
    dark = np.abs(np.nan_to_num(volume.data)) < 4 if kind == "int16 scaled" else outside
    for name in ("mean", "std", "samples"):
        after = nib.load(written[name])
        assert after.shape == volume.data.shape + ((2,) if name == "samples" else ())
        assert after.get_data_dtype() == np.float32
        np.testing.assert_array_equal(after.affine, before.affine)
        for code in ("qform_code", "sform_code"):
            assert after.header[code] == before.header[code]
        assert after.header.get_xyzt_units() == before.header.get_xyzt_units()
        assert after.header.get_zooms()[:3] == before.header.get_zooms()[:3]
        values = np.asarray(after.dataobj)
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
        assert values.any()
        if kind not in ("spoiled", "int16 scaled"):  # there, holes inside the head count as head
            assert not values[dark].any()
    np.testing.assert_array_equal(nib.load(written["mean"]).get_fdata(dtype=np.float32), answer.mean)
    if kind == "spoiled":
        assert not answer.mean[:2].any()
        assert not answer.mean[-2:].any()


def test_mean_std_median_and_sigma_hat_are_those_of_the_samples(flow: Checkpoint) -> None:
    volume = Volume(head(SHAPE), OBLIQUE, Contrast.T1)
    answer = run(volume, flow, n=5, keep_samples=True)
    assert answer.samples is not None
    assert answer.median is not None
    assert answer.samples.shape == (5, *SHAPE)
    np.testing.assert_allclose(answer.mean, answer.samples.mean(0), atol=1e-6)
    np.testing.assert_allclose(answer.std, answer.samples.std(0), atol=1e-6)
    np.testing.assert_array_equal(answer.median, np.median(answer.samples, axis=0))
    inside = volume.data > 0
    assert answer.sigma_hat == pytest.approx(answer.std[inside].mean(), rel=1e-5)
    for index in range(SHAPE[2]):
        mask = inside[:, :, index]
        if mask.any():
            assert answer.per_slice[index] == pytest.approx(answer.std[:, :, index][mask].mean(), rel=1e-5)
        else:
            assert np.isnan(answer.per_slice[index])
    assert np.isnan(answer.per_slice).any()


def test_a_deterministic_model_has_no_spread(direct: Checkpoint) -> None:
    answer = run(Volume(head(SHAPE), RAS, Contrast.T1), direct, n=5)
    assert not answer.std.any()
    assert np.isnan(answer.sigma_hat)
    assert np.isnan(answer.per_slice).all()
    assert answer.info["n"] == 1
    assert answer.info["sigma_hat"] is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sigma_hat(dtype: type) -> None:
    std = np.linspace(0, 1, 40**3, dtype=dtype).reshape(40, 40, 40)
    mask = std > 0.5
    assert sigma_hat(std, mask) == pytest.approx(np.mean(std[mask].astype(np.float64)))
    assert np.isnan(sigma_hat(std, np.zeros_like(mask)))


def strict(text: str) -> dict:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("family", ["flow", "direct"])
def test_the_report_is_strict_json(family: str, flow: Checkpoint, direct: Checkpoint, tmp_path: Path) -> None:
    answer = run(Volume(head(SHAPE), RAS, Contrast.T1, "Kopf_ü"), flow if family == "flow" else direct)
    path = answer.save(tmp_path)["json"]
    report = strict(path.read_text(encoding="utf-8"))
    assert report == answer.info
    assert path.name == "Kopf_ü_T2.json"


@pytest.mark.parametrize("bids", [False, True])
def test_saving_again_replaces_all_of_the_earlier_result(bids: bool, tmp_path: Path) -> None:
    """Its samples would else pass for those of the new one when that is opened again."""
    volume = Volume(head(SHAPE), RAS, Contrast.T1, "a")
    assert "samples" in ensemble(volume).save(tmp_path, bids=bids)
    (tmp_path / "a_T1_samples.nii.gz").touch()  # of another target
    written = ensemble(volume, mean=np.full(SHAPE, 0.25, np.float32), samples=None).save(tmp_path, bids=bids)
    assert not list(tmp_path.glob("*Samples*"))
    assert np.asarray(nib.load(written["mean"]).dataobj).max() == 0.25
    assert {path.name for path in tmp_path.iterdir()} == {*(p.name for p in written.values()), "a_T1_samples.nii.gz"}


def test_samples_are_written_only_if_kept(tmp_path: Path) -> None:
    written = ensemble(Volume(head(SHAPE), RAS, name="a"), samples=None).save(tmp_path)
    assert set(written) == {"mean", "std", "json"}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "^C"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_nothing_is_left_of_a_save_that_fails(
    at: int, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    write = nib.Nifti1Image.to_filename

    def fail(image: nib.Nifti1Image, path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            Path(path).write_bytes(b"half")
            raise failure
        write(image, path)

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", fail)
    wanted = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else MrtransError
    with pytest.raises(wanted) as caught:
        ensemble(Volume(head(SHAPE), RAS, name="a")).save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    if wanted is MrtransError:
        assert str(caught.value) == (
            f"Cannot write to '{tmp_path}' (No space left on device). Free some space and run it again; "
            "what was finished is kept."
        )


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MrtransError, match=r"^Cannot write to '.*' \(.*\)\. Choose another folder with -o\.$"):
            ensemble(Volume(head(SHAPE), RAS)).save(folder)
        with pytest.raises(MrtransError, match=r"Cannot write to '.*' \('.*file' is no folder\)\. Choose another"):
            check_folder(folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_asking_before_the_work_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "newer")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.chdir(tmp_path)
    check_folder(Path("relative"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(MrtransError, match=r"Cannot write to 'relative' \(no permission\)\. Choose another folder"):
        check_folder(Path("relative"))


def test_a_mask_decides_what_is_head(flow: Checkpoint) -> None:
    volume = Volume(head(SHAPE), RAS, Contrast.T1)
    mask: NDArray[np.bool_] = np.zeros(SHAPE, bool)
    mask[5:12, 6:14, 2:5] = True
    answer = run(volume, flow, mask=mask)
    inside = mask & (volume.data > 0)
    assert not answer.mean[~inside].any()
    assert not answer.std[~inside].any()
    assert (answer.std[inside] > 0).all()
    assert np.flatnonzero(np.isfinite(answer.per_slice)).tolist() == [2, 3, 4]


def test_round_trip_through_the_disk_loses_nothing(tmp_path: Path) -> None:
    volume = Volume.load(save_nifti(tmp_path / "a_T1w.nii.gz", head(SHAPE), OBLIQUE))
    before = ensemble(volume)
    written = before.save(tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(nib.load(written["std"]).dataobj), before.std)
    assert before.samples is not None
    on_disk = np.asarray(nib.load(written["samples"]).dataobj)
    np.testing.assert_array_equal(np.moveaxis(on_disk, -1, 0), before.samples)


def test_arrays_of_one_name_do_not_replace_each_other(flow: Checkpoint, tmp_path: Path) -> None:
    first, second = (Volume(head(SHAPE, seed), RAS, "T1") for seed in (0, 1))
    run(first, flow).save(tmp_path)
    before = (tmp_path / "volume_T2_mean.nii.gz").read_bytes()
    with pytest.raises(MrtransError, match="is the result of another input of that name"):
        run(second, flow).save(tmp_path)
    assert (tmp_path / "volume_T2_mean.nii.gz").read_bytes() == before
    run(first, flow, seed=1).save(tmp_path)  # of the same voxels: the newer one
    run(second, flow).save(tmp_path, overwrite=True)


def test_a_region_beside_the_slices_is_said_to_be_there(flow: Checkpoint) -> None:
    roi = np.zeros(SHAPE, bool)
    roi[8:12, 9:14, 2] = True
    with pytest.raises(MrtransError, match="The ROI does not touch slices 4:6; choose others"):
        run(Volume(head(SHAPE), RAS, "T1"), flow, roi=roi, slices=(4, 6))


def test_computed_is_what_was_asked_for() -> None:
    volume = Volume(head(SHAPE), RAS, name="sub-01", contrast="T1")
    asked = ensemble(volume, info={"slices": [2, 4], "roi": None})
    known = np.isin(np.arange(SHAPE[2]), [2, 4]) & np.ones(SHAPE, bool)
    np.testing.assert_array_equal(asked.computed(), np.where(known, asked.mean, np.nan))
    for only in (False, True):
        asked.info["roi"] = {"only": only}
        asked.mean[:5], asked.std[:4] = 0, 0  # a mean of 0 that its samples spread about is one
        there = known & ((np.arange(SHAPE[0]) >= 4)[:, None, None] | (not only))
        np.testing.assert_array_equal(np.isfinite(asked.computed()), there)


def test_a_volume_and_what_is_made_of_it_are_shown_in_a_line(flow: Checkpoint, direct: Checkpoint) -> None:
    volume = Volume(head(SHAPE), np.diag([1, 1, 3, 1]), "T1", "sub-01_T1w")
    told = "<Volume 'sub-01_T1w', T1, 20 x 24 x 7 voxels of 1 x 1 x 3 mm>"
    assert repr(volume) == told
    wide = Volume(np.tile(head(SHAPE), (52, 1, 1)), np.diag([0.2, 1, 3, 1]))
    assert repr(wide) == "<Volume 'volume', no contrast, 1040 x 24 x 7 voxels of 0.2 x 1 x 3 mm>"
    made = run(volume, flow)
    assert repr(made).startswith("<Ensemble T1→T2 by tiny-flow, n = 2, ") and repr(made).endswith(f" of {told}>")
    assert "σ̂" in repr(made) and "σ̂" not in repr(run(volume, direct))
    assert repr(ensemble(volume, info={})) == f"<Ensemble σ̂ 0.1, of {told}>"
