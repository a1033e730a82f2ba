from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import PAIRS, head, save_nifti, tiny_checkpoint
from napari_mrtrans import metrics
from napari_mrtrans.checkpoints.card import SamplerDefaults
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.evaluation.ensemble_figures import Answer, of_samples, one_of_each, strata, too_few_for
from napari_mrtrans.evaluation.held_out import NotMeasured
from napari_mrtrans.evaluation.measure import Sampling, View, _fitted
from napari_mrtrans.evaluation.tiles import NOTHING, Drawn, read_tile
from napari_mrtrans.evaluation.way import Way
from napari_mrtrans.metrics.comparison import MARGIN
from napari_mrtrans.metrics.coverage import LEVELS
from napari_mrtrans.models.drawing import mirrored
from napari_mrtrans.scan.contrasts import Contrast


def session(folder: Path, t1: NDArray, t2: NDArray, affine: NDArray | None = None) -> Session:
    files = {
        Contrast.T1: save_nifti(folder / "sub-01_T1w.nii.gz", t1),
        Contrast.T2: save_nifti(folder / "sub-01_T2w.nii.gz", t2, *([] if affine is None else [affine])),
    }
    return Session("sub-01", "", files, None)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A small head far from the edges of the volume."""
    t1 = np.pad(head((30, 36, 18)), ((20, 18), (16, 20), (2, 3)))
    return session(tmp_path_factory.mktemp("one"), t1, np.where(t1 > 0, 700 - t1, 0).astype(np.float32))


INDEPENDENT = Sampling(antithetic=False)


def view(one: Session, slab: int | None = None, sampling: Sampling = INDEPENDENT) -> View:
    return View(one, PAIRS[0], slab, lambda *_: None, sampling)


def answer(of: View) -> NDArray[np.float32]:
    noise = np.random.default_rng(1).normal(0, 0.05, of.opened.target.shape)
    return np.where(of.opened.both, np.clip(of.opened.target + noise, 0, 1), 0).astype(np.float32)


@pytest.mark.parametrize("slab", [None, 12])
def test_figures_of_the_volume_are_those_of_the_whole_slices(one: Session, slab: int | None) -> None:
    """They are computed from the head's box alone."""
    of = view(one, slab)
    prediction = answer(of)
    row = of.row("x", prediction[of.window])
    kept = (slice(None), slice(None), of.window[2])
    p, t = prediction[kept], of.opened.target[kept]
    assert p.size > 3 * np.prod([w.stop - w.start for w in of.window])
    assert row.slices == p.shape[2]
    assert row.ssim_volume == pytest.approx(metrics.ssim(p, t), abs=1e-9)
    assert row.psnr_volume == pytest.approx(metrics.psnr(p, t), abs=1e-4)
    assert row.bssim_volume == pytest.approx(metrics.bssim(p, t, axis=2), abs=1e-9)
    assert row.scssim == pytest.approx(metrics.scssim(p, t, axis=2), abs=1e-9)
    assert row.scssim_difference == pytest.approx(metrics.scssim_difference(p, t, axis=2), abs=1e-9)
    inside = of.opened.both[kept]
    assert row.psnr == pytest.approx(metrics.psnr(p, t, inside), abs=1e-4)
    assert row.ssim == pytest.approx(metrics.ssim(p, t, inside), abs=1e-9)
    assert row.bssim == pytest.approx(metrics.bssim(p, t, inside, axis=2), abs=1e-9)


def test_lpips_is_asked_for_whole_slices(one: Session) -> None:
    asked: list[tuple[NDArray, NDArray, int]] = []
    of = View(one, PAIRS[0], 12, lambda *given: asked.append(given) or 0.25)
    prediction = answer(of)
    assert of.row("x", prediction[of.window]).lpips == 0.25
    [(p, t, axis)] = asked
    assert axis == 0
    np.testing.assert_array_equal(p, prediction[:, :, of.window[2]].T)
    np.testing.assert_array_equal(t, (of.opened.target * of.opened.both)[:, :, of.window[2]].T)


