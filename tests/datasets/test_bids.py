from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import bids_folder, head, save_nifti
from napari_mrtrans.datasets.bids import Session, data_set, known_by, subject_of
from napari_mrtrans.datasets.readers import read_folders
from napari_mrtrans.datasets.sessions import anat_images
from napari_mrtrans.datasets.store import decode
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

T1, T2, PD, FLAIR = Contrast.T1, Contrast.T2, Contrast.PD, Contrast.FLAIR


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def read_bids(root: Path, folders: tuple[str, ...]) -> list[Session]:
    return [session for found in read_folders(root, folders, "bids") for session in found.sessions]


def test_subjects_with_and_without_sessions(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_FLAIR.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_T2w.nii",
        "sub-02/ses-2/anat/sub-02_ses-2_PDw.nii.gz",
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.json",
        "sub-01/anat/sub-01_T2starw.nii.gz",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        "sub-03/func/sub-03_task-rest_bold.nii.gz",
        "sub-04/anat/sub-04_MEGRE.nii.gz",
        "derivatives/masks/sub-02/ses-1/anat/sub-02_ses-1_label-lesion_mask.nii.gz",
        "derivatives/other/sub-09/anat/sub-09_T1w.nii.gz",
        "sourcedata/sub-08/anat/sub-08_T1w.nii.gz",
        "participants.tsv",
    )
    found = read_bids(tmp_path, (".",))
    assert [session.name for session in found] == ["sub-01", "sub-02/ses-1", "sub-02/ses-2"]
    assert [set(session.files) for session in found] == [{T1}, {T1, FLAIR}, {T2, PD}]
    assert [session.subject for session in found] == ["sub-01", "sub-02", "sub-02"]
    assert found[1].files[FLAIR] == tmp_path / "sub-02/ses-1/anat/sub-02_ses-1_FLAIR.nii.gz"
    assert [session.mask is not None for session in found] == [False, True, False]


def test_the_same_files_said_to_be_other_contrasts_are_another_session(tmp_path: Path) -> None:
    paths = [save_nifti(tmp_path / f"{name}.nii.gz", np.ones((4, 4, 4))) for name in "ab"]
    one, other = (
        Session("sub-1", "", dict(zip(kinds, paths, strict=True)), None)
        for kinds in ((Contrast.T1, Contrast.T2), (Contrast.T2, Contrast.T1))
    )
    assert one.stamp() != other.stamp()


def test_the_stamp_of_what_is_not_there_is_refused_unless_it_is_not_needed(tmp_path: Path) -> None:
    image = save_nifti(tmp_path / "T1.nii.gz", np.ones((4, 4, 4)))
    mask = tmp_path / "mask.nii.gz"
    mask.touch()
    session = Session("sub-1", "", {T1: image}, mask)
    whole = session.stamp()
    assert session.stamp(needed=()) == session.stamp(needed=session.files) == whole
    mask.unlink()
    mask.symlink_to(mask.name)  # a ring
    without = [whole[0], ["mask", str(mask), None, None]]
    assert session.stamp(needed=session.files) == session.stamp(needed=()) == without
    with pytest.raises(RecipeError, match=r"mask\.nii\.gz' of sub-1 cannot be read .* Put it back and run it again"):
        session.stamp()
    image.unlink()
    assert session.stamp(needed=())[0] == ["T1", str(image), None, None]
    with pytest.raises(RecipeError, match=r"T1\.nii\.gz' of sub-1 cannot be read"):
        session.stamp(needed=[T1])
    with pytest.raises(RecipeError, match="Put it back"):
        decode(session, 1.0, tmp_path / "cache")


def test_results_among_the_scans_are_no_scans(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "bids", 1)
    anat = root / "sub-00" / "anat"
    for name in ("desc-synthetic_PDw", "desc-syntheticStd_PDw"):
        save_nifti(anat / f"sub-00_{name}.nii.gz", np.ones((4, 4, 4)))
    (found,) = read_folders(root, (".",), "bids")
    assert set(found.sessions[0].files) == {Contrast.T1, Contrast.T2, Contrast.FLAIR}
    assert anat_images(anat, Contrast.PD) == [] and len(anat_images(anat, Contrast.T1)) == 1


