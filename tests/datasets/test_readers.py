"""Each data set under its own file names, in miniature, and the real ones where they are at hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from helpers import bids_folder, head, save_nifti, tiny_checkpoint
from napari_mrtrans.datasets import ixi
from napari_mrtrans.datasets.raw import sessions_to_prepare
from napari_mrtrans.datasets.readers import AUTO, READERS, Found, read_folder, read_folders, recognise
from napari_mrtrans.datasets.splits import read_splits, write_splits
from napari_mrtrans.errors import MrtransError, RecipeError
from napari_mrtrans.evaluation.held_out import PairedVolumes, known_sessions, session_names
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.catalogue import load_recipe
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.recipe_parts import DataOptions
from napari_mrtrans.training.setup import open_splits

T1, T2, PD, FLAIR = Contrast.T1, Contrast.T2, Contrast.PD, Contrast.FLAIR
SCANS = Path(__file__).resolve().parents[3] / "shared" / "data"
SHAPE = (12, 12, 6)


def fill(root: Path, *names: str) -> Path:
    """Tiny scans under these names."""
    for name in names:
        save_nifti(root / name, head(SHAPE))
    return root


def summary(found: Found, root: Path) -> dict[str, dict[str, str]]:
    """Session -> what it shows -> path."""
    return {
        session.name: {contrast.value: path.relative_to(root).as_posix() for contrast, path in session.files.items()}
        | ({"mask": session.mask.relative_to(root).as_posix()} if session.mask else {})
        for session in found.sessions
    }


def recipe(*pairs: str, **data: object) -> Recipe:
    document = {"name": "r", "model": "direct", "pairs": list(pairs) or ["T1->T2"], "data": data}
    return Recipe.model_validate({**document, "stages": [{"steps": 1}]})


IXI = {
    "one folder": [f"IXI{name}.nii.gz" for name in ("002-Guys-0828-T1", "002-Guys-0828-T2", "002-Guys-0828-PD")],
    "archives": [f"IXI-{c}/IXI002-Guys-0828-{c}.nii.gz" for c in ("T1", "T2", "PD")],
    "BIDS": [f"sub-IXI002Guys0828/anat/sub-IXI002Guys0828_{c}w.nii.gz" for c in ("T1", "T2", "PD")],
    "prepared": [f"sub-IXI002Guys0828/anat/sub-IXI002Guys0828_desc-preproc_{c}w.nii.gz" for c in ("T1", "T2", "PD")],
}


@pytest.mark.parametrize("layout", IXI)
def test_ixi(layout: str, tmp_path: Path) -> None:
    root = fill(tmp_path, *IXI[layout], "IXI012-HH-1211-T1.nii.gz", "IXI012-HH-1211-MRA.nii.gz")
    fill(root, "IXI035-IOP-0873-T2.nii.gz", "IXI035-IOP-0873-DTI-00.nii.gz", "IXI099-IOP-0001-MRA.nii.gz")
    fill(root, "sub-IXI002Guys0828/anat/sub-IXI002Guys0828_desc-brain_mask.nii.gz")
    flair = "sub-IXI035IOP0873/anat/sub-IXI035IOP0873_FLAIR.nii.gz"  # of another source: IXI has none
    fill(root, flair)
    found = read_folder(root)
    assert summary(found, root) == {
        "sub-IXI002Guys0828": dict(zip(("T1", "T2", "PD"), IXI[layout], strict=True)),
        "sub-IXI012HH1211": {"T1": "IXI012-HH-1211-T1.nii.gz"},
        "sub-IXI035IOP0873": {"T2": "IXI035-IOP-0873-T2.nii.gz", "FLAIR": flair},
    }
    assert [session.site for session in found.sessions] == ["Guys", "HH", "IOP"]
    assert found.skipped == ["sub-IXI099IOP0001: none of its images is T1, T2, PD or FLAIR"]
    assert found.shares == ixi.SHARES


@pytest.mark.parametrize(
    "folder", ["sub-OAS30001/ses-d0129/anat/", "OAS30001_MR_d0129/anat1/", "OAS30001_MR_d0129/anat1/NIFTI/"]
)
def test_oasis(folder: str, tmp_path: Path) -> None:
    root = fill(
        tmp_path,
        f"{folder}sub-OAS30001_ses-d0129_run-02_T1w.nii.gz",
        f"{folder}sub-OAS30001_ses-d0129_run-01_T1w.nii.gz",
        f"{folder}sub-OAS30001_ses-d0129_acq-TSE_T2w.nii.gz",
        f"{folder}sub-OAS30001_ses-d0129_T2w.nii.gz",
        f"{folder}sub-OAS30001_ses-d0129_T2star.nii.gz",
        f"{folder}sub-OAS30001_ses-d0129_space-MNI_desc-brain_T1w.nii.gz",
        "sub-OAS30001/ses-d2430/anat/sub-OAS30001_sess-d2430_FLAIR.nii.gz",
        "sub-OAS30001/ses-d2430/anat/sub-OAS30001_sess-d2430_acq-TSE_T2w.nii.gz",
        "sub-OAS30001/ses-d2430/anat/sub-OAS30001_sess-d2430_run-01_T2w.nii.gz",
        "OAS30001_MR_d3000/func1/sub-OAS30001_ses-d3000_task-rest_bold.nii.gz",
    )
    found = read_folder(root)
    assert summary(found, root) == {
        "sub-OAS30001/ses-d0129": {
            "T1": f"{folder}sub-OAS30001_ses-d0129_run-01_T1w.nii.gz",
            "T2": f"{folder}sub-OAS30001_ses-d0129_T2w.nii.gz",
        },
        "sub-OAS30001/ses-d2430": {
            "FLAIR": "sub-OAS30001/ses-d2430/anat/sub-OAS30001_sess-d2430_FLAIR.nii.gz",
            "T2": "sub-OAS30001/ses-d2430/anat/sub-OAS30001_sess-d2430_run-01_T2w.nii.gz",
        },
    }
    nothing, *left_out = found.skipped
    assert nothing == "sub-OAS30001/ses-d3000: none of its images is T1, T2, PD or FLAIR"
    start = "sub-OAS30001/ses-d0129: sub-OAS30001_ses-d0129_"
    first = "left out, because 'sub-OAS30001_ses-d0129_"
    assert [line.partition(" is of the same contrast")[0] for line in left_out] == [
        f"{start}run-02_T1w.nii.gz {first}run-01_T1w.nii.gz'",
        f"{start}acq-TSE_T2w.nii.gz {first}T2w.nii.gz'",
        "sub-OAS30001/ses-d2430: sub-OAS30001_sess-d2430_acq-TSE_T2w.nii.gz left out, because "
        "'sub-OAS30001_sess-d2430_run-01_T2w.nii.gz'",
    ]


@pytest.mark.parametrize("subject", ["sub-OAS30001", "sub-01"])
def test_prepared_sessions(subject: str, tmp_path: Path) -> None:
    """A brain mask is neither a contrast nor the experts' mask."""
    stem = f"{subject}/ses-d0129/anat/{subject}_ses-d0129_desc-"
    root = fill(tmp_path, *(f"{stem}{name}.nii.gz" for name in ("preproc_T1w", "preproc_FLAIR", "brain_mask")))
    found = read_folder(root)
    assert summary(found, root) == {
        f"{subject}/ses-d0129": {c: f"{stem}preproc_{s}.nii.gz" for c, s in (("T1", "T1w"), ("FLAIR", "FLAIR"))}
    }
    assert found.skipped == []