def stored_otherwise(one: Session, folder: Path) -> Session:
    """The same images from the head downwards, from front to back, and with the axes in another order."""
    files = {}
    for contrast, path in one.files.items():
        image = nib.load(path)
        axes = nib.orientations.axcodes2ornt("PIL")
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), axes))
        files[contrast] = save_nifti(folder / path.name, np.asarray(turned.dataobj), turned.affine)
    return replace(one, files=files)


@pytest.mark.parametrize("slab", [None, 11, 12])
def test_slices_and_what_lpips_sees_do_not_depend_on_how_a_file_is_stored(
    one: Session, tmp_path: Path, slab: int | None
) -> None:
    seen: list[tuple[NDArray, NDArray, int]] = []
    for session in (one, stored_otherwise(one, tmp_path)):
        of = View(session, PAIRS[0], slab, lambda *given: seen.append(given) or 0.25)
        of.row("x", 0.9 * of.opened.target[of.window])
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)


def test_patches_of_the_two_sample_test_do_not_depend_on_it_either(one: Session, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", "direct")
    seen: list[tuple[NDArray, ...]] = []
    for session in (one, stored_otherwise(one, tmp_path)):
        of = View(session, PAIRS[0], 11, lambda *_: None, Sampling(n=1, device="cpu"))
        of.transformed(Way(checkpoint), NOTHING, lambda _: None, lambda *given: seen.append(given) or 0.5)
    for first, second in zip(*seen, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_samples_like_the_target_are_calibrated_and_normal(one: Session) -> None:
    """Target and samples are draws of one normal distribution around a known mean."""
    of = view(one)
    truth = of.opened.target[of.window]
    rng = np.random.default_rng(1)
    centre = np.clip(truth, 0.3, 0.7) + 0.03 * rng.standard_normal(truth.shape)
    samples = (centre + 0.03 * rng.standard_normal((20, *truth.shape))).astype(np.float32)
    of.opened.target[of.window] = centre + 0.03 * rng.standard_normal(truth.shape)
    row = of.row("x", samples.mean(axis=0), samples)
    assert row.coverage == pytest.approx(list(LEVELS), abs=0.02)
    assert row.calibration_error < 0.02
    assert row.normal_share == pytest.approx(0.95, abs=0.02)
    # The mean of n errs by σ sqrt(1 + 1/n), and its samples spread by c4(20) sqrt(19/20) σ = 0.962 σ.
    assert row.std_over_rmse == pytest.approx(0.962 / np.sqrt(1 + 1 / 20), abs=0.02)
    gains = np.subtract(row.psnr_of_n, row.psnr_of_n[0])
    expected = [10 * np.log10(2 / (1 + 1 / n)) for n in (1, 2, 5, 10, 20)]
    assert gains == pytest.approx(expected, abs=0.15)
    assert row.psnr_of_n[-1] == pytest.approx(row.psnr, abs=1e-3)
    assert row.ssim_of_n[-1] == pytest.approx(row.ssim, abs=1e-6)
    assert np.all(np.diff(row.ssim_of_n) > 0)
    # What is fair of the samples does not depend on their number: E|X - y| - E|X - X'| / 2 = σ / sqrt(π).
    assert row.crps == pytest.approx(0.03 / np.sqrt(np.pi), rel=0.02)
    assert row.mae == pytest.approx(0.03 * np.sqrt(1 + 1 / 20) * np.sqrt(2 / np.pi), rel=0.02)
    # Few coarse waves fit into so small a head: their power in a single truth varies.
    assert row.band_ratios[0] == pytest.approx(1, abs=0.35)
    assert row.band_ratios[1:] == pytest.approx([1, 1], abs=0.15)
    # The spread is the same everywhere: it says nothing of where the errors are.
    assert abs(row.rank_std) < 0.05
    assert row.sparsification == pytest.approx(1, abs=0.05)
    assert row.kappa1_of_n[-1] == pytest.approx(centre[of.opened.both[of.window]].mean(), abs=1e-3)
    assert row.kappa2_of_n[1:] == pytest.approx([0.03**2 * (1 - 1 / n) for n in (2, 5, 10, 20)], abs=2e-5)
    assert np.abs([*row.kappa3_of_n[1:], *row.kappa4_of_n[1:]]).max() < 1e-5
    # Of a single one nothing varies.
    assert [row.kappa2_of_n[0], row.kappa3_of_n[0], row.kappa4_of_n[0]] == [None] * 3


@pytest.mark.parametrize("contrast", [Contrast.T1, Contrast.T2])
def test_what_is_not_finite_in_a_scan_is_not_measured_and_is_told(
    one: Session, tmp_path: Path, contrast: Contrast
) -> None:
    image = nib.load(one.files[contrast])
    data = np.asarray(image.dataobj).copy()
    data[30:33, 32:35, 9:12] = np.nan
    hole = np.isnan(data)
    data[29, 32, 9], hole[29, 32, 9] = np.inf, True
    damaged = replace(one, files=one.files | {contrast: save_nifti(tmp_path / one.files[contrast].name, data)})
    whole, of = view(one), view(damaged)
    np.testing.assert_array_equal(of.opened.both, whole.opened.both & ~hole)
    assert whole.opened.both[hole].all()
    row = of.row("x", answer(of)[of.window])
    assert row.lacks == ["sub-01: T1 or T2 is NaN or infinite in 28 voxels of the head; they are left out."]
    assert whole.row("x", answer(whole)[whole.window]).lacks is None


@pytest.mark.parametrize("antithetic", [False, True])
def test_figures_that_so_few_samples_do_not_give_are_named(antithetic: bool) -> None:
    names = {"sparsification": "sparsification error", "rank_std": "std ~ |error|", "coverage": "coverage"}
    names |= {"calibration_error": "calibration error", "normal_share": "normal voxels", "crps": "CRPS"}
    names |= {"band_ratios": "power in bands"}
    rng, spacing = np.random.default_rng(0), (1.0, 1.0, 1.0)
    truth, drawn = rng.random((24, 24, 4)), rng.random((6, 24, 24, 4), dtype=np.float32)
    for n in range(1, 7):
        for by in ([""] * n, ["flow", "flow", "cgan", "cgan", "flow", "flow"][:n]):
            samples, inside = drawn[:n], np.ones(truth.shape, bool)
            given = Answer(samples.mean(0), samples, truth, truth, inside, 2, spacing, antithetic, None, by)
            found = of_samples(given, 0)
            lacking = {name for attribute, name in names.items() if found[attribute] is None}
            told = set(too_few_for(by, antithetic))
            assert told & {*names.values()} == lacking
            assert ("κ2 to κ4" in told) == (found["kappa2_of_n"][-1] is None)
            assert ("mean std / RMSE" in told) == (n == 1)


def test_of_antithetic_pairs_one_each_counts(one: Session) -> None:
    """Of pairs, the figures that need independent draws are those of every second sample."""
    paired, apart = view(one, sampling=Sampling()), view(one)
    truth = paired.opened.target[paired.window]
    half = np.float32(0.03) * np.random.default_rng(2).standard_normal((4, *truth.shape), dtype=np.float32)
    both = np.stack([half, -half], axis=1).reshape(8, *truth.shape) + truth
    row, other = paired.row("x", 0.9 * truth, both), apart.row("x", 0.9 * truth, both[::2])
    names = ("crps", "band_ratios", "normal_share", "psnr_of_n", "kappa2_of_n", "coverage")
    assert {name: getattr(row, name) for name in names} == {name: getattr(other, name) for name in names}
    assert len(row.psnr_of_n) == 2


def test_a_spread_that_knows_the_errors_is_found_out(one: Session) -> None:
    of = view(one)
    inside, truth = of.opened.both[of.window], of.opened.target[of.window].copy()
    rng = np.random.default_rng(3)
    error = np.where(inside, 0.1 * rng.random(truth.shape), 0).astype(np.float32)
    prediction = np.clip(truth, 0.3, 0.7)
    of.opened.target[of.window] = prediction + error
    samples = np.stack([prediction + error, prediction - error]).astype(np.float32)
    row = of.row("x", prediction, samples)
    assert row.rank_calibrated is None
    assert of.row("x", prediction, samples, calibrated=-error).rank_calibrated == pytest.approx(-1, abs=1e-6)
    assert row.rank_std == pytest.approx(1, abs=1e-6)
    assert row.sparsification == pytest.approx(0, abs=1e-6)
    assert row.rank_intensity < 0.2
    assert row.rank_gradient < 0.2
    # With the errors as the source, plain intensity tells them.
    of.opened.source[of.window] = error
    assert of.row("x", prediction).rank_intensity == pytest.approx(1, abs=1e-6)


def test_lesions_are_measured_inside_the_mask(tmp_path: Path) -> None:
    t1 = np.pad(head((30, 36, 18)), ((4, 4), (4, 4), (2, 3)))
    plain = session(tmp_path, t1, np.where(t1 > 0, 700 - t1, 0).astype(np.float32))
    mask = np.zeros(t1.shape, dtype=np.uint8)
    mask[15:22, 18:24, 9:13] = 1
    masked = replace(plain, mask=save_nifti(tmp_path / "mask.nii.gz", mask))
    of = view(masked)
    prediction = answer(of)[of.window]
    row = of.row("x", prediction)
    inside = (mask > 0)[of.window]
    expected = np.corrcoef(prediction[inside], of.opened.target[of.window][inside])[0, 1]
    assert row.lesion_r == pytest.approx(expected, abs=1e-6)
    assert row.lesion_sums[0] == inside.sum()
    assert view(plain).row("x", prediction).lesion_r is None


def test_the_fit_of_a_whole_head_loses_neither_gain_nor_offset() -> None:
    truth = np.random.default_rng(0).uniform(0.2, 0.9, 2_000_000).astype(np.float32).reshape(200, 100, 100)
    fitted = _fitted(0.8 * truth + np.float32(0.05), truth, np.ones(truth.shape, dtype=bool))
    np.testing.assert_allclose(fitted, truth, atol=1e-5)


def test_few_samples_leave_out_what_needs_more(one: Session) -> None:
    of = view(one)
    samples = np.stack([answer(of)[of.window]] * 2)
    row = of.row("x", samples[0], samples)
    assert row.normal_share is None
    assert len(row.psnr_of_n) == 2
    assert row.coverage is not None and row.std_over_rmse is not None
    alone = of.row("x", samples[0], samples[:1])
    assert alone.coverage is alone.calibration_error is None  # of one rank every model would pass for calibrated
    assert alone.std_over_rmse is alone.mean_std is alone.sparsification is None
    # Nor have samples that are all the same, however many they are.
    assert of.row("x", samples[0], np.repeat(samples[:1], 5, axis=0)).normal_share is None


def test_samples_of_either_side_are_strata_where_there_are_two_of_each(tmp_path: Path) -> None:
    """The CRPS and the powers weigh pairs of them as chance would."""
    sampler = SamplerDefaults(steps=3, n=4, mirror=True)
    made = {name: tiny_checkpoint(tmp_path / f"{name}.safetensors", "flow", sampler=sampler) for name in ("a", "b")}
    plain = tiny_checkpoint(tmp_path / "plain.safetensors", "flow")
    assert strata(plain, 20, antithetic=True) == ["plain"] * 20
    sides = strata(made["a"], 20, antithetic=True)
    assert [side.endswith(", mirrored") for side in sides] == [mirrored(k) for k in range(20)]
    assert strata(made["a"], 4, antithetic=True) == ["a"] * 4  # one independent sample of either side
    assert len({*strata(made["a"], 4, antithetic=False)}) == 2
    pool = make_pool("pool", [made["a"], made["b"]], tmp_path)
    assert {*strata(pool, 40, antithetic=True)} == {"a", "a, mirrored", "b", "b, mirrored"}
    assert {*strata(pool, 8, antithetic=True)} == {"a", "b"}


def test_the_box_keeps_a_margin_within_the_volume(one: Session) -> None:
    of = view(one)
    hit = np.flatnonzero(of.opened.both.any(axis=(1, 2)))
    assert (of.window[0].start, of.window[0].stop) == (hit[0] - MARGIN, hit[-1] + 1 + MARGIN)
    assert of.window[2].stop <= of.opened.both.shape[2]


def test_nan_in_the_answer_is_named(one: Session) -> None:
    of = view(one)
    prediction = answer(of)[of.window]
    prediction[tuple(n // 2 for n in prediction.shape)] = np.nan
    with pytest.raises(NotMeasured, match=r"bad on sub-01, T1→T2: the prediction holds NaN"):
        of.row("bad", prediction)


@pytest.mark.parametrize("other", ["shape", "place"])
def test_contrasts_on_different_grids_are_named(tmp_path: Path, other: str) -> None:
    t1 = head((40, 48, 20))
    moved = np.eye(4)
    moved[0, 3] = 5
    t2 = t1[:-1] if other == "shape" else t1
    with pytest.raises(NotMeasured, match="sub-01: T1 and T2 lie on different grids; bring them onto one"):
        _ = view(session(tmp_path, t1, t2, moved if other == "place" else None)).opened


def test_a_head_of_few_slices_is_named(tmp_path: Path) -> None:
    t1 = head((40, 48, 8))
    with pytest.raises(NotMeasured, match=r"the head spans \d slices; SSIM needs 11"):
        _ = view(session(tmp_path, t1, t1)).window


@pytest.mark.parametrize("family", ["flow", "direct"])
def test_a_checkpoint_s_row_comes_with_a_montage(one: Session, tmp_path: Path, family: str) -> None:
    import matplotlib.image

    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", family)
    told: list[float] = []
    path = tmp_path / "montages" / "a.png"
    drawn = Drawn(path, path.with_suffix(".npz"))
    assert drawn.missing
    row = view(one, 11, Sampling(n=3, steps=2, device="cpu")).transformed(
        Way(checkpoint), drawn, lambda u: told.append(u.done / u.total)
    )
    assert not drawn.missing
    tile = read_tile(path.with_suffix(".npz"))
    assert ("std" in tile) == (family == "flow")
    assert "lesion_mask" not in tile
    assert tile["mean"].shape == tile["target"].shape
    error = np.abs(tile["mean"].astype(float) - tile["target"])
    both = (tile["source"] > 0) & (tile["target"] > 0)
    np.testing.assert_allclose(tile["error"][both], error[both], atol=2e-3)
    assert told[-1] == 1
    assert (row.coverage is None) == (family == "direct")
    assert row.seconds_per_slice > 0
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 3 * picture.shape[0]
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.npz", "a.png"]


def test_single_samples_of_a_pool_are_of_all_its_members(one: Session) -> None:
    of = view(one)
    near = answer(of)[of.window]
    samples = np.stack([near, near, 0.5 * near, 0.5 * near]).astype(np.float32)  # two pairs
    row = of.row("x", near, samples, by=("a", "a", "b", "b"))
    alone = [of.row("x", near, samples[k : k + 2]) for k in (0, 2)]
    for name in ("sample_psnr", "fine_detail"):
        assert getattr(row, name) == pytest.approx(np.mean([getattr(other, name) for other in alone]), rel=1e-5)
    assert alone[0].sample_psnr - alone[1].sample_psnr > 1
    mixed = one_of_each(samples, of.axis, True)
    planes = np.moveaxis(mixed, of.axis, 0)
    for k, plane in enumerate(planes):
        np.testing.assert_array_equal(plane, np.moveaxis(samples[2 * (k % 2)], of.axis, 0)[k])


def test_a_lesion_is_shown_where_there_is_an_answer(tmp_path: Path) -> None:
    t1 = np.pad(head((30, 36, 30)), ((4, 4), (4, 4), (2, 3)))
    mask = np.zeros(t1.shape, dtype=np.uint8)
    mask[15:22, 18:24, 4:8] = 1  # most of it is below the slab
    mask[17:20, 20:22, 8:14] = 1
    plain = session(tmp_path, t1, np.where(t1 > 0, 700 - t1, 0).astype(np.float32))
    masked = replace(plain, mask=save_nifti(tmp_path / "mask.nii.gz", mask))
    drawn = Drawn(None, tmp_path / "tile.npz")
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", "direct")
    of = view(masked, 11, Sampling(n=1, device="cpu"))
    assert of.window[2].start > 8
    of.transformed(Way(checkpoint), drawn, lambda _: None)
    tile = read_tile(tmp_path / "tile.npz")
    assert tile["lesion_mask"].sum() == 6 and tile["lesion_mean"][tile["lesion_mask"] > 0].all()
