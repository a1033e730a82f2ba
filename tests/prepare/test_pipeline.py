"""Sessions found, prepared and written; mistakes in one line; nothing half-written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from helpers import save_nifti, turned_head
from napari_mrtrans.cli.main import app
from napari_mrtrans.datasets.sessions import RawSession, find_sessions
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.paths import part_of
from napari_mrtrans.prepare import pipeline, tools, whole_head
from napari_mrtrans.prepare.images import resample, working_image
from napari_mrtrans.prepare.pipeline import Options, prepare_session
from napari_mrtrans.prepare.register import Registration
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import HEADROOM, is_stripped
from napari_mrtrans.scan.volume import Volume
from prepare.heads import head, motion


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The raw scans of one visit: a T1, and a T2 that is moved by 12 mm."""
    monkeypatch.setattr(whole_head, "prepared_cache_dir", lambda: tmp_path / "cache")
    anat = tmp_path / "raw" / "sub-07" / "ses-2" / "anat"
    for contrast, moved in ((Contrast.T1, None), (Contrast.T2, motion((0, 0, 6), (0, 12, 0)))):
        volume, _ = head(contrast, moved)
        save_nifti(anat / f"sub-07_ses-2_{contrast}w.nii.gz", volume.data, volume.affine)
    save_nifti(tmp_path / "mask.nii.gz", head()[1].astype(np.uint8), head()[0].affine)
    return tmp_path


def prepare(folder: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["prepare", *more, "-o", str(folder / "out")])
    if isinstance(result.exception, MrtransError):
        return 2, str(result.exception)
    return result.exit_code, result.output


def test_a_session_comes_out_on_one_grid_and_is_read_for_training(session: Path) -> None:
    from napari_mrtrans.datasets.readers import read_folder

    status, said = prepare(session, str(session / "raw"), "--mask", str(session / "mask.nii.gz"))
    assert status == 0, said
    anat = session / "out" / "sub-07" / "ses-2" / "anat"
    record = json.loads((anat / "sub-07_ses-2_desc-preproc.json").read_text())
    found = record["registration"]["T2"]
    np.testing.assert_allclose(found["to_moving_ras_mm"], motion((0, 0, 6), (0, 12, 0)), atol=0.6)
    assert found["nmi_after"] > found["nmi_before"]
    assert record["brain"]["method"] == "given"
    t1, t2, mask = (
        nib.load(anat / f"sub-07_ses-2_{name}.nii.gz").get_fdata()
        for name in ("desc-preproc_T1w", "desc-preproc_T2w", "desc-brain_mask")
    )
    brain = head()[1]
    np.testing.assert_array_equal(mask > 0, brain)
    assert not t1[~brain].any()
    assert not t2[~brain].any()
    # At home again, the T2 is the function of the T1 that it was made by.
    assert np.corrcoef(t2[brain], head(Contrast.T2)[0].data[brain])[0, 1] > 0.95
    assert (anat / "sub-07_ses-2_desc-preproc_qc.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((session / "out" / "dataset_description.json").read_text())["GeneratedBy"]
    [read] = read_folder(session / "out").sessions
    assert set(read.files) == {Contrast.T1, Contrast.T2}
    read.load()


def test_finished_work_is_not_done_again(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = [str(session / "raw"), "--mask", str(session / "mask.nii.gz"), "--no-register", "--no-bias"]
    assert prepare(session, *scans)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (session / "out").rglob("*.*")}
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "save_picture", lambda *_: pytest.fail("done again"))
        status, said = prepare(session, *scans)
    assert status == 0
    assert "nothing to do" in said and "wrote" not in said
    assert [Path(line.removeprefix("is there: ")) for line in said.splitlines() if line.startswith("is there: ")] == [
        session / "out/sub-07/ses-2/anat" / f"sub-07_ses-2_desc-{name}"
        for name in (
            "preproc_T1w.nii.gz", "preproc_T2w.nii.gz", "preproc_T1w.json", "preproc_T2w.json", "brain_mask.nii.gz",
            "preproc_qc.png", "preproc.json",
        )
    ]  # fmt: skip
    assert before == {path: path.stat().st_mtime_ns for path in (session / "out").rglob("*.*")}
    assert "nothing to do" not in prepare(session, *scans, "--normalise", "none")[1]  # other options are other work