OASIS_DAY = "sub-OAS30001/ses-d0129/anat/sub-OAS30001_ses-d0129"


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        (f"{OASIS_DAY}_run-01_{{}}w", OASIS_DAY),
        ("IXI-{}/IXI002-Guys-0828-{}", "sub-IXI002Guys0828/anat/sub-IXI002Guys0828"),
        ("sub-01/anat/sub-01_run-01_{}w", "sub-01/anat/sub-01"),
    ],
)
def test_prepared_images_are_not_paired_with_raw_ones(raw: str, start: str, tmp_path: Path) -> None:
    """They lie in the same tree, and lie on other grids."""
    at = "" if start.startswith("sub-01") else "derivatives/prepared/"
    prepared = [f"{at}{start}_desc-preproc_{suffix}.nii.gz" for suffix in ("T1w", "FLAIR")]
    names = [f"{raw.replace('{}', contrast)}.nii.gz" for contrast in ("T1", "T2")]
    found = read_folder(fill(tmp_path, *prepared, *names))
    assert [*summary(found, tmp_path).values()] == [dict(zip(("T1", "T2"), names, strict=True))]
    (line,) = found.skipped
    assert f"{Path(prepared[1]).name} left out, because raw and prepared images do not mix and '" in line
    for name in names:
        (tmp_path / name).unlink()
    assert [*summary(read_folder(tmp_path), tmp_path).values()] == [dict(zip(("T1", "FLAIR"), prepared, strict=True))]


