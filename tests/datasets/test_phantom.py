from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import bids_folder
from napari_mrtrans.datasets import phantom
from napari_mrtrans.datasets.anatomy import Anatomy, draw_anatomy, random_field
from napari_mrtrans.datasets.phantom import LESIONS, Phantom, PhantomSubject, acquire, phantom_subject
from napari_mrtrans.datasets.phantom_options import PhantomOptions
from napari_mrtrans.datasets.store import decode
from napari_mrtrans.errors import MrtransError, RecipeError
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.catalogue import load_recipe
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits
from napari_mrtrans.training.slices import TrainingSlices

T1, T2, PD, FLAIR = Contrast
COARSE = PhantomOptions(subjects=3, resolution_mm=4, lesions=0, tumours=0, max_slice_mm=4)
SICK = COARSE.model_copy(update={"lesions": 0.5, "tumours": 0.5})


@cache
def subject(index: int, options: PhantomOptions = COARSE) -> PhantomSubject:
    return phantom_subject(0, index, options)


def anatomy(index: int, options: PhantomOptions = COARSE) -> Anatomy:
    """The one that the subject was made of."""
    return draw_anatomy(options, np.random.default_rng([0, index]).spawn(1)[0])


def median(image: NDArray, mask: NDArray[np.bool_], fractions: NDArray) -> float:
    """Of the voxels that are nearly all of one tissue."""
    return float(np.median(image[mask][fractions > 0.9]))


@pytest.mark.parametrize("index", range(4))
def test_volumes_are_stripped_finite_and_not_negative(index: int) -> None:
    found = subject(index, SICK)
    assert set(found.volumes) == set(Contrast)
    for volume in found.volumes.values():
        assert volume.shape == found.mask.shape == found.lesion.shape
        assert np.isfinite(volume).all()
        assert (volume[~found.mask] == 0).all()
        assert (volume[found.mask] > 0).all()
    litres = found.mask.sum() * 0.4**3 / 1000
    assert 1.2 < litres < 2.6
    assert not found.lesion[~found.mask].any()


def test_voxels_stay_where_they_are_in_mni_space() -> None:
    """The box around the brain differs between subjects, the middle of the brain hardly does."""
    corners, middles = [], []
    for index in range(4):
        found = subject(index)
        corners.append(found.affine[:3, 3])
        middles.append(found.affine[:3, :3] @ np.argwhere(found.mask).mean(axis=0) + found.affine[:3, 3])
    assert np.ptp(corners, axis=0).max() >= 4
    np.testing.assert_allclose(middles, np.broadcast_to([0, -20, 10], (4, 3)), atol=12)


def test_a_phantom_is_a_function_of_seed_and_index() -> None:
    again = phantom_subject(0, 1, SICK)
    np.testing.assert_array_equal(again.lesion, subject(1, SICK).lesion)
    for contrast, volume in again.volumes.items():
        np.testing.assert_array_equal(volume, subject(1, SICK).volumes[contrast])
    others = [subject(2, SICK), phantom_subject(1, 1, SICK)]
    assert all(other.mask.shape != again.mask.shape or (other.mask != again.mask).mean() > 0.01 for other in others)


