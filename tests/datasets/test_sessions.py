from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers import bids_folder, close_folder
from napari_mrtrans.datasets.raw import sessions_to_prepare
from napari_mrtrans.datasets.readers import read_folder
from napari_mrtrans.datasets.sessions import anat_images, check_one_person, find_sessions, noted
from napari_mrtrans.datasets.walk import nifti_files
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast


def touch(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


RUNS = [f"sub-01_{part}_T1w.nii.gz" for part in ("run-01", "run-02", "acq-lowres")]


def test_further_images_of_a_contrast_are_left_out_by_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"sub-01/anat/{name}" for name in (*RUNS, "sub-01_T2w.nii.gz")))
    line = (
        f"sub-01: {RUNS[1]}, {RUNS[2]} left out, because '{RUNS[0]}' is of the same contrast and comes first by name "
        "(acq- last); to take another, "
    )
    for sessions, left_out in (find_sessions([tmp_path]), sessions_to_prepare([tmp_path])):
        (session,) = sessions
        assert session.files[Contrast.T1].name == RUNS[0]
        assert left_out == [f"{line}give the files themselves."]
    found = read_folder(tmp_path)
    assert found.sessions[0].files == session.files
    assert [noted(line) for line in found.skipped] == [f"note {line}move or rename the one that you do not want."]
    assert noted("sub-02: no T2") == "skipped sub-02: no T2"


def test_a_file_beside_its_compressed_twin_is_left_out_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_T1w.nii.gz")
    _, (line,) = sessions_to_prepare([tmp_path])
    assert line.startswith("sub-01: sub-01_T1w.nii.gz left out, because 'sub-01_T1w.nii' is of the same contrast")


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("sub-01_T1w.nii", "sub-02_T2w.nii"), "'sub-01_T1w.nii' is of sub-01 and 'sub-02_T2w.nii' of sub-02; give"),
        (("sub-01_ses-1_T1w.nii", "sub-01_ses-2_T2w.nii"), "'sub-01_ses-1_T1w.nii' is of ses-1 and "),
        (("sub-01/T1.nii", "sub-02/T2.nii"), "'T1.nii' is of sub-01 and 'T2.nii' of sub-02; give"),
        (("sub-01/ses-a/T1.nii", "sub-01/ses-b/T2.nii"), "'T1.nii' is of ses-a and 'T2.nii' of ses-b; give"),
        (("sub-CC-0001_T1w.nii", "sub-CC-0002_T2w.nii"), "'sub-CC-0001_T1w.nii' is of sub-CC-0001 and "),
        (("sub-\u00e95_T1w.nii", "sub-\u00e96_T2w.nii"), "'sub-\u00e95_T1w.nii' is of sub-\u00e95 and "),
        (("sub-01_ses-T1_T1w.nii", "sub-01_ses-T2_T2w.nii"), "'sub-01_ses-T1_T1w.nii' is of ses-T1 and '.*' of ses-T2"),
        (("ses-mprage/T1.nii", "ses-tse/T2.nii"), "'T1.nii' is of ses-mprage and 'T2.nii' of ses-tse"),
        (("sub-PD-01_T1w.nii", "sub-PD-02_T2w.nii"), "'sub-PD-01_T1w.nii' is of sub-PD-01 and '.*' of sub-PD-02"),
        (("sub-FLAIR_T1w.nii", "sub-T1_T2w.nii"), "'sub-FLAIR_T1w.nii' is of sub-FLAIR and '.*' of sub-T1"),
    ],
)
def test_two_people_or_visits_are_no_session(names: tuple[str, ...], line: str, tmp_path: Path) -> None:
    files = touch(tmp_path, *names)
    for check in (find_sessions, check_one_person):
        with pytest.raises(MrtransError, match=f"^{line}"):
            check(files)


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (("sub-01_ses-1_T1w.nii", "sub-01_ses-1_T2w.nii"), "sub-01_ses-1"),
        (("sub-01/ses-a/T1.nii", "sub-01/ses-a/T2.nii"), "sub-01_ses-a"),
        (("sub-project/sub-07_T1w.nii", "sub-project/other/sub-07_T2w.nii"), "sub-07"),
        (("P1-T1.nii", "P1-T2.nii"), "sub-P1"),
        (("sub-01-T1.nii", "sub-01-brain_T2.nii"), "sub-01"),
    ],
)
def test_one_person_at_one_visit(names: tuple[str, ...], stem: str, tmp_path: Path) -> None:
    (session,), left_out = find_sessions(touch(tmp_path, *names))
    assert (session.stem, left_out) == (stem, [])


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "sub-01_T1w.nii").symlink_to("gone.nii")
    with pytest.raises(MrtransError, match=r"is a link to 'gone.nii', which is not there"):
        find_sessions([tmp_path / "sub-01_T1w.nii"])


def test_people_behind_links_are_found(tmp_path: Path) -> None:
    data = bids_folder(tmp_path / "data", subjects=1, shape=(6, 6, 6))
    other = bids_folder(tmp_path / "other", subjects=1, shape=(6, 6, 6)) / "sub-00"
    for file in (other / "anat").iterdir():
        file.rename(file.with_name(file.name.replace("sub-00", "sub-05")))
    (data / "sub-05").symlink_to(other, target_is_directory=True)
    (data / "sub-05" / "loop").symlink_to(data, target_is_directory=True)
    sessions, _ = find_sessions([data])
    assert [session.stem for session in sessions] == ["sub-00", "sub-05"]