def test_of_several_masks_that_of_lesions_is_taken(tmp_path: Path) -> None:
    start = "sub-01/anat/sub-01"
    masks = [f"derivatives/masks/{start}_{name}_mask.nii.gz" for name in ("desc-brain", "desc-rater", "label-lesion")]
    fill(tmp_path, f"{start}_T1w.nii.gz", masks[0])
    (session,) = read_folder(tmp_path).sessions
    assert session.mask is None
    fill(tmp_path, *masks)
    found = read_folder(tmp_path)
    assert summary(found, tmp_path) == {"sub-01": {"T1": f"{start}_T1w.nii.gz", "mask": masks[2]}}
    assert found.skipped == [
        "sub-01: sub-01_desc-rater_mask.nii.gz left out, because 'sub-01_label-lesion_mask.nii.gz' is its mask"
    ]


def test_msseg_archive(tmp_path: Path) -> None:
    """Preprocessed before raw, never both; one patient's number at two centres is two people."""
    ready, raw = "Training/Center_01/Patient_01", "Testing/Center_03/Patient_01"
    root = fill(
        tmp_path,
        *(f"{ready}/Preprocessed_Data/{c}_preprocessed.nii.gz" for c in ("T1", "T2", "FLAIR", "GADO")),
        *(f"{ready}/Raw_Data/{c}.nii.gz" for c in ("T1", "T2", "DP", "FLAIR", "GADO")),
        *(f"{ready}/Masks/{m}.nii.gz" for m in ("Brain_Mask", "Consensus", "ManualSegmentation_1")),
        *(f"{raw}/Raw_Data/{c}.nii.gz" for c in ("T1", "DP", "GADO")),
        "elsewhere/PATIENTX/Preprocessed_Data/DP_preprocessed.nii.gz",
        "elsewhere/PATIENTX/Masks/GroundTruth.nii.gz",
        "elsewhere/PATIENTX/Masks/notes.nii.gz",
    )
    found = read_folder(root)
    assert summary(found, root) == {
        "sub-PATIENTX": {
            "PD": "elsewhere/PATIENTX/Preprocessed_Data/DP_preprocessed.nii.gz",
            "mask": "elsewhere/PATIENTX/Masks/GroundTruth.nii.gz",
        },
        "sub-TestingCenter03Patient01": {"T1": f"{raw}/Raw_Data/T1.nii.gz", "PD": f"{raw}/Raw_Data/DP.nii.gz"},
        "sub-TrainingCenter01Patient01": {
            **{c: f"{ready}/Preprocessed_Data/{c}_preprocessed.nii.gz" for c in ("T1", "T2", "FLAIR")},
            "mask": f"{ready}/Masks/Consensus.nii.gz",
        },
    }
    assert [session.site for session in found.sessions] == ["", "Center_03", "Center_01"]
    mixed, line = found.skipped
    assert mixed == (
        "sub-TrainingCenter01Patient01: DP.nii.gz left out, because raw and prepared images do not mix and "
        "'T1_preprocessed.nii.gz' is taken."
    )
    assert re.fullmatch(r"1 file in '.*' that is not named as mslesion is, such as 'elsewhere/.*notes.nii.gz'", line)