def test_another_process_makes_the_same_phantom() -> None:
    """Python shuffles its sets differently in every process."""
    code = (
        "from napari_mrtrans.datasets.phantom import phantom_subject as make\n"
        "from napari_mrtrans.datasets.phantom_options import PhantomOptions\n"
        f"options = PhantomOptions.model_validate_json('''{SICK.model_dump_json()}''')\n"
        "print(*(v.sum(dtype=float) for v in make(0, 1, options).volumes.values()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    expected = [volume.sum(dtype=float) for volume in subject(1, SICK).volumes.values()]
    np.testing.assert_allclose([float(word) for word in out.stdout.split()], expected, rtol=1e-8)


@pytest.mark.parametrize("index", range(6))
def test_tissues_are_ordered_as_in_scans(index: int) -> None:
    found, made_of = subject(index), anatomy(index)
    np.testing.assert_array_equal(made_of.brain, found.mask)
    level = {
        contrast: [median(volume, found.mask, made_of.fractions[name]) for name in ("white", "cortex", "fluid")]
        for contrast, volume in found.volumes.items()
    }
    white, grey, fluid = level[T1]
    assert white > grey > fluid
    white, grey, fluid = level[T2]
    assert fluid > grey > white
    white, grey, fluid = level[FLAIR]
    assert fluid < 0.8 * min(white, grey)


@pytest.mark.parametrize("index", range(6))
def test_the_lesion_mask_is_the_lesion(index: int) -> None:
    found, made_of = subject(index, SICK), anatomy(index, SICK)
    for part in made_of.fractions.values():
        assert part.min() >= -1e-6
    np.testing.assert_allclose(sum(made_of.fractions.values()), 1, atol=1e-5)
    sick = sum(part for name, part in made_of.fractions.items() if name in LESIONS)
    np.testing.assert_array_equal(found.lesion[found.mask], sick > 0.5)
    bright = [
        np.median(found.volumes[T2][found.mask][chosen]) for chosen in (sick > 0.9, made_of.fractions["white"] > 0.9)
    ]
    assert bright[0] > 1.2 * bright[1]


def test_options_say_who_is_ill() -> None:
    assert not any(subject(index).lesion.any() for index in range(4))
    for options, names in (({"lesions": 1}, {"plaque"}), ({"tumours": 1}, {"oedema", "core"})):
        made_of = anatomy(0, COARSE.model_copy(update=options))
        assert made_of.fractions.keys() - anatomy(0).fractions.keys() == names


def test_anatomies_vary() -> None:
    """Ventricles and sulci are wide in some, and no two brains have one size."""
    fluid = [anatomy(index).fractions["fluid"].mean() for index in range(8)]
    assert max(fluid) > 1.3 * min(fluid)
    assert len({subject(index).mask.sum() for index in range(8)}) == 8


def test_random_field_is_as_wide_and_as_smooth_as_it_says() -> None:
    rng = np.random.default_rng(0)
    many = np.stack([random_field((9, 5, 2), 4.0, rng) for _ in range(5000)])
    np.testing.assert_allclose(many.std(axis=0), 1, atol=0.05)  # corners included
    # The autocorrelation of a Gaussian-smoothed field at distance d is exp(-d^2 / 4 scale^2).
    assert (many[:, 0] * many[:, 8]).mean() == pytest.approx(np.exp(-1), abs=0.05)


def test_noise_is_rician() -> None:
    """Where there is no signal the magnitude is Rayleigh distributed, with mean sqrt(pi / 2) sigma."""
    brain = np.ones((40, 40, 20), dtype=bool)
    zero, ten = (np.full(brain.shape, level, dtype=np.float32) for level in (0, 10))
    noise = acquire(zero, brain, 1.0, 0.5, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.01)
    assert noise.std() == pytest.approx(0.5 * np.sqrt(2 - np.pi / 2), rel=0.02)
    image = acquire(ten, brain, 1.0, 0.5, np.random.default_rng(0))
    assert image.std() == pytest.approx(0.5, rel=0.02)
    assert (image**2).mean() == pytest.approx(100 + 2 * 0.25, rel=0.002)


def test_thin_slices_change_nothing_and_thick_ones_blur_along_z_only() -> None:
    rng = np.random.default_rng(0)
    brain = np.ones((6, 7, 60), dtype=bool)
    image = np.broadcast_to(rng.random(60, dtype=np.float32) + 1, brain.shape)
    np.testing.assert_allclose(acquire(image, brain, 1.0, 0.0, rng), image, rtol=1e-5)
    thick = acquire(image, brain, 5.0, 0.0, rng)
    assert np.ptp(thick, axis=(0, 1)).max() < 1e-5
    assert np.diff(thick[0, 0]).std() < 0.3 * np.diff(image[0, 0]).std()
    assert thick.mean() == pytest.approx(image.mean(), rel=0.03)
    flat = np.where(np.arange(60) > 20, 1, 0) * np.ones(brain.shape, dtype=np.float32)
    np.testing.assert_allclose(acquire(flat, flat > 0, 5.0, 0.0, rng), flat, atol=1e-5)  # air does not dim the rim


def recipe(**data: object) -> Recipe:
    document = {"name": "r", "model": "direct", "pairs": ["T1->T2", "T1->PD"], "data": data}
    return Recipe.model_validate({**document, "stages": [{"steps": 50, "batch": 8, "crop": [16, 16]}]})


def test_decoded_once_for_each_seed_index_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = decode(Phantom(0, 1, SICK), 4.0, tmp_path)
    assert first.contrasts == list(Contrast)
    lesion = subject(1, SICK).lesion
    np.testing.assert_array_equal(first.marked, lesion.any(axis=(0, 1)))
    inside = first.images[0] > 0
    assert np.median(first.images[0][inside]) == pytest.approx(0.5, abs=0.01)
    made = []
    monkeypatch.setattr("napari_mrtrans.datasets.phantom.phantom_subject", lambda *a: made.append(a) or subject(0))
    decode(Phantom(0, 1, SICK.model_copy(update={"subjects": 9, "share": 0.1})), 4.0, tmp_path)
    assert not made
    for other in (Phantom(1, 1, SICK), Phantom(0, 2, SICK), Phantom(0, 1, COARSE)):
        decode(other, 4.0, tmp_path)
    assert [(seed, index) for seed, index, *_ in made] == [(1, 1), (0, 2), (0, 1)]


def test_phantoms_alone_need_no_folder_and_hold_nobody_out(tmp_path: Path) -> None:
    chosen = recipe(phantom={"subjects": 3}, test=["sub-00"], holdout_fraction=0.5)
    splits, skipped = open_splits(chosen, None, tmp_path)
    assert [session.name for session in splits["train"].sessions] == [f"sub-phantom0x000{i}" for i in range(3)]
    assert not splits["validation"].sessions
    assert not splits["test"].sessions
    assert not skipped
    assert len(open_splits(recipe(), None, tmp_path)[0]["train"].sessions) == 40


def test_phantoms_have_no_slices_from_the_side(tmp_path: Path) -> None:
    for chosen in (recipe(phantom={"subjects": 1}, planes=["coronal"]), recipe(planes=["coronal", "sagittal"])):
        with pytest.raises(RecipeError, match="phantoms are seen in axial slices only; add axial, or leave phantoms"):
            open_splits(chosen, None, tmp_path)
    assert open_splits(recipe(phantom={"subjects": 1}, planes=["coronal", "axial"]), None, tmp_path)[0]["train"].names


def test_mixed_with_scans(tmp_path: Path) -> None:
    """Phantoms are trained on only; of the slices they give their share, and all of PD, which the folder lacks."""
    root = bids_folder(tmp_path / "data", 4, (24, 28, 12))
    phantom = COARSE.model_dump() | {"share": 0.3}
    chosen = recipe(phantom=phantom, holdout_fraction=0.25, spacing_mm=4)
    splits, _ = open_splits(chosen, root, tmp_path / "cache")
    assert {part: len(source.sessions) for part, source in splits.items()} == {"train": 5, "validation": 1, "test": 1}
    assert not any(isinstance(s, Phantom) for part in ("validation", "test") for s in splits[part].sessions)
    items = TrainingSlices(splits["train"], chosen, chosen.stages[0], 0)
    drawn = [items[i][2:] for i in range(400)]
    simulated = [isinstance(splits["train"].sessions[session], Phantom) for *_, session in drawn]
    assert np.mean(simulated) == pytest.approx(0.3, abs=0.07)
    by_pair = {target: {s for (_, t, _), s in zip(drawn, simulated, strict=True) if t == target} for target in (1, 2)}
    assert by_pair == {1: {True, False}, 2: {True}}


def test_scans_without_a_complete_pair_leave_the_phantoms(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", 2, (24, 28, 12))
    chosen = recipe(phantom=COARSE.model_dump()).model_copy(update={"pairs": (Pair.parse("T1->PD"),)})
    splits, skipped = open_splits(chosen, root, tmp_path / "cache")
    assert len(skipped) == 2
    assert all(isinstance(session, Phantom) for session in splits["train"].sessions)
    misnamed = root / "sub-noname" / "anat" / "t1.nii.gz"
    misnamed.parent.mkdir(parents=True)
    misnamed.touch()
    with pytest.raises(RecipeError, match="No session can be used, such as sub-00: has only T1, T2, FLAIR"):
        open_splits(chosen.model_copy(update={"data": recipe().data}), root, tmp_path / "cache")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.phantom.subjects=0", "data.phantom.subjects"),
        ("data.phantom.share=1.5", "data.phantom.share"),
        ("data.phantom.lesion=0.3", "data.phantom.lesion: Extra inputs"),
        ("data.phantom={lesions: 0.6, tumours: 0.5}", "lesions and tumours together exceed 1"),
        ("data.phantom=yes", "data.phantom"),
    ],
)
def test_bad_options_are_one_line(override: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected) as caught:
        load_recipe("own-direct", [override])
    assert "\n" not in str(caught.value)


