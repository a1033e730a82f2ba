"""A folder of DICOM slices in place of a NIfTI file."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cli.test_main import Run, assert_one_line, installed, run  # noqa: F401
from dicom.test_read import MPR, NAME, T2, WORDS
from dicom_files import dicom_series
from helpers import head

AFFINE = np.array([[0.0, 0, 2, -9], [-1, 0, 0, 14], [0, -1.2, 0, 20], [0, 0, 0, 1]])  # sagittal slices
HEAD = np.ascontiguousarray(head((24, 18, 20)).astype(np.uint16))


def _said_by(folder: Path) -> str:
    """All that the files of a folder say in words, and what they are called."""
    parts = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    parts += [path.read_text() for path in folder.rglob("*.json")]
    parts += [str(bytes(nib.load(path).header.binaryblock)) for path in folder.rglob("*.nii.gz")]
    return " ".join(parts).lower()


def test_transform_and_again(run: Run, tmp_path: Path) -> None:  # noqa: F811
    dicom_series(tmp_path / "head", HEAD, AFFINE, **MPR)
    code, out, err = run("transform", "head", "-t", "T2", "-n", 2, "--steps", 1, "-o", "out")
    assert code == 0, err
    assert "'head_T1w' was taken as T1, by its SeriesDescription." in err
    image = nib.load(tmp_path / "out" / "head_T1w_T2_mean.nii.gz")
    assert image.shape == HEAD.shape
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
    report = tmp_path / "out" / "head_T1w_T2.json"
    assert json.loads(report.read_text())["input"] == str(tmp_path / "head")
    code, out, err = run("transform", "--again", report, "-o", "again")
    assert code == 0, err
    assert "T1→T2 of 'head' by tiny-flow" in out


@pytest.mark.parametrize("given", ["head", "head/IM0003.dcm"])
def test_a_page_of_their_result(given: str, run: Run, tmp_path: Path) -> None:  # noqa: F811
    files = dicom_series(tmp_path / "head", HEAD, AFFINE, **MPR)
    given = given if given == "head" else str(files[3].relative_to(tmp_path))
    assert run("transform", given, "-t", "T2", "-n", 2, "--steps", 1, "-o", "out")[0] == 0
    (report,) = (tmp_path / "out").glob("*.json")
    assert run("report", report, "-o", "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    name = Path(given).name
    assert "was not found" not in page and f"napari-mrtrans transform {name} --to T2" in page
    assert "read_scan" in page and "Volume.load" not in page
    (tmp_path / "head").rename(tmp_path / "moved")
    assert run("report", report, "-o", "page.html")[0] == 0
    assert "was not found" in (tmp_path / "page.html").read_text()
    assert run("report", report, given.replace("head", "moved"), "-o", "page.html")[0] == 0
    assert "was not found" not in (tmp_path / "page.html").read_text()
    next((tmp_path / "moved").iterdir()).write_bytes(b"")
    (tmp_path / "moved").rename(tmp_path / "head")
    assert run("report", report, "-o", "page.html")[0] == 0
    assert "was not found" in (tmp_path / "page.html").read_text()


def test_the_patient_stays_behind(run: Run, tmp_path: Path) -> None:  # noqa: F811
    """In the results of every command that takes slices; also where folders are named after the patient."""
    for number, tags in ((1, MPR), (2, T2)):
        series = tmp_path / "Zyxwo" / str(number)
        dicom_series(series, HEAD, AFFINE, uid=f"1.2.3.{number}", **(tags | NAME | {"t0008_103e": f"t{number} Zyxwo"}))
    code, _, err = run("transform", "Zyxwo/1", "-t", "T2", "-n", 2, "--steps", 1, "-o", "out")
    assert code == 0, err
    assert "The path holds the patient's name or number; results say '" in err
    code, out, err = run("ood", "Zyxwo", "--from", "T2", "-t", "T1", "-n", 2, "--json")
    assert code == 0, err
    (tmp_path / "out" / "ood.json").write_text(out)
    words = ("--brain", "built-in", "--no-strip", "--no-register", "--no-bias")
    code, out, err = run("prepare", "Zyxwo", "-o", "out/prepared", *words)
    assert code == 0, err
    said = _said_by(tmp_path / "out")
    assert not [word for word in WORDS if word in said]
    record = json.loads(next((tmp_path / "out" / "prepared").rglob("*preproc.json")).read_text())
    assert set(record["sources"]) == {"T1", "T2"}
    code, out, _ = run("prepare", "Zyxwo", "-o", "out/prepared", *words)
    assert (code, "done before" in out) == (0, True)


@pytest.mark.parametrize("command", ["transform", "ood", "prepare"])
def test_mistakes_are_one_line(run: Run, tmp_path: Path, command: str) -> None:  # noqa: F811
    dicom_series(tmp_path / "ct", HEAD, AFFINE, t0008_0060="CT")
    code, _, err = run(
        command, "ct", *(() if command == "ood" else ("-o", "out")), *(() if command == "prepare" else ("-t", "T2"))
    )
    assert (code, (tmp_path / "out").exists()) == (2, False)
    assert "'ct' is of modality CT, not MR; give another series." in err
    assert "Traceback" not in err


def test_headers_that_tell_no_contrast(run: Run, tmp_path: Path) -> None:  # noqa: F811
    dicom_series(tmp_path / "scan", HEAD, AFFINE)
    code, _, err = run("transform", "scan", "-t", "T2", "-o", "out")
    assert code == 2
    line = "The contrast of 'scan' is not known from its headers; say it with --from (T1, T2, PD or FLAIR)."
    assert_one_line(err, line)
    code, _, err = run("prepare", "scan", "-o", "out")
    assert (code, "No series in 'scan' tells its contrast" in err) == (2, True)
    for number in (1, 2):
        dicom_series(tmp_path / "both", HEAD, AFFINE, uid=f"1.2.3.{number}", first=50 * number, **MPR)
    code, _, err = run("prepare", "both", "-o", "out")
    assert (code, "are both T1; give the folders" in err) == (2, True)
