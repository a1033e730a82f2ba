"""Downloaded data sets as input of ``prepare``: who is found, under which names, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrtrans.datasets.raw import sessions_to_prepare
from napari_mrtrans.errors import MrtransError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def prepared(root: Path, *names: str) -> Path:
    """What an earlier run has written, with its record."""
    for name in names:
        record = name.partition("_desc-preproc_")[0] + "_desc-preproc.json"
        touch(root, name, record)
    return root


def summary(root: Path, *folders: str, name: str = "auto") -> dict[str, dict[str, str]]:
    sessions, _ = sessions_to_prepare([root / folder for folder in folders] or [root], name)
    return {
        session.stem: {contrast.value: path.relative_to(root).as_posix() for contrast, path in session.files.items()}
        for session in sessions
    }


IXI = {"": ("", "", ""), "archives": ("IXI-T1/", "IXI-T2/", "IXI-PD/")}


@pytest.mark.parametrize("layout", IXI)
def test_the_contrasts_of_ixi_are_grouped_by_subject(layout: str, tmp_path: Path) -> None:
    for folder, contrast in zip(IXI[layout], ("T1", "T2", "PD"), strict=True):
        touch(tmp_path, f"{folder}IXI002-Guys-0828-{contrast}.nii.gz", f"{folder}IXI012-HH-1211-{contrast}.nii.gz")
    touch(tmp_path, "IXI035-IOP-0873-T2.nii.gz", "IXI099-IOP-0001-MRA.nii.gz")
    expected = {
        subject: {
            contrast: f"{folder}{file}-{contrast}.nii.gz"
            for folder, contrast in zip(IXI[layout], ("T1", "T2", "PD"), strict=True)
        }
        for subject, file in (("sub-IXI002Guys0828", "IXI002-Guys-0828"), ("sub-IXI012HH1211", "IXI012-HH-1211"))
    }
    assert summary(tmp_path) == {**expected, "sub-IXI035IOP0873": {"T2": "IXI035-IOP-0873-T2.nii.gz"}}
    _, skipped = sessions_to_prepare([tmp_path])
    assert skipped == ["sub-IXI099IOP0001: none of its images is T1, T2, PD or FLAIR"]
    if layout == "archives":  # named one by one, they are still one data set
        assert summary(tmp_path, "IXI-T1", "IXI-T2", "IXI-PD") == expected


def test_a_session_of_oasis_is_one_day(tmp_path: Path) -> None:
    days = {"d0129": ("run-01_T1w", "T2w", "FLAIR"), "d2430": ("T1w",)}
    for day, names in days.items():
        touch(tmp_path, *(f"OAS30001_MR_{day}/anat1/sub-OAS30001_ses-{day}_{name}.nii.gz" for name in names))
    found = summary(tmp_path)
    assert {stem: list(files) for stem, files in found.items()} == {
        "sub-OAS30001_ses-d0129": ["T1", "T2", "FLAIR"],
        "sub-OAS30001_ses-d2430": ["T1"],
    }


def test_raw_images_of_msseg_and_bids_folders(tmp_path: Path) -> None:
    touch(tmp_path / "ms", *(f"Testing/Center_03/P1/Raw_Data/{c}.nii.gz" for c in ("T1", "DP", "GADO")))
    assert list(summary(tmp_path / "ms")["sub-TestingCenter03P1"]) == ["T1", "PD"]
    touch(tmp_path / "bids", *(f"sub-1/ses-{visit}/anat/sub-1_ses-{visit}_T1w.nii.gz" for visit in "ab"))
    assert list(summary(tmp_path / "bids")) == ["sub-1_ses-a", "sub-1_ses-b"]
    assert list(summary(tmp_path / "bids", "sub-1/ses-b")) == ["sub-1_ses-b"]


def test_folders_that_cannot_be_told(tmp_path: Path) -> None:
    touch(tmp_path, "mixed/IXI002-Guys-0828-T1.nii.gz", "mixed/sub-01/anat/sub-01_T1w.nii.gz")
    touch(tmp_path, "twice/IXI002-Guys-0828-T1.nii.gz", "unknown/scan.nii.gz")
    with pytest.raises(MrtransError, match=r"several data sets \(ixi, bids\).*--format"):
        sessions_to_prepare([tmp_path / "mixed"])
    assert list(summary(tmp_path, "mixed", name="bids")) == ["sub-01"]
    with pytest.raises(MrtransError, match=r"^sub-IXI002Guys0828 is left out: .* are both T1 of it"):
        sessions_to_prepare([tmp_path / "mixed", tmp_path / "twice"], "ixi")
    with pytest.raises(MrtransError, match=r"Unknown format 'brain'. Choose one of auto, ixi"):
        sessions_to_prepare([tmp_path / "unknown"], "brain")
    with pytest.raises(MrtransError, match=r"holds no .*scans"):
        sessions_to_prepare([tmp_path / "unknown"])
    with pytest.raises(MrtransError, match=r"either the files of one session or"):
        sessions_to_prepare([tmp_path / "unknown", tmp_path / "unknown" / "scan.nii.gz"])


@pytest.mark.parametrize("inputs", [["a", "b"], ["."]])
def test_one_name_of_two_sites_costs_that_session_alone(inputs: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "a/sub-01/anat/sub-01_T1w.nii.gz", "b/sub-01/anat/sub-01_T1w.nii.gz")
    touch(tmp_path, "a/sub-02/anat/sub-02_T1w.nii.gz", "b/sub-02/anat/sub-02_T2w.nii.gz")
    sessions, (line,) = sessions_to_prepare([tmp_path / name for name in inputs])
    assert [(session.stem, [*session.files]) for session in sessions] == [("sub-02", ["T1", "T2"])]
    first, second = (tmp_path / site / "sub-01" / "anat" / "sub-01_T1w.nii.gz" for site in "ab")
    assert line == (
        f"sub-01 is left out: '{first}' and '{second}' are both T1 of it; give one of their folders alone, and the "
        "other with another -o."
    )


OASIS = "sub-OAS30001/ses-d0129/anat/sub-OAS30001_ses-d0129"


@pytest.mark.parametrize("out", ["derivatives/prepared", "prepared", "."])
@pytest.mark.parametrize("start", ["sub-01/ses-1/anat/sub-01_ses-1", OASIS])
def test_a_second_run_prepares_the_same_scans(start: str, out: str, tmp_path: Path) -> None:
    """What the first has written comes before raw scans by name, and is none of them."""
    raw = {"T1": f"{start}_run-01_T1w.nii.gz", "T2": f"{start}_acq-TSE_T2w.nii.gz"}
    touch(tmp_path, *raw.values())
    before = sessions_to_prepare([tmp_path], out=tmp_path / out)
    prepared(tmp_path / out, *(f"{start}_desc-preproc_{suffix}.nii.gz" for suffix in ("T1w", "T2w", "FLAIR")))
    assert sessions_to_prepare([tmp_path], out=tmp_path / out) == before
    ((session,), left_out) = before
    assert {c.value: path.relative_to(tmp_path).as_posix() for c, path in session.files.items()} == raw
    assert left_out == []


@pytest.mark.parametrize("start", ["sub-01/ses-1/anat/sub-01_ses-1", OASIS])
def test_raw_scans_are_not_prepared_together_with_what_was_prepared(start: str, tmp_path: Path) -> None:
    """Into another folder than now."""
    touch(tmp_path, f"{start}_run-01_T1w.nii.gz")
    prepared(tmp_path / "prepared", *(f"{start}_desc-preproc_{suffix}.nii.gz" for suffix in ("T1w", "T2w")))
    sessions, left_out = sessions_to_prepare([tmp_path], out=tmp_path / "new")
    assert [[path.name for path in session.files.values()] for session in sessions] == [
        [Path(f"{start}_run-01_T1w.nii.gz").name]
    ]
    assert [line.partition(": ")[2] for line in left_out] == [
        f"{Path(start).name}_desc-preproc_T2w.nii.gz left out, because raw and prepared images do not mix and "
        f"'{Path(start).name}_run-01_T1w.nii.gz' is taken."
    ]
    only, _ = sessions_to_prepare([tmp_path / "prepared"], out=tmp_path / "new")  # where there is nothing else
    assert [[*session.files] for session in only] == [["T1", "T2"]]