def test_a_better_program_that_came_later_is_told(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []
    used: list[str] = []
    monkeypatch.setattr(tools.shutil, "which", lambda program: program if program in there else None)
    monkeypatch.setattr(whole_head, "extract", lambda _, tool: used.append(tool) or head()[1])
    scan = str(session / "raw/sub-07/ses-2/anat/sub-07_ses-2_T1w.nii.gz")
    assert prepare(session, scan, "--no-bias")[0] == 0
    assert "brain was found" not in prepare(session, scan, "--no-bias")[1]
    there += ["deepbet-cli", "mri_synthstrip"]
    said = prepare(session, scan, "--no-bias")[1]
    line = (
        "its brain was found by 'built-in', for 'synthstrip' failed or was not there yet; --brain synthstrip tries it"
    )
    assert "done before, nothing to do" in said and f"sub-07_ses-2: {line}\n" in said
    heard: list[str] = []  # elsewhere, as in an adaptation, there is no such option
    raw = RawSession("sub-07", "ses-2", {Contrast.T1: Path(scan)})
    prepare_session(raw, session / "out", Options(bias=False), None, heard.append)
    assert heard == ["sub-07_ses-2: done before, nothing to do"]
    assert prepare(session, scan, "--no-bias", "--brain", "synthstrip")[0] == 0
    assert used == ["built-in", "synthstrip"]


def test_a_program_that_failed_is_not_said_to_be_used(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(_: object, tool: str) -> NDArray[np.bool_]:
        if tool != "built-in":
            raise tools.ToolFailed(f"'{tool}' failed (No route to host)")
        return head()[1]

    monkeypatch.setattr(tools.shutil, "which", lambda program: program if program == "hd-bet" else None)
    monkeypatch.setattr(whole_head, "extract", extract)
    scan = str(session / "raw/sub-07/ses-2/anat/sub-07_ses-2_T1w.nii.gz")
    first, second = (prepare(session, scan, "--no-bias")[1] for _ in range(2))
    assert "'hd-bet' failed (No route to host); the brain was looked for by 'built-in' instead." in first
    assert "found by 'built-in', for 'hd-bet' failed or was not there yet; --brain hd-bet tries it\n" in second


def test_a_mask_that_was_corrected_by_hand_is_neither_passed_over_nor_lost(session: Path) -> None:
    scans, given = (str(session / "raw"), "--no-register", "--no-bias"), ("--mask", str(session / "mask.nii.gz"))
    assert prepare(session, *scans, *given)[0] == 0
    mask = session / "out" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_desc-brain_mask.nii.gz"
    image = nib.load(mask)
    corrected = np.asarray(image.dataobj).copy()
    corrected[corrected.shape[0] // 2 :] = 0
    save_nifti(mask, corrected, image.affine)
    held = mask.read_bytes()
    for words in (given, (), ("--no-strip",)):
        status, said = prepare(session, *scans, *words)
        assert (status, said.partition("; ")[0]) == (2, f"'{mask}' was changed since it was written")
        assert mask.read_bytes() == held
    status, said = prepare(session, *scans, "--mask", str(mask))
    assert status == 0, said
    np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj) > 0, corrected > 0)
    [raw], _ = find_sessions([session / "raw"])
    found = raw.files
    status, said = prepare(session, *scans)  # as the command of a whole folder, which takes no --mask
    assert status == 0 and "nothing to do" in said
    status, said = prepare(session, *scans, "--normalise", "none")
    assert status == 0 and "with the brain mask that was given before" in said
    np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj) > 0, corrected > 0)
    moved = nib.load(session / "raw" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_T1w.nii.gz")
    turned = session / "turned" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_T1w.nii.gz"
    save_nifti(turned, np.asarray(moved.dataobj)[:, :, :-4], moved.affine)
    with pytest.raises(MrtransError, match="which was given before, does not lie on the grid of T1; give a --mask on"):
        prepare_session(
            RawSession("sub-07", "ses-2", {Contrast.T1: turned, Contrast.T2: found[Contrast.T2]}),
            session / "out", Options(register=False, bias=False), None, lambda _: None,
        )  # fmt: skip
    for words in (("--no-strip",), ("--brain", "built-in")):
        status, said = prepare(session, *scans, *words)
        assert (status, said.partition("; ")[0]) == (2, f"'{mask}' was given with --mask and would be lost")
    save_nifti(mask, np.asarray(image.dataobj), image.affine)
    status, said = prepare(session, *scans, *given, "--overwrite")
    assert status == 0 and "nothing to do" not in said
    assert "nothing to do" in prepare(session, *scans, *given)[1]


def test_every_step_can_be_left_out(session: Path) -> None:
    off = ("--no-register", "--no-bias", "--no-strip", "--normalise", "none")
    status, said = prepare(session, str(session / "raw"), *off)
    assert status == 0, said
    anat = session / "out" / "sub-07" / "ses-2" / "anat"
    np.testing.assert_allclose(
        nib.load(anat / "sub-07_ses-2_desc-preproc_T1w.nii.gz").get_fdata(), head()[0].data, rtol=1e-5
    )
    assert not list(anat.glob("*mask*"))
    assert json.loads((anat / "sub-07_ses-2_desc-preproc.json").read_text())["registration"] == {}


def test_what_was_left_out_since_is_not_read_any_more(session: Path) -> None:
    from napari_mrtrans.datasets.readers import read_folder

    raw = session / "raw" / "sub-07" / "ses-2" / "anat"
    t1, t2 = (str(raw / f"sub-07_ses-2_{name}.nii.gz") for name in ("T1w", "T2w"))
    off = ("--no-register", "--no-bias", "--mask", str(session / "mask.nii.gz"))
    assert prepare(session, t1, t2, *off)[0] == 0
    status, said = prepare(session, t1, *off[:2], "--no-strip", "--overwrite")
    assert status == 0, said
    [read] = read_folder(session / "out").sessions
    assert set(read.files) == {Contrast.T1}
    assert not list((session / "out").rglob("*mask*"))


def test_a_contrast_that_is_not_given_any_more_is_not_removed_unasked(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IXI comes as a folder for each contrast: the T2 now, the PD another day."""
    monkeypatch.setattr(pipeline, "save_picture", lambda path, *_: path.touch())
    for contrast, people in (("T1", "23"), ("T2", "2"), ("PD", "23")):
        for k in people:
            save_nifti(session / f"IXI-{contrast}/IXI00{k}-Guys-000{k}-{contrast}.nii.gz", head()[0].data)
    t1, t2, pd = (str(session / f"IXI-{contrast}") for contrast in ("T1", "T2", "PD"))
    assert prepare(session, t1, t2, *PLAIN)[0] == 0
    before = {path: path.read_bytes() for path in (session / "out").rglob("*IXI002*") if path.is_file()}
    status, said = prepare(session, t1, pd, *PLAIN)
    assert status == 2 and said == "1 of 2 sessions were not prepared: sub-IXI002Guys0002."
    assert {path: path.read_bytes() for path in before} == before
    assert list((session / "out").rglob("*IXI003*_PDw.nii.gz"))
    alone, _ = find_sessions([session / f"IXI-{c}/IXI002-Guys-0002-{c}.nii.gz" for c in ("T1", "PD")])
    with pytest.raises(MrtransError, match=r"^The prepared T2 of sub-\w+ \(of '.*-T2.nii.gz'\) would be removed, since "
                       r"only T1, PD are given now; give all contrasts together, or --overwrite\.$"):  # fmt: skip
        prepare_session(alone[0], session / "out", Options(False, False, False, normalise="none"))
    assert prepare(session, t1, t2, pd, *PLAIN)[0] == 0
    assert len([*(session / "out").rglob("*IXI002*.nii.gz")]) == 3


def test_a_fault_at_one_session_costs_no_other(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> Volume:
        if "sub-1" in path.name:
            raise MemoryError("Unable to allocate 468. MiB")
        return honest(path, *_)

    honest = pipeline.read_scan
    monkeypatch.setattr(pipeline, "save_picture", lambda path, *_: path.touch())
    monkeypatch.setattr(pipeline, "read_scan", full)
    for k in (1, 2):
        save_nifti(session / f"two/sub-{k}/anat/sub-{k}_T1w.nii.gz", head()[0].data)
    (session / "two" / "sub-3" / "anat").mkdir(parents=True)
    (session / "two" / "sub-3" / "anat" / "sub-3_T1w.nii.gz").symlink_to("../.git/annex/x")
    status, said = prepare(session, str(session / "two"), *PLAIN)
    assert (status, said) == (2, "2 of 3 sessions were not prepared: sub-1, sub-3.")
    assert [path.name for path in (session / "out").rglob("*_T1w.nii.gz")] == ["sub-2_desc-preproc_T1w.nii.gz"]
    dangling, _ = find_sessions([session / "two" / "sub-3"])
    with pytest.raises(MrtransError, match=r"is a link to '../.git/annex/x', which is not there\. Fetch that file"):
        prepare_session(dangling[0], session / "out", say=lambda _: None)
    assert prepare(session, str(session / "two" / "sub-1"), *PLAIN)[0] == 1  # raised: there is nothing to go on with


def test_stripped_scans_stay_stripped_when_they_are_resampled() -> None:
    """Splines ring out of the head in numbers too small to see."""
    scan, brain = head()
    scan = replace(scan, data=np.where(brain, scan.data, np.float32(0)))
    moved = resample(scan, scan, motion((1, 2, 3), (1.3, 0.4, 2.2)))
    assert is_stripped(scan.data) and is_stripped(moved)
    assert abs(np.count_nonzero(moved) / np.count_nonzero(scan.data) - 1) < 0.1


@pytest.mark.parametrize("normalise", ["robust", "min-max"])
def test_prepared_images_are_in_the_units_of_the_models_or_of_the_paper(session: Path, normalise: str) -> None:
    scans = [str(session / "raw"), "--mask", str(session / "mask.nii.gz"), "--no-register", "--no-bias"]
    status, said = prepare(session, *scans, "--normalise", normalise)
    assert status == 0, said
    found = {
        contrast: nib.load(session / "out/sub-07/ses-2/anat" / f"sub-07_ses-2_desc-preproc_{contrast}w.nii.gz")
        for contrast in ("T1", "T2")
    }
    (volume, brain), t1, t2 = head(), found["T1"].get_fdata(), found["T2"].get_fdata()
    for contrast, data in ((Contrast.T1, t1), (Contrast.T2, t2)):
        assert data.min() == 0
        if normalise == "robust":
            assert np.median(data[brain & (data > 0)]) == pytest.approx(1 / HEADROOM[contrast], rel=1e-3)
            assert data.max() <= 1
        else:
            assert data.max() == pytest.approx(1)
    if normalise == "min-max":
        np.testing.assert_allclose(t1[brain], volume.data[brain] / volume.data[brain].max(), rtol=1e-4)


def test_the_t1_is_held_still_and_moved_by_the_inverse(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's way for IXI: T1 into the space of T2, through a registration that has T1 as its reference."""
    asked = []

    def register(fixed: Volume, moving: Volume) -> Registration:
        asked.append((fixed.contrast, moving.contrast))
        return Registration(motion((0, 0, 6), (0, 12, 0)), 1.1, 1.2, 2.0)

    monkeypatch.setattr(pipeline, "register", register)
    status, said = prepare(session, str(session / "raw"), "--reference", "T2", "--no-bias", "--no-strip")
    assert status == 0, said
    assert asked == [(Contrast.T1, Contrast.T2)]
    anat = session / "out" / "sub-07" / "ses-2" / "anat"
    images = {c: nib.load(anat / f"sub-07_ses-2_desc-preproc_{c}w.nii.gz") for c in ("T1", "T2")}
    np.testing.assert_allclose(images["T1"].affine, motion((0, 0, 6), (0, 12, 0)) @ head()[0].affine, atol=1e-4)
    brain = head()[1]
    moved, still = images["T1"].get_fdata()[brain], head()[0].data[brain]
    assert np.corrcoef(moved, still)[0, 1] > 0.999
    assert "by chance" not in said


def test_a_registration_that_may_be_of_two_people_is_told(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "register", lambda *_: Registration(np.eye(4), 1.02, 1.02, 1.25))
    monkeypatch.setattr(pipeline, "save_picture", lambda path, *_: path.touch())
    status, said = prepare(session, str(session / "raw"), "--no-bias", "--no-strip")
    assert status == 0
    assert "sub-07_ses-2: the edges of T2 agree with those of T1 only 1.25 times as well as by chance; look in " in said


def test_a_folder_of_ixi_is_ready_for_the_papers_recipe(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_mrtrans.training.catalogue import load_recipe
    from napari_mrtrans.training.setup import open_splits

    monkeypatch.setattr(whole_head, "extract", lambda *_: head()[1])
    for i, site in enumerate(["Guys", "HH", "IOP", "Guys"]):
        for contrast in (Contrast.T1, Contrast.T2, Contrast.PD)[: 3 if i else 1]:
            volume, _ = head(contrast)
            name = f"IXI-{contrast}/IXI{i:03}-{site}-0{i:03}-{contrast}.nii.gz"
            save_nifti(session / "ixi" / name, volume.data, volume.affine)
    status, said = prepare(
        session, str(session / "ixi"), "--reference", "T2", "--no-register", "--no-bias", "--brain", "built-in"
    )
    assert (status, said) == (2, "1 of 4 sessions were not prepared: sub-IXI000Guys0000.")  # it has no T2
    splits, skipped = open_splits(load_recipe("paper-ixi-t1-t2-direct"), session / "out", session)
    assert skipped == []
    sessions = [s for source in splits.values() for s in source.sessions]
    assert {(s.name, s.site) for s in sessions} == {
        ("sub-IXI001HH0001", "HH"), ("sub-IXI002IOP0002", "IOP"), ("sub-IXI003Guys0003", "Guys"),
    }  # fmt: skip
    assert all(len(s.load()[0]) == 3 for s in sessions)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{}/raw", "--reference", "PD"], "sub-07_ses-2 has no PD to serve as reference"),
        (["{}/nothing"], "does not exist"),
        (["{}/empty"], "holds no BIDS scans"),
        (["{}/raw", "{}/mask.nii.gz"], "either the files of one session or BIDS folders"),
        (["{}/mask.nii.gz"], "contrast of 'mask.nii.gz' is not known"),
        (["{}/raw", "--brain", "magic"], "Unknown brain extraction 'magic'"),
        (["{}/raw", "--normalise", "max"], "Unknown normalisation 'max'. Choose one of robust, min-max, none."),
        (["{}/raw", "--format", "dicom"], "Unknown format 'dicom'"),
        (["{}/raw", "--mask", "{}/mask.nii.gz", "--no-strip"], "--mask is the brain to keep; leave out --no-strip"),
        (["{}/raw", "--mask", "{}/mask.nii.gz", "--brain", "built-in"], "With --mask no brain is looked for"),
        (["{}/far", "--no-register", "--no-strip", "--no-bias"], "T2 and T1 do not overlap by their headers"),
        (
            ["{}/raw", "--no-register", "--mask", "{}/raw/sub-07/ses-2/anat/sub-07_ses-2_T2w.nii.gz"],
            "not lie on the grid",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_mistakes_are_answered_in_one_line(session: Path, arguments: list[str], line: str) -> None:
    (session / "empty").mkdir()
    for contrast, far in (("T1", 0), ("T2", 500)):
        save_nifti(session / "far/sub-1/anat" / f"sub-1_{contrast}w.nii.gz", head()[0].data, motion(shift=(0, 0, far)))
    status, said = prepare(session, *(text.format(session) for text in arguments))
    assert status == 2
    assert line in said
    assert "\n" not in said
    assert not (session / "out").exists()


def test_a_session_that_fails_does_not_stop_the_others(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_head, "extract", lambda volume, _: working_image(volume, 2.0) and head()[1])
    bad = session / "raw" / "sub-08" / "anat"
    save_nifti(bad / "sub-08_T1w.nii.gz", np.random.default_rng(0).random((20, 20, 1)).astype(np.float32))
    status, said = prepare(session, str(session / "raw"), "--no-register", "--no-bias", "--brain", "built-in")
    assert status == 2
    assert said == "1 of 2 sessions were not prepared: sub-08."
    assert (session / "out" / "sub-07").exists()
    assert not (session / "out" / "sub-08").exists()


def test_ctrl_c_leaves_nothing_half_written(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "save_picture", interrupt)
    [found], _ = find_sessions([session / "raw"])
    options = Options(register=False, bias=False, strip=False)
    with pytest.raises(KeyboardInterrupt):
        prepare_session(found, session / "out", options, say=lambda _: None)
    assert not [path for path in (session / "out").rglob("*") if path.is_file() and path.name.startswith("sub")]
    assert not list((session / "out").rglob(".part*"))


def test_a_full_disk_is_one_line(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "save_picture", full)
    [found], _ = find_sessions([session / "raw"])
    with pytest.raises(MrtransError, match="No space left on device"):
        prepare_session(found, session / "out", Options(False, False, False), say=lambda _: None)
    assert not list((session / "out" / "sub-07").rglob("*.*"))
    tried: list[str] = []
    prepared = pipeline.prepare_session

    def counted(raw: RawSession, *given: object) -> list[Path]:
        tried.append(raw.stem)
        return prepared(raw, *given)

    monkeypatch.setattr(pipeline, "prepare_session", counted)
    shutil.copytree(session / "raw" / "sub-07", session / "raw" / "sub-08")
    for path in (session / "raw" / "sub-08").rglob("*.nii.gz"):
        path.rename(path.with_name(path.name.replace("sub-07", "sub-08")))
    status, said = prepare(session, str(session / "raw"), "--no-register", "--no-bias", "--no-strip")
    assert status == 2 and "No space left on device" in said
    assert tried == ["sub-07_ses-2"]  # the disk is as full for the others


def test_sessions_of_files_and_folders(tmp_path: Path) -> None:
    image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    for name in ("IXI002-Guys-0828-T1.nii.gz", "IXI002-Guys-0828-T2.nii.gz", "other_T1w.nii.gz"):
        save_nifti(tmp_path / name, image)
    [found], _ = find_sessions([tmp_path / "IXI002-Guys-0828-T1.nii.gz", tmp_path / "IXI002-Guys-0828-T2.nii.gz"])
    assert found.subject == "sub-IXI002Guys0828"
    assert set(found.files) == {Contrast.T1, Contrast.T2}
    with pytest.raises(MrtransError, match="are both T1"):
        find_sessions([tmp_path / "IXI002-Guys-0828-T1.nii.gz", tmp_path / "other_T1w.nii.gz"])
    for name in ("sub-1/ses-a/anat/sub-1_ses-a_T1w", "sub-1/ses-b/anat/sub-1_ses-b_FLAIR", "sub-2/anat/sub-2_T2w"):
        save_nifti(tmp_path / "bids" / f"{name}.nii.gz", image)
    save_nifti(tmp_path / "bids" / "derivatives" / "x" / "sub-2" / "anat" / "sub-2_T1w.nii.gz", image)
    assert [s.stem for s in find_sessions([tmp_path / "bids"])[0]] == ["sub-1_ses-a", "sub-1_ses-b", "sub-2"]
    assert [s.stem for s in find_sessions([tmp_path / "bids" / "sub-1"])[0]] == ["sub-1_ses-a", "sub-1_ses-b"]
    assert [s.stem for s in find_sessions([tmp_path / "bids" / "sub-1" / "ses-b"])[0]] == ["sub-1_ses-b"]


PLAIN = ("--no-register", "--no-bias", "--no-strip", "--normalise", "none")


def test_what_is_not_ours_is_not_replaced(session: Path) -> None:
    about = session / "out" / "dataset_description.json"
    about.parent.mkdir()
    about.write_text('{"Name": "The study", "BIDSVersion": "1.9.0"}')
    status, said = prepare(session, str(session / "raw"), *PLAIN)
    assert status == 2 and "holds another data set; choose another folder with -o" in said
    assert "The study" in about.read_text()
    about.unlink()
    foreign = session / "out" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_desc-preproc_T1w.nii.gz"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of another program")
    status, said = prepare(session, str(session / "raw"), *PLAIN)
    assert status == 2 and "is there already, of another program; choose another folder, or --overwrite" in said
    assert foreign.read_bytes() == b"of another program"
    assert prepare(session, str(session / "raw"), *PLAIN, "--overwrite")[0] == 0
    assert foreign.read_bytes() != b"of another program"


def test_what_a_description_says_besides_stays(session: Path) -> None:
    assert prepare(session, str(session / "raw"), *PLAIN)[0] == 0
    about = session / "out" / "dataset_description.json"
    said = json.loads(about.read_text()) | {"Authors": ["Süß"], "License": "CC0", "Name": "Ours"}
    said["GeneratedBy"].append({"Name": "dcm2niix"})
    about.write_text(json.dumps(said))
    before = about.read_bytes()
    assert prepare(session, str(session / "raw"), *PLAIN[:-1], "min-max")[0] == 0
    assert about.read_bytes() == before


def test_a_scan_is_never_replaced_by_what_is_made_of_it(session: Path) -> None:
    anat = session / "raw" / "sub-07" / "ses-2" / "anat"
    for file in sorted(anat.iterdir()):
        file.rename(scan := file.with_name(file.name.replace("ses-2_", "ses-2_desc-preproc_")))
    (session / "out").symlink_to(session / "raw", target_is_directory=True)
    before = scan.read_bytes()
    for more in ((), ("--overwrite",)):
        scans = [str(file) for file in anat.iterdir()]
        status, said = prepare(session, *scans, *PLAIN, *more)
        assert status == 2 and "is a scan to be prepared and would be replaced" in said
    assert scan.read_bytes() == before


def test_the_output_may_lie_among_the_scans(session: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(
            app, ["prepare", str(session / "raw"), *PLAIN, "-o", str(session / "raw" / "prepared")]
        )
        assert result.exit_code == 0, result.output
    assert "done before, nothing to do" in result.output


def test_a_single_slice_has_no_bias_field(session: Path) -> None:
    stripped = np.zeros((40, 40, 1), np.float32)
    stripped[10:30, 10:30] = np.random.default_rng(0).random((20, 20, 1)) + 1
    save_nifti(session / "raw" / "sub-08" / "anat" / "sub-08_T1w.nii.gz", stripped)
    status, said = prepare(session, str(session / "raw"), "--no-register", "--no-strip")
    assert status == 2 and said == "1 of 2 sessions were not prepared: sub-08."
    with pytest.raises(MrtransError, match=r"No bias field can be estimated from .* \(40 x 40 x 1 voxels\)"):
        (alone,) = find_sessions([session / "raw" / "sub-08"])[0]
        prepare_session(alone, session / "other", Options(strip=False))


def test_a_contrast_that_shows_nothing_of_the_brain_is_named(session: Path) -> None:
    """Its grid overlaps that of the reference, beside the brain."""
    t2 = session / "raw" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_T2w.nii.gz"
    reference, brain = head()
    below = int(np.flatnonzero(brain.any(axis=(0, 1)))[0]) - 1
    slab = np.random.default_rng(0).random((*brain.shape[:2], below)) + 1
    save_nifti(t2, slab.astype(np.float32), reference.affine)
    mask = str(session / "mask.nii.gz")
    for normalise in ("none", "robust"):
        words = (str(session / "raw"), "--no-register", "--mask", mask, "--normalise", normalise)
        status, said = prepare(session, *words)
        assert status == 2 and said.endswith("T2 shows nothing of the brain; leave it out, or give another --mask.")


def test_what_a_killed_run_had_put_into_place_is_ours(session: Path) -> None:
    """The record comes last; until then it lies beside the images under the name of a part."""
    assert prepare(session, str(session / "raw"), *PLAIN)[0] == 0
    record = session / "out" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_desc-preproc.json"
    record.rename(part_of(record))
    status, said = prepare(session, str(session / "raw"), *PLAIN)
    assert status == 0 and "1 of 1 session prepared" in said
    assert record.is_file() and not part_of(record).exists()
    record.write_text('{"sources": "of another program"}')  # a record that is there counts, whatever else is
    shutil.copy(record, part_of(record))
    assert prepare(session, str(session / "raw"), *PLAIN)[0] == 2


def test_the_scans_may_lie_in_the_output(session: Path) -> None:
    """As BIDS has it: the raw data of a derivative are in its sourcedata."""
    (session / "out").mkdir()
    (session / "raw").rename(session / "out" / "sourcedata")
    status, said = prepare(session, str(session / "out" / "sourcedata"), *PLAIN)
    assert status == 0 and "1 of 1 session prepared" in said
    status, said = prepare(session, str(session / "out"), *PLAIN)
    assert status == 2 and "holds nothing but what was prepared; give the folder of the raw scans" in said


def test_lines_of_bidsignore_stay(session: Path) -> None:
    (session / "out").mkdir()
    (session / "out" / ".bidsignore").write_text("extra/\n*_qc.png\n")
    assert prepare(session, str(session / "raw"), *PLAIN)[0] == 0
    lines = (session / "out" / ".bidsignore").read_text().splitlines()
    assert lines[:2] == ["extra/", "*_qc.png"] and len(lines) == len(set(lines)) and "*_desc-preproc.json" in lines


def test_another_program_s_image_of_a_contrast_that_is_not_prepared_stays(session: Path) -> None:
    """What an earlier result had and this one lacks is removed, but only if it was ours."""
    foreign = session / "out" / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_desc-preproc_FLAIR.nii.gz"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of another program")
    status, said = prepare(session, str(session / "raw"), *PLAIN)
    assert status == 2 and "is there already, of another program" in said
    assert foreign.read_bytes() == b"of another program"


def test_a_turned_head_that_is_not_stripped_is_not_all_white(session: Path) -> None:
    data = turned_head()
    scan = save_nifti(session / "sub-01_T1w.nii.gz", data, np.diag([6.0, 6.0, 6.0, 1.0]))
    status, said = prepare(session, str(scan), "--no-strip", "--no-bias")
    assert status == 0, said
    [path] = (session / "out").rglob("*_T1w.nii.gz")
    assert np.median(nib.load(path).get_fdata()[data > 10]) == pytest.approx(1 / HEADROOM[Contrast.T1], rel=0.01)