def test_msseg_challenge(tmp_path: Path) -> None:
    """The 2016 folders: one person, whether preprocessed and raw images lie together or not."""
    raw = "Unprocessed training dataset/TrainingDataset_MSSEG"
    root = fill(
        tmp_path,
        *(f"{raw}/01016SACH/{c}.nii.gz" for c in ("3DT1", "T2", "DP", "3DFLAIR", "3DT1GADO", "Consensus")),
        *(f"{raw}/07001MOEL/{c}.nii.gz" for c in ("3DT1", "T2", "3DFLAIR", "3DT1GADO", "ManualSegmentation_7")),
        *(f"Pre-processed training dataset/01016SACH/{c}_preprocessed.nii.gz" for c in ("T1", "DP", "GADO")),
    )
    found = read_folder(root)
    assert summary(found, root) == {
        "sub-01016SACH": {
            "T1": "Pre-processed training dataset/01016SACH/T1_preprocessed.nii.gz",
            "PD": "Pre-processed training dataset/01016SACH/DP_preprocessed.nii.gz",
            "mask": f"{raw}/01016SACH/Consensus.nii.gz",
        },
        "sub-07001MOEL": {
            "T1": f"{raw}/07001MOEL/3DT1.nii.gz",
            "T2": f"{raw}/07001MOEL/T2.nii.gz",
            "FLAIR": f"{raw}/07001MOEL/3DFLAIR.nii.gz",
        },
    }
    assert [session.site for session in found.sessions] == ["01", "07"]
    assert found.skipped == [
        "sub-01016SACH: 3DFLAIR.nii.gz, T2.nii.gz left out, because raw and prepared images do not mix and "
        "'T1_preprocessed.nii.gz' is taken."
    ]


def test_3d_mr_ms(tmp_path: Path) -> None:
    root = fill(
        tmp_path,
        *(f"patient01-05/patient01/patient01_{c}.nii.gz" for c in ("T1W", "T1WKS", "T2W", "consensus_gt", "brainmask")),
        *(f"patient01-05/patient01/raw/patient01_{c}.nii.gz" for c in ("T1W", "T2W", "FLAIR")),
        *(f"patient01-05/patient02/raw/patient02_{c}.nii.gz" for c in ("T1W", "FLAIR")),
        *(f"coregistered/patient03/{c}.nii.gz" for c in ("T1W", "T2W", "FLAIR", "consensus_gt")),
    )
    found = read_folder(root)
    assert summary(found, root) == {
        "sub-patient01": {
            "T1": "patient01-05/patient01/patient01_T1W.nii.gz",
            "T2": "patient01-05/patient01/patient01_T2W.nii.gz",
            "mask": "patient01-05/patient01/patient01_consensus_gt.nii.gz",
        },
        "sub-patient02": {
            "T1": "patient01-05/patient02/raw/patient02_T1W.nii.gz",
            "FLAIR": "patient01-05/patient02/raw/patient02_FLAIR.nii.gz",
        },
        "sub-patient03": {
            **{c: f"coregistered/patient03/{c}W.nii.gz" for c in ("T1", "T2")},
            "FLAIR": "coregistered/patient03/FLAIR.nii.gz",
            "mask": "coregistered/patient03/consensus_gt.nii.gz",
        },
    }


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Brats18_TCIA02_171_1_", "sub-Brats18TCIA02171/ses-1"),
        ("Brats18_2013_10_1_", "sub-Brats18201310/ses-1"),
        ("BraTS19_CBICA_AAB_1_", "sub-BraTS19CBICAAAB/ses-1"),
        ("BraTS20_Training_001_", "sub-BraTS20Training001"),
        ("BraTS2021_00000_", "sub-BraTS202100000"),
        ("BraTS-GLI-00001-000-", "sub-BraTSGLI00001/ses-000"),
        ("BraTS-MET-00002-001-", "sub-BraTSMET00002/ses-001"),
    ],
)
def test_brats(stem: str, name: str, tmp_path: Path) -> None:
    late = "-GLI-" in stem or "-MET-" in stem
    files = dict(zip(("T1", "T2", "FLAIR"), ("t1n", "t2w", "t2f") if late else ("t1", "t2", "flair"), strict=True))
    folder = f"HGG/{stem[:-1]}"
    root = fill(
        tmp_path, *(f"{folder}/{stem}{file}.nii.gz" for file in (*files.values(), "seg", "t1c" + "e" * (not late)))
    )
    found = read_folder(root)
    expected = {contrast: f"{folder}/{stem}{file}.nii.gz" for contrast, file in {**files, "mask": "seg"}.items()}
    assert summary(found, root) == {name: expected}
    assert found.skipped == []