def test_the_person_of_a_name() -> None:
    for name in ("a/sub-1", "a/sub-1/ses-2", "a/sub-1/plane-coronal", "a/sub-1/ses-2/plane-sagittal"):
        assert subject_of(name) == "a/sub-1"
    for name, folder, person in (
        ("sub-1/ses-2", ".", "sub-1"),
        ("study/ses-1/sub-1", "study/ses-1", "study/ses-1/sub-1"),
        ("study/ses-1/sub-1/ses-2/plane-coronal", "study/ses-1", "study/ses-1/sub-1"),
        ("raw/a/sub-1", "raw/a", "raw/a/sub-1"),
        ("sub-study/sub-1", "sub-study", "sub-study/sub-1"),
        ("./raw/a//sub-1", "raw/a", "raw/a/sub-1"),
    ):
        assert (data_set(name), subject_of(name)) == (folder, person)
    assert known_by("raw/a/sub-1", ["a/sub-1"]) and known_by("a/sub-1/ses-2", ["raw/a/sub-1"])
    assert known_by("sub-1", ["a/sub-1"]) and not known_by("b/sub-1", ["a/sub-1", "sub-11"])


def test_one_file_for_each_contrast_and_none_with_contrast_agent_of_a_part_or_a_mask(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"sub-00/anat/sub-00_part-{part}_T1w.nii.gz" for part in ("imag", "mag", "phase", "real")),
        "sub-00/anat/sub-00_acq-1_part-phase_run-1_T2w.nii.gz",
        "sub-01/anat/sub-01_run-2_T1w.nii.gz",
        "sub-01/anat/sub-01_run-1_T1w.nii.gz",
        "sub-01/anat/sub-01_ce-GADOLINIUM_run-0_T1w.nii.gz",
        "sub-01/anat/sub-01_FLAIR.nii.gz.part",
        "sub-01/anat/sub-01_BrainMask_T2w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-02/anat/sub-02_ce-gd_T1w.nii.gz",
        "sub-02/anat/sub-02_T2w.nii.gz",
        "sub-03/ses-post/anat/sub-03_ses-post_acq-gd_T1w.nii.gz",
        "sub-03/ses-post/anat/sub-03_ses-post_acq-mprage_T1w.nii.gz",
        "sub-03/ses-post/anat/sub-03_ses-post_acq-gd_T2w.nii.gz",
    )
    parts, first, second, third = read_bids(tmp_path, (".",))
    assert parts.files == {T1: tmp_path / "sub-00/anat/sub-00_part-mag_T1w.nii.gz"}
    assert first.files[T1].name == "sub-01_run-1_T1w.nii.gz"
    assert first.files[T2].name == "sub-01_T2w.nii.gz" and set(first.files) == {T1, T2}
    assert set(second.files) == {T2}
    assert third.files[T1].name == "sub-03_ses-post_acq-mprage_T1w.nii.gz" and set(third.files) == {T1, T2}


def test_several_folders_keep_their_subjects_apart(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/sub-01/anat/sub-01_T1w.nii.gz",
        "a/sub-01/anat/sub-01_T1w.nii.gz",
        "a/sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz",
        "a/derivatives/masks/sub-01/anat/sub-01_mask.nii.gz",
    )
    found = read_bids(tmp_path, ("a", "b"))
    assert [session.name for session in found] == ["a/sub-01", "a/sub-02/ses-1", "b/sub-01"]
    assert [session.mask is not None for session in found] == [True, False, False]
    assert [session.name for session in read_bids(tmp_path, ("b",))] == ["sub-01"]
    touch(tmp_path, "sub-07/anat/sub-07_T1w.nii.gz")
    assert [session.name for session in read_bids(tmp_path, (".", "b"))] == ["sub-07", "b/sub-01"]


