from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers import bids_folder
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.framing import Framing, extent
from napari_mrtrans.scan.intensity import HEADROOM
from napari_mrtrans.training.augment import change_curve, change_gamma, random_crop, slab_weights, smooth_field
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.recipe_parts import Augmentation, Stage
from napari_mrtrans.training.setup import open_splits
from napari_mrtrans.training.slices import TrainingSlices, batches, sockets_in_short_paths
from napari_mrtrans.training.validation import fixed_slices

STILL = Augmentation.model_validate(dict.fromkeys(Augmentation.model_fields, 0))


def recipe(**changes: object) -> Recipe:
    document = {
        "name": "tiny",
        "model": "direct",
        "pairs": ["T1->T2", "T2->FLAIR"],
        "data": {"test": ["sub-00"]},
        "stages": [{"steps": 6, "batch": 4, "crop": [32, 32]}],
        **changes,
    }
    return Recipe.model_validate(document)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    root = tmp_path_factory.mktemp("bids")
    splits, skipped = open_splits(recipe(), bids_folder(root / "data"), root / "cache")
    assert not skipped
    assert [session.subject for session in splits["test"].sessions] == ["sub-00"]
    return splits["train"]


def test_an_item_is_a_pure_function_of_seed_and_number(source: Source) -> None:
    first, second = (TrainingSlices(source, recipe(), recipe().stages[0], 0) for _ in range(2))
    for i in (0, 5, 23):
        for a, b in zip(first[i], second[i], strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.abs(first[0][0] - first[1][0]).max() > 0.01
    reseeded = TrainingSlices(source, recipe(seed=1), recipe().stages[0], 0)
    assert np.abs(first[0][0] - reseeded[0][0]).max() > 0.01


def test_a_run_on_draws_other_slices_of_the_same_images(tmp_path: Path) -> None:
    """`data.seed` stays while `seed` changes: what `restyle_from` needs, which knows its sessions by name."""
    drawn = {"test": ["sub-00"], "computed_pd": True, "phantom": {"subjects": 2, "resolution_mm": 8}}
    folder = bids_folder(tmp_path / "data")

    def trained_on(**changes: object) -> Source:
        asked = recipe(pairs=["T1->T2", "T1->PD"], **{"data": drawn, **changes})
        return open_splits(asked, folder, tmp_path / "cache")[0]["train"]

    before, after, others = trained_on(seed=3), trained_on(seed=7, data={**drawn, "seed": 3}), trained_on(seed=7)
    stamps = [[session.stamp() for session in source.sessions] for source in (before, after, others)]
    assert stamps[0] == stamps[1]
    assert all(first != other for first, other in zip(stamps[0], stamps[2], strict=True))
    np.testing.assert_array_equal(before[0].images, after[0].images)


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_late_continues_the_same_batches(source: Source, workers: int) -> None:
    dataset = TrainingSlices(source, recipe(), recipe().stages[0], 0)
    everything, late = list(batches(dataset, 0, 0)), list(batches(dataset, 4, workers))
    assert len(everything) == 6
    assert len(late) == 2
    for a, b in zip(everything[4:], late, strict=True):
        torch.testing.assert_close(a.source, b.source, rtol=0, atol=0)
        torch.testing.assert_close(a.target_contrast, b.target_contrast, rtol=0, atol=0)


def test_source_and_target_are_the_same_place(source: Source) -> None:
    """The made-up target is a known linear function of the source, so away from edges the pair lies on one line."""
    moved = STILL.model_copy(update={"rotate_deg": 20.0, "flip": 0.5})
    dataset = TrainingSlices(
        source, recipe(pairs=["T1->T2"], augmentation=moved), Stage(steps=2, batch=4, crop=(32, 32)), 0
    )
    for i in range(4):
        x, y, first, second, _ = dataset[i]
        assert x.shape == (1, 32, 32)
        x = x[0]
        deep = ndimage.minimum_filter(x, 7, mode="constant") > 0.1
        assert deep.sum() > 50
        assert np.corrcoef(x[deep], y[deep])[0, 1] < -0.99
        assert (first, second) == (0, 1)


def test_only_complete_pairs_are_drawn(source: Source) -> None:
    dataset = TrainingSlices(source, recipe(pairs=["T1->PD", "T2->FLAIR"]), recipe().stages[0], 0)
    drawn = [dataset[i][2:] for i in range(8)]
    assert {(first, second) for first, second, _ in drawn} == {(1, 3)}
    assert {session for *_, session in drawn} <= set(range(len(source.sessions)))


def test_crop_without_augmentation_is_the_image_itself() -> None:
    images = np.zeros((1, 40, 40), dtype=np.float32)
    images[0, 8:24, 10:26] = np.random.default_rng(0).random((16, 16)) + 0.1
    out = random_crop(images, Stage(steps=1, crop=(32, 32)), STILL, np.random.default_rng(1))
    assert out.shape == (1, 32, 32)
    # Subpixel placement interpolates, so the total is kept rather than every pixel.
    assert out.sum() == pytest.approx(images.sum(), rel=0.02)


def test_downsampling_averages(source: Source) -> None:
    flat = np.ones((2, 64, 64), dtype=np.float32)
    out = random_crop(flat, Stage(steps=1, crop=(16, 16), downsample=2), STILL, np.random.default_rng(0))
    assert out.shape == (2, 16, 16)
    np.testing.assert_allclose(out, 1, atol=1e-6)


def test_gamma_keeps_the_median_where_normalisation_put_it() -> None:
    middle = 1 / HEADROOM[Contrast.T2]
    image = np.array([0, middle, 0.9], dtype=np.float32)
    out = change_gamma(image, Contrast.T2, 0.5, 0.0, np.random.default_rng(0))
    assert out[0] == 0
    assert out[1] == pytest.approx(middle, rel=1e-5)
    assert abs(out[2] - 0.9) > 0.02


def test_bias_field_is_smooth_and_of_unit_size() -> None:
    field = smooth_field((64, 48), np.random.default_rng(0))
    assert field.std() == pytest.approx(1, rel=1e-3)
    assert np.abs(np.diff(field, axis=0)).max() < 0.3


def test_training_and_watching_in_other_planes(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", subjects=3, shape=(40, 48, 52))
    chosen = recipe(data={"test": ["sub-00"], "validation": ["sub-01"], "planes": ["axial", "sagittal"]})
    splits, _ = open_splits(chosen, root, tmp_path / "cache")
    assert splits["train"].names == ["sub-02", "sub-02/plane-sagittal"]
    assert splits["validation"].names == ["sub-01", "sub-01/plane-sagittal"]
    assert splits["test"].names == ["sub-00"]
    items = TrainingSlices(splits["train"], chosen, chosen.stages[0], 0)
    assert {items[i][4] for i in range(12)} == {0, 1}
    flipped, straight = (
        TrainingSlices(splits["train"], recipe(augmentation={"flip": flip}), chosen.stages[0], 0) for flip in (1, 0)
    )
    for i in range(12):  # nobody's nose is behind: only axial slices have a mirror image
        assert np.array_equal(flipped[i][0], straight[i][0]) is bool(flipped[i][4])
    assert recipe(data={"planes": ["axial"]}).sha256 == recipe(data={}).sha256 != chosen.sha256
    with pytest.raises(ValueError, match="planes names one twice"):
        recipe(data={"planes": ["axial", "axial"]})
    thick = bids_folder(tmp_path / "thick", subjects=3, affine=np.diag([1.0, 1, 3, 1]))
    with pytest.raises(RecipeError, match="or more planes"):
        open_splits(recipe(data={"test": ["sub-00"], "planes": ["coronal"]}), thick, tmp_path / "cache")


def test_marked_slices_can_be_left_out(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", subjects=1)
    mask = np.zeros((40, 48, 20), dtype=np.uint8)
    mask[20, 24, :10] = 1
    folder = root / "derivatives" / "masks" / "sub-00" / "anat"
    folder.mkdir(parents=True)
    nib.Nifti1Image(mask, np.eye(4)).to_filename(folder / "sub-00_label-lesion_mask.nii.gz")
    chosen = recipe(data={"exclude_masked": True})
    splits, _ = open_splits(chosen, root, tmp_path / "cache")
    from napari_mrtrans.training.slices import slice_weights

    pair = chosen.pairs[0]
    weights = slice_weights(splits["train"][0], chosen, pair)
    assert weights[:10].sum() == 0
    assert weights.sum() == pytest.approx(1)
    assert slice_weights(splits["train"][0], recipe(data={}), pair)[:10].sum() > 0


def test_fixed_slices_are_framed_and_not_augmented(source: Source) -> None:
    framing = Framing(rows=64, columns=48)
    chosen = fixed_slices(source, recipe().pairs, 5, (framing, 8))
    assert len(chosen) == 5
    for one in chosen:
        assert one.source.shape == (1, 64, 48) and one.target.shape == (64, 48)
        assert one.pair in recipe().pairs
        (low, high), _ = extent(one.source[0])
        assert abs(low - (64 - high)) <= 1
    # The noise depends on where a slice lies.
    assert len({one.position for one in chosen}) > 1
    assert all(one.position > 0 for one in chosen)


@pytest.mark.parametrize("first", [12, 16])
def test_slices_that_one_contrast_lacks_are_not_of_the_pair(tmp_path: Path, first: int) -> None:
    """A stack shorter than the head: neither learned from nor judged by, but for pairs that do not need it."""
    root = bids_folder(tmp_path / "bids", 1, (20, 24, 20))
    file = root / "sub-00" / "anat" / "sub-00_T2w.nii.gz"
    image = nib.load(file)
    cut = image.get_fdata(dtype=np.float32)
    cut[..., :first] = 0
    nib.Nifti1Image(cut, image.affine).to_filename(file)
    splits, _ = open_splits(recipe(data={}), root, tmp_path / "cache")
    short = splits["train"]
    decoded = short[0]
    t1_t2, t1_flair = Pair(Contrast.T1, Contrast.T2), Pair(Contrast.T1, Contrast.FLAIR)
    head = decoded.area > 0
    assert [*np.flatnonzero(decoded.shown(t1_t2) & head)] == [z for z in range(first, 20) if head[z]]
    assert decoded.shown(t1_flair)[head].all()
    slices = TrainingSlices(short, recipe(pairs=["T1->T2"]), recipe().stages[0], 0)
    assert all((slices[i][1] > 0).any() for i in range(200))
    frame = (Framing(rows=32, columns=32), 4)
    for one in fixed_slices(short, [t1_t2], 8, frame):
        assert one.target.any() and one.source.any()


def test_no_slice_left_is_said(source: Source) -> None:
    with pytest.raises(RecipeError, match=r"data\.min_area"):
        TrainingSlices(source, recipe(data={"min_area": 0.99}), recipe().stages[0], 0)[0]


def test_without_a_warp_the_crop_is_a_sharp_copy() -> None:
    image = np.random.default_rng(0).random((1, 40, 40)).astype(np.float32)
    out = random_crop(image, Stage(steps=1, crop=(24, 24)), Augmentation(warp=0, flip=0), np.random.default_rng(3))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image[0], 12), (24, 24))
    assert np.abs(windows - out[0]).max(axis=(2, 3)).min() < 1e-6


def test_a_slab_of_thin_slices_weighs_what_it_covers() -> None:
    np.testing.assert_allclose(slab_weights(1, 1), [1])
    np.testing.assert_allclose(slab_weights(2, 1), [0.25, 0.5, 0.25])
    np.testing.assert_allclose(slab_weights(3, 1), [1 / 3] * 3)
    np.testing.assert_allclose(slab_weights(3, 4), [1])


def test_thick_sources_are_means_of_their_neighbours(source: Source) -> None:
    chosen = recipe(augmentation={**dict.fromkeys(Augmentation.model_fields, 0), "source_slab_mm": 6.0})
    dataset = TrainingSlices(source, chosen, chosen.stages[0], 0)
    decoded = source[0]
    rng = np.random.default_rng(1)
    seen = [dataset._source(decoded, 0, [10], rng)[0] for _ in range(30)]
    plain = np.asarray(decoded.images[0, 10], dtype=np.float32)
    differing = [image for image in seen if not np.array_equal(image, plain)]
    assert 3 <= len(differing) <= 20
    stack = np.asarray(decoded.images[0, 7:14], dtype=np.float32)
    for image in differing:
        assert (image <= stack.max(0) + 1e-3).all() and not image[plain == 0].any()


def test_curves_keep_the_median_and_the_range() -> None:
    image = np.linspace(0, 1, 1001, dtype=np.float32)[None]
    middle = 1 / HEADROOM[Contrast.T2]
    falling = 0
    for seed in range(20):
        out = change_curve(image, Contrast.T2, 0.08, np.random.default_rng(seed))
        assert out.min() >= 0 and out.max() <= 1
        assert np.interp(middle, image[0], out[0]) == pytest.approx(middle, abs=0.01)
        wild = change_curve(image, Contrast.T2, 0.25, np.random.default_rng(seed))
        assert wild.min() >= 0 and wild.max() <= 1
        falling += bool((np.diff(wild[0]) < -1e-5).any())
    assert falling >= 5


def test_background_processes_meet_where_paths_are_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder, kept in ((Path("/tmp/short"), True), (tmp_path / ("long" * 30), False)):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        sockets_in_short_paths()
        assert tempfile.gettempdir() == (str(folder) if kept else "/tmp")