def test_visits_of_one_person_stay_together(tmp_path: Path) -> None:
    for person in range(6):
        for visit in range(2):
            fill(tmp_path, *(f"BraTS-GLI-{person:05}-{visit:03}-{c}.nii.gz" for c in ("t1n", "t2w")))
    splits, _ = open_splits(recipe(), tmp_path, tmp_path)
    parts = {part: {session.subject for session in source.sessions} for part, source in splits.items()}
    assert {part: len(source.sessions) for part, source in splits.items()} == {"train": 8, "validation": 2, "test": 2}
    assert len(set.union(*parts.values())) == sum(map(len, parts.values())) == 6


def test_the_recipe_offers_every_reader() -> None:
    for name in (AUTO, *READERS):
        assert DataOptions(format=name).format == name
    with pytest.raises(ValueError, match="none of auto, ixi, oasis, mslesion, brats, bids"):
        DataOptions(format="dicom")


def test_folders_that_cannot_be_told(tmp_path: Path) -> None:
    fill(tmp_path, "mixed/IXI002-Guys-0828-T1.nii.gz", "mixed/sub-01/anat/sub-01_T1w.nii.gz")
    fill(tmp_path, "unknown/scan.nii.gz", "bids/sub-01/anat/sub-01_T1w.nii.gz")
    fill(tmp_path, "bids/sourcedata/IXI002-Guys-0828-T1.nii.gz", "bids/.git/IXI003-Guys-0828-T1.nii.gz")
    fill(tmp_path, "bids/._IXI003-Guys-0828-T1.nii.gz")
    for folder, name, expected in (
        ("mixed", AUTO, r"several data sets \(ixi, bids\); choose one by data.format of a recipe or --format of"),
        ("unknown", AUTO, r"no data set that can be told .*ixi: .*oasis: .*mslesion: .*brats: .*bids: "),
        ("bids", "brats", r"holds no brats data \(BraTS2021_00000_t1.nii.gz"),
        ("gone", AUTO, "gone' does not exist; give the right one with --data."),
        ("gone/glioma", AUTO, "gone' does not exist; give the right one with --data."),
        ("unknown/scan.nii.gz/glioma", AUTO, "scan.nii.gz' is no folder; give the right one with --data."),
    ):
        with pytest.raises(RecipeError, match=expected) as caught:
            read_folder(tmp_path / folder, name)
        assert "\n" not in str(caught.value)
    assert recognise(tmp_path / "mixed") == ["ixi", "bids"]
    assert [session.name for session in read_folder(tmp_path / "mixed", "ixi").sessions] == ["sub-IXI002Guys0828"]
    assert [session.name for session in read_folder(tmp_path / "bids").sessions] == ["sub-01"]


def small_ixi(root: Path) -> Path:
    for i, site in enumerate(["Guys"] * 4 + ["HH"] * 4):
        fill(root, *(f"IXI-{c}/IXI{i:03}-{site}-0{i:03}-{c}.nii.gz" for c in ("T1", "T2", "PD")[: 3 if i else 2]))
    return fill(root, "IXI-T2/IXI100-HH-0100-T2.nii.gz")


def test_the_papers_recipe_reads_ixi_and_a_table_repeats_its_split(tmp_path: Path) -> None:
    root = small_ixi(tmp_path / "data")
    splits, skipped = open_splits(load_recipe("paper-ixi-t1-t2-direct"), root, tmp_path)
    assert skipped == ["sub-IXI100HH0100: has only T2; no pair of the recipe is complete"]
    assert {part: len(source.sessions) for part, source in splits.items()} == {"train": 5, "validation": 1, "test": 2}
    assert {session.site for session in splits["test"].sessions} == {"Guys", "HH"}
    write_splits(tmp_path, {part: source.names for part, source in splits.items()})
    for other in (7, 8):
        again, _ = open_splits(
            load_recipe("paper-ixi-t1-t2-direct", [f"seed={other}", f"data.splits={tmp_path / 'splits.tsv'}"]), root
        )
        assert {part: source.sessions for part, source in again.items()} == {
            part: source.sessions for part, source in splits.items()
        }
    assert len(read_splits(tmp_path / "splits.tsv")) == 8


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    root = small_ixi(tmp_path / "data")
    _, skipped = open_splits(recipe("T1->T2", "T2->PD", format="ixi"), root, tmp_path)
    assert skipped == [
        "PD of sub-IXI000Guys0000: no such image",
        "sub-IXI100HH0100: has only T2; no pair of the recipe is complete",
    ]
    with pytest.raises(RecipeError, match=r"No session can be used, such as sub-IXI000Guys0000: has only T1, T2"):
        open_splits(recipe("T1->FLAIR"), root, tmp_path)


