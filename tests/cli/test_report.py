"""``report``: one page of a saved result."""

# ruff: noqa: F811 (fixtures)

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np

from cli.test_main import RAI, SHAPE, Run, assert_one_line, installed, run, scan  # noqa: F401 (fixtures)
from dicom_files import MPRAGE, dicom_series
from helpers import head, save_nifti


def slab_and_lesions(tmp_path: Path, run: Run, scan: Path, first: int) -> None:
    """Four slices of a result in ``A``, and ``lesions.nii.gz`` from slice ``first`` to the fifth."""
    words = ("transform", scan.name, "--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 1, "--slices", "2:6")
    assert run(*words, "-o", "A")[0] == 0
    roi = np.zeros(SHAPE, np.uint8)
    roi[7:12, 9:14, first:5] = 1
    save_nifti(tmp_path / "lesions.nii.gz", roi, RAI)


def test_a_page_of_a_saved_result(tmp_path: Path, run: Run, scan: Path, installed: Path) -> None:
    slab_and_lesions(tmp_path, run, scan, 3)
    save_nifti(tmp_path / "sub-01_T2w.nii.gz", (700 - head(SHAPE)) * (head(SHAPE) > 0), RAI)
    record = "A/sub-01_T1w_T2.json"
    code, out, err = run("report", record, "--target", "sub-01_T2w.nii.gz", "--roi", "lesions.nii.gz")
    assert (code, err) == (0, "") and out == "wrote A/sub-01_T1w_T2_report.html\n"
    page = (tmp_path / "A" / "sub-01_T1w_T2_report.html").read_text()
    for told in ("Against the acquired T2", "lesions.nii.gz", "4 slices", "--slices 2:6", "Not for diagnosis"):
        assert told in page, told
    assert str(tmp_path) not in page
    # Where the input has gone, the page is without it; given anew, it is there again.
    scan.rename(tmp_path / "moved.nii.gz")
    assert run("report", record, "-o", "without.html")[0] == 0
    assert "was not found" in (tmp_path / "without.html").read_text()
    assert run("report", record, "moved.nii.gz", "-o", "with.html")[0] == 0
    assert "was not found" not in (tmp_path / "with.html").read_text()
    assert_one_line(run("report", "lesions.nii.gz")[2], "is no report of a result; give the JSON that transform wrote.")
    (tmp_path / "pages").mkdir()
    assert run("report", record, "-o", "pages")[0] == 0
    assert (tmp_path / "pages" / "sub-01_T1w_T2_report.html").is_file()
    mean = "A/sub-01_T1w_T2_mean.nii.gz"
    assert_one_line(
        run("lesion", "--prediction", mean, "--roi", "lesions.nii.gz", "--csv", ".")[2],
        "'.' is a folder; name a file with --csv.",
    )
    (tmp_path / "full").write_text("a file")
    assert_one_line(run("report", record, "-o", "full/page.html")[2], "Choose another file with -o.")


def test_a_source_of_dicom_slices_is_measured_in_the_lesions_too(tmp_path: Path, run: Run, installed: Path) -> None:
    tags = {f"t{tag.replace('|', '_')}": value for tag, value in MPRAGE.items()}
    dicom_series(tmp_path / "dicom", head(SHAPE).astype(np.int16), RAI, **tags)
    words = ("transform", "dicom", "--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 1)
    code, _, err = run(*words, "-o", "A")
    assert code == 0, err
    (record,) = (tmp_path / "A").glob("*.json")
    roi = np.zeros(SHAPE, np.uint8)
    roi[7:12, 9:14, 3:5] = 1
    save_nifti(tmp_path / "lesions.nii.gz", roi, RAI)
    code, _, err = run("report", str(record), "--roi", "lesions.nii.gz")
    assert (code, err) == (0, ""), err
    assert "lesions.nii.gz" in record.with_name(f"{record.stem}_report.html").read_text()


def test_lesions_are_of_the_corrected_spread_and_what_was_not_computed_of_them_is_told(
    tmp_path: Path, run: Run, scan: Path, installed: Path
) -> None:
    slab_and_lesions(tmp_path, run, scan, 1)

    def lines() -> str:
        assert run("report", "A/sub-01_T1w_T2.json", "--roi", "lesions.nii.gz", "-o", "page.html")[0] == 0
        return (tmp_path / "page.html").read_text()

    page = lines()
    assert "Mean std: " in page and re.search(r"\d+ of 100 voxels were not computed; they are left out\.", page)
    assert "are not in every image" not in page  # the same voxels
    said = run("lesion", "--prediction", "A/sub-01_T1w_T2_mean.nii.gz", "--roi", "lesions.nii.gz")
    assert re.match(r"\d+ of 100 voxels were not computed; they are left out\.\n", said[2])
    assert "are not in every image" not in said[1]
    spread = nib.load(tmp_path / "A" / "sub-01_T1w_T2_std.nii.gz")
    corrected = np.where(spread.get_fdata() > 0, 0.25, 0).astype(np.float32)
    save_nifti(tmp_path / "A" / "sub-01_T1w_T2_std-calibrated.nii.gz", corrected, spread.affine)
    assert "Mean corrected std: 0.2500 inside" in lines()


def test_a_mask_that_is_gone_is_told_and_where_there_is_an_answer_stands_for_it(
    tmp_path: Path, run: Run, scan: Path, installed: Path
) -> None:
    brain = head(SHAPE) > 0
    half = brain & (np.arange(SHAPE[0]) < SHAPE[0] // 2 + 2)[:, None, None]
    save_nifti(tmp_path / "brain.nii.gz", half.astype(np.uint8), RAI)
    save_nifti(tmp_path / "sub-01_T2w.nii.gz", (700 - head(SHAPE)) * half, RAI)
    words = ("transform", scan.name, "--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 1)
    assert run(*words, "--mask", "brain.nii.gz", "-o", "A")[0] == 0

    def figures() -> tuple[list[float], bool]:
        words = ("report", "A/sub-01_T1w_T2.json", "--target", "sub-01_T2w.nii.gz", "-o", "page.html")
        assert run(*words)[0] == 0
        page = (tmp_path / "page.html").read_text()
        found = re.search(r"sub-01_T2w(?:<[^>]*>|\s)+([0-9.]+)(?:<[^>]*>|\s)+([0-9.]+)", page)
        assert found is not None
        return [float(figure) for figure in found.groups()], "is not at hand any more" in page

    before, told = figures()
    assert not told
    for change in ("another", "gone"):
        if change == "another":
            save_nifti(tmp_path / "brain.nii.gz", brain.astype(np.uint8), RAI)
        else:
            (tmp_path / "brain.nii.gz").unlink()
        after, told = figures()
        np.testing.assert_allclose(after, before, atol=0.05)
        assert told


def test_no_file_of_the_user_s_is_replaced_by_a_page_or_a_table(
    tmp_path: Path, run: Run, scan: Path, installed: Path
) -> None:
    slab_and_lesions(tmp_path, run, scan, 3)
    record, mean = "A/sub-01_T1w_T2.json", "A/sub-01_T1w_T2_mean.nii.gz"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, line in (
        (record, f"'{record}' is an input of this command; choose another -o."),
        (mean, "'sub-01_T1w_T2_mean.nii.gz' does not end in .html or .htm; choose another -o."),
    ):
        assert_one_line(run("report", record, "-o", name)[2], line)
    lesion = ("lesion", "--prediction", mean, "--roi", "lesions.nii.gz", "--csv")
    assert_one_line(
        run(*lesion, "lesions.nii.gz")[2], "'lesions.nii.gz' is an input of this command; choose another --csv."
    )
    assert_one_line(
        run(*lesion, scan.name)[2], f"'{scan.name}' does not end in .csv or .tsv or .txt; choose another --csv."
    )
    line = "r of --samples is that with the acquired image; give it with --target, or leave them out."
    assert_one_line(run(*lesion[:-1], "--samples", mean)[2], line)
    # The source is not what was acquired of the target.
    line = "'sub-01_T1w.nii.gz' is T1 by its name, and the result is T2; give the acquired T2, or rename it."
    assert_one_line(run("report", record, "--target", scan.name)[2], line)
    assert_one_line(run("lesion", "--prediction", mean, "--roi", "lesions.nii.gz", "--target", scan.name)[2], line)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run("report", record, "-o", "new")[0] == 0
    assert (tmp_path / "new" / "sub-01_T1w_T2_report.html").is_file()


def test_a_slab_whose_input_is_gone_is_compared_with_its_target(
    tmp_path: Path, run: Run, scan: Path, installed: Path
) -> None:
    words = ("transform", scan.name, "--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 1, "--slices", "3:5")
    assert run(*words, "-o", "A")[0] == 0
    save_nifti(tmp_path / "sub-01_T2w.nii.gz", (700 - head(SHAPE)) * (head(SHAPE) > 0), RAI)
    scan.rename(tmp_path / "moved.nii.gz")
    assert run("report", "A/sub-01_T1w_T2.json", "--target", "sub-01_T2w.nii.gz", "-o", "page.html")[0] == 0
    assert "Against the acquired T2" in (tmp_path / "page.html").read_text()