def test_a_link_to_what_is_there_anyhow_is_passed_by(tmp_path: Path) -> None:
    data = bids_folder(tmp_path / "data" / "v2", subjects=2, shape=(6, 6, 6))
    (data.parent / "latest").symlink_to(data, target_is_directory=True)
    (data.parent / "above").symlink_to(tmp_path, target_is_directory=True)
    sessions, _ = find_sessions([data.parent])
    assert [session.stem for session in sessions] == ["sub-00", "sub-01"]
    assert all("latest" not in str(path) for session in sessions for path in session.files.values())


def test_people_whose_labels_bids_does_not_allow_are_told_apart(tmp_path: Path) -> None:
    data = tmp_path / "sub-project" / "ses-baseline" / "data"  # no person's, and no visit
    who = ("sub-CC-0001", "sub-CC-0002", "sub-\u00e95")
    touch(data, *(f"{one}/anat/{one}_T1w.nii.gz" for one in who), "sub-01/ses-2/anat/sub-01_ses-2_T1W.NII.GZ")
    touch(data, "sub-01/ses-2/anat/sub-01_ses-2_T2w.NII.GZ")
    sessions, _ = find_sessions([data])
    assert [session.stem for session in sessions] == ["sub-01_ses-2", *who]
    for inside in (data / "sub-01", data / "sub-01" / "ses-2", data / "sub-01" / "ses-2" / "anat"):
        assert [session.stem for session in find_sessions([inside])[0]] == ["sub-01_ses-2"]


def test_hidden_files_are_no_scans(tmp_path: Path) -> None:
    """What macOS keeps beside each file, and what a run that was killed has left."""
    names = [f"sub-01_{suffix}.nii.gz" for suffix in ("T1w", "T2w")]
    touch(tmp_path, *(f"sub-01/anat/{start}{name}" for name in names for start in ("._", ".part-ab12-7-", "")))
    (session,), left_out = find_sessions([tmp_path])
    assert ([path.name for path in session.files.values()], left_out) == (names, [])


def test_phase_real_and_imaginary_parts_are_no_scans(tmp_path: Path) -> None:
    parts = ("phase", "real", "imag")
    touch(tmp_path, *(f"sub-{n}/anat/sub-{n}_part-{part}_T1w.nii.gz" for n in "12" for part in (*parts, "mag")))
    touch(tmp_path, *(f"sub-3/anat/sub-3_part-{part}_T1w.nii.gz" for part in parts))
    for n in "12":
        ((only,), left_out) = anat_images(tmp_path / f"sub-{n}" / "anat", Contrast.T1), find_sessions([tmp_path])[1]
        assert (only.name, left_out) == (f"sub-{n}_part-mag_T1w.nii.gz", [])
    assert [session.stem for session in find_sessions([tmp_path])[0]] == ["sub-1", "sub-2"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bids_folder(tmp_path / "data", subjects=2, shape=(6, 6, 6))
    for closed in (data / "sub-01", data / "sub-01" / "anat"):
        with monkeypatch.context() as patch:
            close_folder(patch, closed)
            line = f"'{closed}' left out: it cannot be read (Permission denied)"
            sessions, left_out = sessions_to_prepare([data])
            assert ([session.stem for session in sessions], left_out) == (["sub-00"], [line])
            found = read_folder(data)
            assert ([session.name for session in found.sessions], found.skipped) == (["sub-00"], [line])
            with pytest.raises(MrtransError, match=r"(holds no|cannot be read).*Permission denied"):
                sessions_to_prepare([data / "sub-01"])


def test_a_folder_that_can_be_listed_but_not_entered_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of mode 644: its names can be read, and nothing of what they stand for."""
    data = bids_folder(tmp_path / "data", subjects=2, shape=(6, 6, 6))
    closed, status = data / "sub-01", os.stat

    def refuse(path: Any, **more: Any) -> Any:
        if not isinstance(path, int) and closed in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return status(path, **more)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "lstat", lambda path: refuse(path, follow_symlinks=False))
    close_folder(monkeypatch, closed / "anat")
    sessions, left_out = sessions_to_prepare([data])
    assert [session.stem for session in sessions] == ["sub-00"]
    assert left_out == [f"'{closed / 'anat'}' left out: it cannot be read (Permission denied)"]


def test_a_data_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bids_folder(tmp_path / "data", subjects=1, shape=(6, 6, 6))
    close_folder(monkeypatch, data)
    for look in (read_folder, lambda folder: find_sessions([folder]), nifti_files):
        with pytest.raises(MrtransError, match=rf"^'{data}' cannot be read \(Permission denied\)\. Make it readable"):
            look(data)


def test_what_was_prepared_is_known_where_git_annex_keeps_all_files_above(tmp_path: Path) -> None:
    anat = tmp_path / "study" / "raw" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for name in ("T1w.nii.gz", "desc-preproc_T1w.nii.gz", "desc-preproc.json"):
        (kept := tmp_path / "study" / f"kept-{name}").touch()
        (anat / f"sub-01_{name}").symlink_to(kept)
    (session,), left_out = find_sessions([anat.parents[1]], anat.parents[1])
    assert [path.name for path in session.files.values()] == ["sub-01_T1w.nii.gz"] and not left_out
    (anat / "sub-01_T1w.nii.gz").unlink()
    assert find_sessions([anat.parents[1]], anat.parents[1]) == ([], [])