def test_evaluation_finds_the_subjects_of_every_format(tmp_path: Path) -> None:
    """As they were called in training: alone, in a folder of each, and where a recipe chose between two formats."""
    small_ixi(tmp_path / "ixi")
    fill(tmp_path, "ms/patient01/patient01_T1W.nii.gz", "ixi/sub-01/anat/sub-01_T1w.nii.gz")
    alone, _ = open_splits(recipe(format="ixi"), tmp_path / "ixi", tmp_path)
    names = [session.name for session in alone["test"].sessions]
    one = tiny_checkpoint(tmp_path / "one.safetensors", splits={"test": names})
    assert set(names) | {"sub-01"} <= known_sessions(tmp_path / "ixi", [one]).keys()
    both = tiny_checkpoint(tmp_path / "both.safetensors", splits={"test": ["ms/sub-patient01", "ixi/sub-01"]})
    assert {"ms/sub-patient01", "ixi/sub-01", "ixi/sub-IXI001Guys0001"} <= known_sessions(tmp_path, [both]).keys()


def test_evaluation_finds_people_below_nested_folders_and_beside_their_namesakes(tmp_path: Path) -> None:
    """With the same data folder as in training, and with the data set's own."""
    for folder in ("raw/a", "raw/b"):
        bids_folder(tmp_path / folder, 2, (12, 14, 6))
    nested = {"train": ["raw/a/sub-00", "raw/b/sub-00"], "test": ["raw/a/sub-01"]}
    several = tiny_checkpoint(tmp_path / "several.safetensors", splits=nested)
    names = {f"raw/{folder}/sub-0{k}" for folder in "ab" for k in (0, 1)}
    assert known_sessions(tmp_path, [several]).keys() == names
    asked = known_sessions(tmp_path, [several], ["./raw/a/sub-01"])
    assert session_names(["raw/a//sub-01/"], asked) == ["raw/a/sub-01"]
    of_one = {"train": ["sub-00"], "test": ["sub-01"]}
    alone = tiny_checkpoint(tmp_path / "alone.safetensors", splits=of_one, folder="raw/a")
    for root in (tmp_path, tmp_path / "raw" / "a"):
        found = known_sessions(root, [alone])
        assert found.keys() == {"sub-00", "sub-01"}
        assert all((tmp_path / "raw" / "a") in path.parents for s in found.values() for path in s.files.values())
    assert b'"folder' not in several.path.read_bytes()


def test_simulated_people_are_sought_in_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "ms/sub-01/anat/sub-01_T1w.nii.gz")
    splits = {"train": ["ms/sub-01", "sub-phantom2x0000"], "test": ["ms/sub-02"]}
    checkpoint = tiny_checkpoint(tmp_path / "one.safetensors", splits=splits)
    assert set(known_sessions(tmp_path, [checkpoint])) == {"ms/sub-01"}


def test_a_subject_stands_for_its_visits(tmp_path: Path) -> None:
    fill(tmp_path, *(f"ms/sub-0{k}/ses-{v}/anat/sub-0{k}_ses-{v}_T1w.nii.gz" for k, v in [(1, 1), (1, 2), (2, 1)]))
    checkpoint = tiny_checkpoint(tmp_path / "one.safetensors", splits={"test": ["ms/sub-01/ses-1"]})
    sessions = known_sessions(tmp_path, [checkpoint])
    assert session_names(["ms/sub-01"], sessions) == ["ms/sub-01/ses-1", "ms/sub-01/ses-2"]
    assert session_names(["ms/sub-02/ses-1", "ms/sub-09"], sessions) == ["ms/sub-02/ses-1", "ms/sub-09"]