def test_folders_are_called_the_same_however_they_are_typed() -> None:
    assert recipe(folders=["a/", "./b", "raw//c", "."]).data.folders == ("a", "b", "raw/c", ".")
    for folder in ("/data/a", "../a", "a/../../b", "C:/a"):
        with pytest.raises(ValueError, match="is not below --data; give the folder above it there"):
            recipe(folders=[folder])
    with pytest.raises(ValueError, match="one is named twice"):
        recipe(folders=["a", "./a/"])


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ((".",), "holds no bids data"),
        (("empty",), "holds no bids data"),
        (("gone",), "gone' does not exist; give the right one with --data."),
        (("file",), "file' is no folder; give the right one with --data."),
    ],
)
def test_folders_that_hold_nothing(folders: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    touch(tmp_path, "file", "empty/sub-01/func/x.nii.gz", "loose_T1w.nii.gz")
    with pytest.raises(RecipeError, match=expected) as caught:
        read_bids(tmp_path, folders)
    assert "\n" not in str(caught.value)


def recipe(**data: object) -> Recipe:
    document = {"name": "r", "model": "direct", "pairs": ["T1->T2", "T1->FLAIR"], "data": data}
    return Recipe.model_validate({**document, "stages": [{"steps": 1}]})


def test_sessions_without_a_complete_pair_are_left_out_and_named(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-02/anat/sub-02_T2w.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
        "sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz",
        "sub-03/ses-2/anat/sub-03_ses-2_T1w.nii.gz",
        "sub-03/ses-2/anat/sub-03_ses-2_T2w.nii.gz",
    )
    splits, skipped = open_splits(recipe(test=["sub-03"]), tmp_path, tmp_path / "cache")
    assert [s.name for s in splits["train"].sessions] == ["sub-01"]
    assert [s.name for s in splits["test"].sessions] == ["sub-03/ses-2"]
    assert splits["validation"].sessions == ()
    assert skipped == [
        "T2 of sub-01: no such image",
        "sub-02: has only T2, FLAIR; no pair of the recipe is complete",
        "sub-03/ses-1: has only T1; no pair of the recipe is complete",
        "FLAIR of sub-03/ses-2: no such image",
    ]


@pytest.mark.parametrize(
    "held_out", [{"test": ["sub-00"], "validation": ["sub-01"]}, {"holdout_fraction": 0.5}], ids=["named", "drawn"]
)
def test_somebody_must_be_left_to_train_on(held_out: dict, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No subject is left to train on"):
        open_splits(recipe(**held_out), bids_folder(tmp_path, 2, (24, 28, 12)), tmp_path / "cache")


def test_masks_where_none_are_read_are_told(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", 2, (12, 14, 6))
    save_nifti(root / "sub-00/anat/sub-00_label-lesion_mask.nii.gz", np.ones((12, 14, 6), np.uint8))
    (line,) = open_splits(recipe(exclude_masked=True), root, tmp_path)[1]
    assert line.startswith("no slice for data.exclude_masked: nobody who is trained on has an expert mask")
    assert open_splits(recipe(), root, tmp_path)[1] == []
    save_nifti(root / "derivatives/masks/sub-00/anat/sub-00_mask.nii.gz", np.ones((12, 14, 6), np.uint8))
    assert open_splits(recipe(exclude_masked=True), root, tmp_path)[1] == []


def test_decoded_sessions(tmp_path: Path) -> None:
    """Normalised, on one grid, with the slices that the mask marks; the second time from the cache."""
    root = bids_folder(tmp_path / "data", 1, (24, 28, 12))
    lesion = np.zeros((24, 28, 12), np.uint8)
    lesion[12, 14, 5:7] = 4
    save_nifti(root / "derivatives/masks/sub-00/anat/sub-00_label-lesion_mask.nii.gz", lesion)
    splits, _ = open_splits(recipe(), root, tmp_path / "cache")
    decoded = splits["train"][0]
    assert decoded.contrasts == [T1, T2, FLAIR]
    assert decoded.images.shape[:2] == (3, 12)
    assert decoded.images.shape[2] % 8 == decoded.images.shape[3] % 8 == 0
    assert np.flatnonzero(decoded.marked).tolist() == [5, 6]
    inside = head((24, 28, 12)) > 0
    np.testing.assert_array_equal(decoded.area, inside.sum(axis=(0, 1)))
    assert np.median(decoded.images[0][decoded.images[0] > 0]) == pytest.approx(1 / 2.0, abs=2e-3)
    files = sorted((tmp_path / "cache").iterdir())
    again, _ = open_splits(recipe(), root, tmp_path / "cache")
    np.testing.assert_array_equal(again["train"][0].images, decoded.images)
    assert sorted((tmp_path / "cache").iterdir()) == files


def test_contrasts_on_different_grids_are_refused(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", 1, (24, 28, 12))
    save_nifti(root / "sub-00/anat/sub-00_T2w.nii.gz", head((24, 28, 11)))
    splits, _ = open_splits(recipe(), root, tmp_path / "cache")
    with pytest.raises(
        RecipeError, match=r"sub-00: 'sub-00_T2w' and 'sub-00_T1w' lie on different grids; .* napari-mrtrans prepare"
    ):
        splits["train"][0]