def test_without_nilearn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(MrtransError, match="pip install nilearn"):
        phantom_subject(0, 0, PhantomOptions(resolution_mm=7))


def test_what_is_inverted_adds_with_its_sign_and_the_magnitude_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    acquired = phantom.acquire

    def acquire(image: np.ndarray, *more: Any) -> np.ndarray:
        seen.append(image.copy())
        return acquired(image, *more)

    monkeypatch.setattr(phantom, "acquire", acquire)
    made = phantom_subject(4, 3, PhantomOptions(resolution_mm=4))
    flair = seen[list(made.volumes).index(Contrast.FLAIR)]
    assert flair.min() < 0 < flair.max()
    assert min(volume.min() for volume in made.volumes.values()) >= 0
    inside = np.ones((4, 4, 6), bool)
    mixed = np.where(np.arange(6) % 2, 1.0, -0.6).astype(np.float32) * inside
    thick = phantom.acquire(mixed, inside, 2.0, 0.0, FirstPlace())
    assert thick.mean() < 0.4 * np.abs(mixed).mean()
    assert phantom.acquire(mixed, inside, 1.0, 0.0, FirstPlace()) == pytest.approx(np.abs(mixed))


class FirstPlace:
    """In place of a generator: slices begin with the first voxel, and there is no noise."""

    def random(self) -> float:
        return 0.0

    def standard_normal(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.zeros(shape, dtype)