@pytest.mark.parametrize("workers", [0, 1])
def test_unprepared_scans_are_refused_in_one_line(workers: int, tmp_path: Path) -> None:
    """Also where a background process meets them."""
    from napari_mrtrans.training.slices import TrainingSlices, batches

    fill(tmp_path, "IXI002-Guys-0828-T1.nii.gz", "IXI012-HH-1211-T1.nii.gz", "IXI013-HH-1212-T1.nii.gz")
    moved = np.diag([1.0, 1.0, 1.0, 1.0])
    moved[0, 3] = 2
    for name in ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI013-HH-1212"):
        save_nifti(tmp_path / f"{name}-T2.nii.gz", head(SHAPE), moved)
    chosen = recipe()
    splits, _ = open_splits(chosen, tmp_path, tmp_path / "cache")
    with pytest.raises(RecipeError, match=r"IXI.*lie on different grids; .* napari-mrtrans prepare\.$") as caught:
        next(batches(TrainingSlices(splits["train"], chosen, chosen.stages[0], 0), 0, workers))
    assert "\n" not in str(caught.value)
    with pytest.raises(MrtransError, match=r"T1 and T2 lie on different grids; .* napari-mrtrans prepare"):
        PairedVolumes.open(splits["train"].sessions[0], Pair(T1, T2))


@pytest.mark.data
@pytest.mark.skipif(not SCANS.is_dir(), reason=f"no scans in {SCANS}")
@pytest.mark.parametrize(
    ("folder", "name", "sessions", "contrasts", "masks"),
    [
        ("ixi-t1", "ixi", 12, {T1: 12}, 0),
        ("glioma", "bids", 18, {T1: 18, T2: 18, FLAIR: 18}, 15),
        ("ms-mni", "bids", 2, {T1: 2, T2: 2, FLAIR: 2}, 2),
        ("ms-raw", "bids", 6, {T1: 6, T2: 4, FLAIR: 6}, 0),
    ],
)
def test_real_scans(folder: str, name: str, sessions: int, contrasts: dict[Contrast, int], masks: int) -> None:
    assert recognise(SCANS / folder) == [name]
    found = read_folder(SCANS / folder)
    assert found.skipped == []
    assert len(found.sessions) == sessions
    assert {c: sum(c in session.files for session in found.sessions) for c in contrasts} == contrasts
    assert all(set(session.files) <= set(contrasts) for session in found.sessions)
    assert sum(session.mask is not None for session in found.sessions) == masks
    assert {session.site for session in found.sessions} == ({"HH"} if name == "ixi" else {""})


@pytest.mark.data
@pytest.mark.skipif(not SCANS.is_dir(), reason=f"no scans in {SCANS}")
def test_real_scans_as_they_come_need_preparing(tmp_path: Path) -> None:
    splits, _ = open_splits(recipe(folders=["ms-raw", "ms-mni"], test=["ms-mni/sub-19"]), SCANS, tmp_path)
    sessions = {session.name: index for index, session in enumerate(splits["train"].sessions)}
    with pytest.raises(RecipeError, match=r"lie on different grids; .* napari-mrtrans prepare"):
        splits["train"][sessions["ms-raw/sub-01/ses-1"]]
    assert splits["train"][sessions["ms-mni/sub-07"]].marked.any()


def test_links_that_lead_back_up_are_passed_by(tmp_path: Path) -> None:
    bids_folder(tmp_path / "data", subjects=2, shape=(6, 6, 6))
    for place in ("loop", "sub-00/loop", "sub-00/anat/loop"):
        (tmp_path / "data" / place).symlink_to(tmp_path / "data", target_is_directory=True)
    elsewhere = bids_folder(tmp_path / "elsewhere", subjects=1, shape=(6, 6, 6)) / "sub-00"
    (tmp_path / "data" / "sub-07").symlink_to(elsewhere, target_is_directory=True)
    found = list(read_folders(tmp_path / "data", (".",)))
    assert sum(len(one.sessions) for one in found) == 3


@pytest.mark.parametrize("base", [".", "./", "../data"])
def test_the_folder_that_one_is_in(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bids_folder(tmp_path / "data", subjects=2, shape=(6, 6, 6)))
    (found,) = read_folders(Path(base), (".",))
    assert [session.name for session in found.sessions] == ["sub-00", "sub-01"]
    assert all(path.is_file() for session in found.sessions for path in session.files.values())
    sessions, _ = sessions_to_prepare([Path(base)])
    assert [session.stem for session in sessions] == ["sub-00", "sub-01"]
