"""Planning, one worker's part, summary and page, and every mistake that a user can make."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import napari_mrtrans as mt
from helpers import bids_folder, head, save_nifti, spoil, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.cli import main as cli
from napari_mrtrans.cohort.page import page
from napari_mrtrans.cohort.plan import Order, Output, find_scans
from napari_mrtrans.cohort.summary import Ledger, Row
from napari_mrtrans.cohort.thumbnail import redraw
from napari_mrtrans.cohort.work import remove_unfinished, work
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.transformation.request import Request

SHAPE = (20, 24, 8)
#: A head to processes that know no small ones.
VOXELS = np.diag([1.0, 1.75, 5.5, 1.0])
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("data") / "bids", 3, SHAPE, VOXELS)


def order(out: Path, checkpoint: Checkpoint, keep_samples: bool = False, **settings: object) -> Order:
    request = Request(Contrast.T2, Contrast.T1, **{"n": 2, "steps": 1, **settings})
    return Order.make(Output(out, keep_samples), checkpoint, request)


def _half(path: Path, data: bytes) -> int:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def scans(data: Path) -> list:
    return find_scans(data, Contrast.T1, print)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): ((stat := path.stat()).st_mtime_ns, stat.st_ino)
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- planning -----------------------------------------------------------------------------------------------------


def test_every_scan_is_found_and_goes_to_a_place_of_its_own(tmp_path: Path) -> None:
    for path in (
        "sub-01/ses-1/anat/sub-01_ses-1_run-1_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_run-2_T1w.nii",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_ce-gd_T1w.nii.gz",  # another contrast
        "sub-02/anat/sub-02_T2w.nii.gz",
        "site-b/sub-01/anat/sub-01_T1w.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
    ):
        save_nifti(tmp_path / path, head(SHAPE))
    found = scans(tmp_path)
    assert {(str(scan.folder), scan.stem) for scan in found} == {
        ("sub-01/ses-1/anat", "sub-01_ses-1_run-1_T1w"),
        ("sub-01/ses-1/anat", "sub-01_ses-1_run-2_T1w"),
        ("sub-01/ses-2/anat", "sub-01_ses-2_T1w"),
        ("site-b/sub-01/anat", "sub-01_T1w"),
    }
    (only,) = scans(tmp_path / "sub-01" / "ses-2")
    assert (str(only.folder), only.subject, only.session) == ("sub-01/ses-2/anat", "sub-01", "ses-2")


def test_a_second_file_of_one_name_is_left_out_and_named(tmp_path: Path) -> None:
    for end in (".nii", ".nii.gz"):
        save_nifti(tmp_path / "sub-01" / "anat" / f"sub-01_T1w{end}", head(SHAPE))
    said: list[str] = []
    assert len(find_scans(tmp_path, Contrast.T1, said.append)) == 1
    assert said == ["'sub-01_T1w.nii.gz' is left out: 'sub-01_T1w.nii' has the same name."]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"n": 3},
        {"steps": 2},
        {"sampler": "heun"},
        {"slices": (2, 4)},
        {"repair": True},
        {"prepare": False},
    ],
)
def test_what_changes_the_result_makes_it_another(
    data: Path, checkpoint: Checkpoint, tmp_path: Path, change: dict[str, object]
) -> None:
    scan = scans(data)[0]
    assert order(tmp_path, checkpoint).key(scan) != order(tmp_path, checkpoint, **change).key(scan)


def test_what_does_not_change_the_result_leaves_it(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    scan = scans(data)[0]
    plain = order(tmp_path, checkpoint, n=None, steps=None).key(scan)
    defaults = order(tmp_path / "x", checkpoint, n=4, steps=3, sampler="dpm++2m", device="cpu", batch=7, repair=False)
    assert plain == defaults.key(scan)


# --- a worker's part ----------------------------------------------------------------------------------------------


def test_one_model_load_for_all_scans_of_a_worker(
    data: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copy(checkpoint.path, tmp_path / "own.safetensors"))
    loads: list[Path] = []
    honest = Checkpoint.build

    def build(self: Checkpoint, device: object = "cpu") -> object:
        loads.append(self.path)
        return honest(self, device)

    monkeypatch.setattr(Checkpoint, "build", build)
    what = order(tmp_path / "out", mt.load_checkpoint(own))
    assert [work(scan, what).reason for scan in scans(data)] == [None] * 3
    assert loads == [own]


def test_the_result_is_that_of_transform_and_is_made_once(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    what, scan, told = order(tmp_path, checkpoint, keep_samples=True), scans(data)[0], []
    assert work(scan, what, told.append).reason is None
    assert told == sorted(told)
    assert told[-1] == 1
    alone = mt.transform(mt.Volume.load(scan.path), checkpoint, target="T2", n=2, steps=1, keep_samples=True)
    files = alone.save(tmp_path / "alone", bids=True)
    there = tmp_path / "sub-00" / "anat"
    assert {path.name for path in there.iterdir()} == {path.name for path in files.values()}
    for path in files.values():
        if path.suffix == ".gz":
            mine, theirs = nib.load(there / path.name), nib.load(path)
            np.testing.assert_array_equal(mine.get_fdata(), theirs.get_fdata())
            np.testing.assert_array_equal(mine.affine, theirs.affine)
    written, expected = (
        json.loads((f / "sub-00_desc-synthetic_T2w.json").read_text()) for f in (there, tmp_path / "alone")
    )
    assert written.keys() - expected.keys() == {"key", "files"}
    assert written["sigma_hat"] == expected["sigma_hat"]
    before = contents(tmp_path)
    for wanted in (what, replace(what, keep_samples=False)):
        assert wanted.is_done(scan)
        assert work(scan, wanted).reason is None
    assert contents(tmp_path) == before


def test_other_settings_replace_all_of_a_result(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    scan = scans(data)[0]
    work(scan, order(tmp_path, checkpoint, keep_samples=True))
    other = order(tmp_path, checkpoint, seed=1)
    assert not other.is_done(scan)
    assert work(scan, other).reason is None
    assert other.is_done(scan)
    assert not list(tmp_path.rglob("*Samples_T2w.nii.gz"))
    assert not order(tmp_path, checkpoint, seed=1, keep_samples=True).is_done(scan)


def test_a_result_counts_only_when_complete_and_of_this_scan(
    data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(data, tmp_path / "data"))
    what, scan = order(tmp_path / "out", checkpoint), scans(own)[0]
    work(scan, what)
    std = what.record(scan).with_name("sub-00_desc-syntheticStd_T2w.nii.gz")
    std.rename(tmp_path / "elsewhere")
    assert not what.is_done(scan)
    (tmp_path / "elsewhere").rename(std)
    assert what.is_done(scan)
    held = std.read_bytes()
    std.write_bytes(b"")  # as a machine leaves it whose power failed
    assert not what.is_done(scan)
    std.write_bytes(held)
    assert what.is_done(scan)
    picture = what.thumbnail(scan)
    shown = picture.read_bytes()
    picture.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:  # half of it is written when the disk is full
        patch.setattr(Path, "write_bytes", lambda path, data: _half(path, data))
        redraw(what, [scan])
    assert picture.read_bytes() == b"" and not [*picture.parent.glob(".part-*")]
    redraw(what, [scan])
    assert picture.read_bytes() == shown
    save_nifti(scan.path, head(SHAPE, seed=9))
    assert not what.is_done(scan)
    what.record(scan).write_text('{"key"')
    assert not what.is_done(scan)


def test_a_checkpoint_that_changes_midway_stops_the_cohort(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    own = Path(shutil.copy(checkpoint.path, tmp_path / "own.safetensors"))
    what = order(tmp_path / "out", mt.load_checkpoint(own))
    first, second, _ = scans(data)
    assert work(first, what).reason is None
    tiny_checkpoint(own, seed=1)
    outcome = work(second, what)
    assert outcome.stop
    assert "'own.safetensors' or its calibration changed while the cohort was running; run it again" in outcome.reason
    assert not what.record(second).exists()


def test_a_bad_scan_is_one_line(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    own = Path(shutil.copytree(data, tmp_path / "data"))
    scan = scans(own)[0]
    scan.path.write_bytes(scan.path.read_bytes()[:-40])
    outcome = work(scan, order(tmp_path / "out", checkpoint))
    assert re.fullmatch(r"'.*sub-00_T1w.nii.gz' is truncated or damaged .* Copy or convert it again\.", outcome.reason)
    assert not outcome.stop
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.parametrize("code, stop", [(errno.ENOSPC, True), (errno.EROFS, True), (errno.EACCES, False)])
def test_a_full_disk_stops_the_cohort_and_a_closed_folder_does_not(
    data: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, stop: bool
) -> None:
    def refuse(image: nib.Nifti1Image, path: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", refuse)
    outcome = work(scans(data)[0], order(tmp_path, checkpoint))
    assert outcome.stop is stop and outcome.reason is not None and f"({os.strerror(code)})." in outcome.reason
    assert ("Free some space and run it again" in outcome.reason) is (code == errno.ENOSPC)


def test_a_subject_whose_results_are_on_another_disk(
    data: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is a link; the files come into place on that disk, and those of a killed run are removed from it."""
    replace, disk, out = Path.replace, tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    out.mkdir()
    (out / "sub-00").symlink_to(disk)

    def on_one_disk(self: Path, target: Path) -> Path:
        if self.resolve().is_relative_to(disk) != target.resolve().is_relative_to(disk):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", on_one_disk)
    scan = scans(data)[0]
    for what in (order(out, checkpoint), order(out, checkpoint, seed=1)):
        assert work(scan, what).reason is None
        assert what.is_done(scan) and what.thumbnail(scan).is_file()
    assert not list(disk.rglob(".*"))
    left = [path.parent / ".unfinished-cohort-0" for path in (what.record(scan), what.thumbnail(scan))]
    for folder in left:
        folder.mkdir()
    remove_unfinished([scan], what)
    assert not any(folder.exists() for folder in left)


def test_a_worker_of_a_run_that_was_stopped_leaves_the_next_run_s_results_alone(
    data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """A scheduler elsewhere does not end what its workers are at."""
    scan, stopped, now = scans(data)[0], order(tmp_path, checkpoint), order(tmp_path, checkpoint, seed=1)
    stopped.claim()
    assert stopped.is_asked()

    def meanwhile(share: float) -> None:
        if share == 1:
            now.claim()
            assert work(scan, now).reason is None

    outcome = work(scan, stopped, meanwhile)
    assert outcome.reason is not None and outcome.reason.startswith("Another run computes into")
    assert now.is_done(scan) and now.is_asked() and not stopped.is_asked()
    assert not list(tmp_path.rglob(".unfinished*"))
    order(tmp_path, checkpoint, seed=1, device="cpu").claim()  # the same work again
    assert now.is_asked()


def test_a_result_of_other_settings_is_no_row_of_this_cohort(
    data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    scan, what = scans(data)[0], order(tmp_path, checkpoint)
    assert work(scan, what).reason is None
    ledger = Ledger.read(what, [scan])
    assert [row.status for row in ledger.rows()] == ["done"]
    assert work(scan, order(tmp_path, checkpoint, seed=1)).reason is None  # by somebody who should not
    (row,) = ledger.rows()
    assert (row.status, row.reason) == ("not done", "Its result was replaced by that of another run.")


def test_a_worker_of_another_version_refuses(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    outcome = work(scans(data)[0], replace(order(tmp_path, checkpoint), version="9.9"))
    assert outcome.reason == f"This worker has napari-mrtrans {mt.__version__}, and 9.9 asked; update it."


# --- summary ------------------------------------------------------------------------------------------------------


def test_the_worst_come_first(data: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    what, found = order(tmp_path, checkpoint), scans(data)
    for scan, p in zip(found[:2], (0.2, 0.9), strict=True):
        work(scan, what)
        record = what.record(scan)
        record.write_text(json.dumps(json.loads(record.read_text()) | {"ood_probability": p}))
    ledger = Ledger.read(what, found)
    assert [(row.participant_id, row.status) for row in ledger.rows()] == [
        ("sub-01", "done"), ("sub-00", "done"), ("sub-02", "not done"),
    ]  # fmt: skip
    ledger.failures[found[2]] = "no head"
    assert [row.participant_id for row in ledger.rows()] == ["sub-02", "sub-01", "sub-00"]


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8picture")
    rows = [
        Row("sub-1", "", "sub-1/<b>.nii", "failed", reason="a < b"),
        Row("sub-2", "", "x.nii", "done", 0.25, "usual", 0.05, result="sub-2/x y.json", thumbnail="a.jpg"),
        Row("sub-3", "", "y.nii", "not done"),
        Row("sub-4", "", "z.nii", "done", 0.9, "unusual", ood_reason="T1 < T2"),
    ]  # fmt: skip
    text = page("T1→T2", "tiny", rows, tmp_path)
    assert "sub-1/&lt;b&gt;.nii" in text
    assert "a &lt; b" in text
    assert "unusual<small>T1 &lt; T2</small>" in text
    assert 'href="sub-2/x%20y.json"' in text
    assert "0.25" in text
    assert text.count("data:image/jpeg;base64,") == 1
    assert not re.search(r'(src|href)="(https?:|/)', text)
    assert "<img" not in page("T1→T2", "tiny", rows, None)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``napari-mrtrans cohort`` with these words: exit status, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        words = ("napari-mrtrans", "cohort", *words, "--model", checkpoint.path)
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return run


def test_the_command_writes_derivatives_and_names_what_failed(run: Run, data: Path, tmp_path: Path) -> None:
    own, out = Path(shutil.copytree(data, tmp_path / "data")), tmp_path / "data" / "derivatives" / "t2"
    (own / "sub-01" / "anat" / "sub-01_T1w.nii.gz").write_bytes(b"nothing")
    words = (own, "--to", "T2", "-o", out, "-n", 2, "--steps", 1, "--workers", 1)
    code, said, notices = run(*words)
    assert code == 2
    assert notices.splitlines()[0] == "3 scans."
    assert re.search(r"^sub-01_T1w.nii.gz: '.*' cannot be read as NIfTI", notices, re.MULTILINE)
    assert notices.splitlines()[-1] == "1 of 3 scans failed; cohort_T1_T2.tsv says why."
    assert "2 scans computed." in said
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"][0]["Name"] == "napari-mrtrans"
    with (out / "cohort_T1_T2.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["status"] for row in rows] == ["failed", "done", "done"]
    assert all((out / row["result"]).is_file() and (out / row["thumbnail"]).is_file() for row in rows[1:])
    assert (out / "cohort_T1_T2.html").read_text().count("<img") == 2

    shutil.copy(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz", own / "sub-01" / "anat")
    code, said, notices = run(*words, "--no-thumbnails")
    assert (code, notices.splitlines()[0]) == (0, "3 scans, 2 of them done before.")  # a slow machine tells more
    assert "1 scan computed." in said
    assert "<img" not in (out / "cohort_T1_T2.html").read_text()
    # What was made without a picture gets one afterwards, of the same images.
    pictures = {path: path.read_bytes() for path in out.rglob("*.jpg")}
    assert len(pictures) == 2
    next(iter(pictures)).unlink()
    code, said, notices = run(*words)
    assert (code, notices.splitlines()[0]) == (0, "3 scans, 3 of them done before.")
    assert "0 scans computed." in said and len([*out.rglob("*.jpg")]) == 3
    assert all(path.read_bytes() == before for path, before in pictures.items())
    assert (out / "cohort_T1_T2.html").read_text().count("<img") == 3
    # BIDS wants to know of each image whether there is a skull in it.
    assert all(json.loads((out / row["result"]).read_text())["SkullStripped"] is True for row in rows[1:])
    assert "**/figures" in (out / ".bidsignore").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nowhere", "--to", "T2"), "'nowhere' does not exist; give a BIDS folder"),
        (("FILE", "--to", "T2"), "is no folder; give a BIDS folder"),
        (("EMPTY", "--to", "T2"), r"holds no T1 scans \(sub-\*/anat/\*_T1w.nii.gz\)"),
        (("DATA", "--to", "PD"), "does not serve T1→PD; it serves"),
        (("DATA", "--to", "T1"), "The scans are T1 already; choose another --to, or other scans with --from"),
        (("DATA", "--to", "T3"), "Unknown contrast 'T3'"),
        (("DATA", "--to", "T2", "-o", "DATA"), "lies among the scans of"),
        (("DATA", "--to", "T2", "-o", "DATA/results"), "lies among the scans of"),
        (("DATA/sub-00", "--to", "T2", "-o", "DATA"), "holds the scans of '.*sub-00' itself; choose another"),
        (("DATA/sub-00/anat", "--to", "T2", "-o", "DATA/sub-00"), "lies among the scans of"),
        (("DATA", "--to", "T2", "-o", "OTHER"), "holds another data set; choose another folder with -o"),
        (("DATA", "--to", "T2", "-o", "FILE"), "is no folder"),
        (("DATA", "--to", "T2", "--sampler", "best"), "best"),
        (("DATA", "--to", "T2", "--batch", "x"), "neither a positive number nor auto"),
        (("DATA", "--to", "T2", "--device", "tpu"), "Unknown device 'tpu'"),
        (("DATA", "--to", "T2", "--slices", "4"), "is no range; write it as 40:60"),
        (("DATA", "--to", "T2", "--save-samples", "-n", "65"), "At most 64 samples can be kept"),
        (("DATA", "--to", "T2", "--workers", "2", "--scheduler", "tcp://h:1"), "give one"),
        (("DATA", "--to", "T2", "--scheduler", "tcp://127.0.0.1:9"), "No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        (("DATA", "--to", "T2", "--scheduler", "no address"), "No Dask scheduler answers at 'no address'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], line: str
) -> None:
    from napari_mrtrans.cohort import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 1)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset_description.json").write_text('{"Name": "raw scans"}')
    places = {"DATA": data, "FILE": tmp_path / "file", "EMPTY": tmp_path / "empty", "OTHER": tmp_path / "other"}
    places |= {name: data / name.removeprefix("DATA/") for name in ("DATA/results", "DATA/sub-00", "DATA/sub-00/anat")}
    chosen = [places.get(word, word) for word in words]
    code, _, notices = run(*chosen, *(() if "-o" in words else ("-o", tmp_path / "out")))
    assert code == 2
    assert re.search(line, notices.splitlines()[-1])
    assert "Traceback" not in notices
    assert len(notices.splitlines()) <= 2  # "3 scans." may come first
    assert not list(tmp_path.rglob("*_desc-synthetic_T2w.nii.gz"))


def test_two_runs_into_one_folder_do_not_meet(run: Run, data: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    from napari_mrtrans.cohort.run import LOCK

    with FileLock(tmp_path / LOCK):
        code, _, notices = run(data, "--to", "T2", "-o", tmp_path)
    assert code == 2
    assert notices == f"Another run computes into '{tmp_path}'; wait for it, or choose another folder with -o.\n"


def test_without_dask_there_is_a_remedy(run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, notices = run(data, "--to", "T2", "-o", tmp_path)
    assert (code, notices) == (2, "Cohorts need Dask: pip install 'napari-mrtrans[cluster]'.\n")


def test_a_scheduler_that_runs_already_is_used(run: Run, data: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler.address
        code, said, notices = run(data, "--to", "T2", "-o", tmp_path, "-n", 2, "--steps", 1, "--scheduler", address)
    assert code == 0, notices
    assert "3 scans computed." in said


def test_workers_that_write_where_nobody_sees_it_stop_the_cohort(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler whose workers' output folder is another one of the same name."""
    from distributed import LocalCluster

    from napari_mrtrans.cohort import cluster
    from napari_mrtrans.cohort.work import Outcome

    monkeypatch.setattr(cluster, "UNSEEN", 0)
    monkeypatch.setattr(cluster, "_on_worker", lambda scan, order, key: Outcome(scan))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as elsewhere:
        words = (data, "--to", "T2", "-o", tmp_path, "-n", 2, "--scheduler", elsewhere.scheduler.address)
        code, said, notices = run(*words)
    assert code == 2 and "scans computed" not in said
    line = r"Workers wrote 'sub-0\d_desc-synthetic_T2w.json' where this machine cannot see it; choose a folder that all"
    assert re.match(line, notices.splitlines()[-1])


def test_a_result_that_is_gone_in_the_end_is_no_success(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.cohort import run as whole

    def gone(ledger: Ledger, *_: object) -> None:
        ledger.done = dict.fromkeys(ledger.done, True)

    monkeypatch.setattr(whole, "_compute_all", gone)
    code, _, notices = run(data, "--to", "T2", "-o", tmp_path, "--no-thumbnails")
    assert code == 2
    assert notices.splitlines()[-1] == "3 of 3 scans failed; cohort_T1_T2.tsv says why."
    assert "sub-00/anat/sub-00_T1w.nii.gz: Its result is not there any more." in notices.splitlines()
    said = "sub-00/anat/sub-00_T1w.nii.gz (Its result is not there any more.)"
    assert said in (tmp_path / "cohort_T1_T2.html").read_text()


def test_names_may_be_those_of_transform_and_other_scans_are_not_replaced(
    data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    scan = scans(data)[0]
    plain = Order.make(Output(tmp_path, bids=False), checkpoint, Request(Contrast.T2, Contrast.T1))
    assert plain.record(scan).name == "sub-00_T1w_T2.json"
    what = order(tmp_path, checkpoint)
    assert what.record(scan).name == "sub-00_desc-synthetic_T2w.json"
    assert work(scan, what).reason is None
    what.check_free([scan])
    other = replace(scan, path=scan.path.with_name("sub-00_FLAIR.nii.gz"))
    with pytest.raises(
        MrtransError, match=r"is the result of another scan \('.*sub-00_T1w.nii.gz'\); choose another folder"
    ):
        what.check_free([other])


def test_a_scan_of_the_same_name_elsewhere_is_another_unless_it_was_moved(
    data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    scan, what = scans(data)[0], order(tmp_path / "out", checkpoint)
    assert work(scan, what).reason is None
    moved = replace(scan, path=tmp_path / "moved" / scan.path.name)
    moved.path.parent.mkdir()
    moved.path.write_bytes(scan.path.read_bytes())
    what.check_free([moved])
    unpacked = replace(scan, path=moved.path.with_name(f"{scan.stem}.nii"))
    nib.load(scan.path).to_filename(unpacked.path)
    what.check_free([unpacked])
    save_nifti(moved.path, head(SHAPE, seed=9), VOXELS)
    with pytest.raises(MrtransError, match="is the result of another scan"):
        what.check_free([moved])
    moved.path.write_bytes(b"")  # which is said of it in its turn
    what.check_free([moved])


def test_a_slice_that_fails_keeps_the_others_and_is_tried_again(
    data: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.transformation.engine import Engine

    real, scan, what = Engine.transform, scans(data)[0], order(tmp_path, checkpoint)

    def failing(self: Engine, group: list[int], size: int) -> object:
        if self.job.order[1] in group:
            raise IndexError("too small")
        return real(self, group, size)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "transform", failing)
        reason = work(scan, what).reason
    assert reason is not None and "slices failed, the others were kept. IndexError: too small" in reason
    assert not json.loads(what.record(scan).read_text())["complete"] and not what.is_done(scan)
    assert work(scan, what).reason is None
    assert json.loads(what.record(scan).read_text())["complete"] and what.is_done(scan)


def test_numbers_that_are_no_image_are_named_and_left_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.scan.volume import Volume

    spoil(monkeypatch, 1)
    asked, scan = order(tmp_path / "out", tiny_checkpoint(tmp_path / "bad.safetensors")), scans(data)[0]
    outcome = work(scan, asked)
    filled = np.flatnonzero(Volume.load(scan.path).data.any(axis=(0, 1))).tolist()
    second = filled[len(filled) // 2 - 1]
    line = f"'bad' gave NaN or infinity for slice {second}, sample 2: the file is damaged"
    assert outcome.reason and f"1 of {len(filled)} slices failed, the others were kept. {line}" in outcome.reason
    info = json.loads(asked.record(scan).read_text())
    assert (info["complete"], info["slices"]) == (False, [k for k in filled if k != second])
    mean = np.asarray(nib.load(asked.record(scan).with_name(asked.file_name(scan, "mean"))).dataobj)
    assert np.flatnonzero(mean.any(axis=(0, 1))).tolist() == info["slices"]
    assert not asked.is_done(scan)


def test_scans_whose_results_would_have_one_name(run: Run, data: Path, tmp_path: Path) -> None:
    """What BIDS does not allow in a label is left out of it; two that then are alike are told, and nothing is mixed."""
    anat, out = tmp_path / "data" / "sub-01" / "anat", tmp_path / "out"
    anat.mkdir(parents=True)
    for acquisition in ("0.8mm", "1.0mm", "08mm"):
        shutil.copy(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz", anat / f"sub-01_acq-{acquisition}_T1w.nii.gz")
    words = (tmp_path / "data", "--to", "T2", "-o", out, "-n", 2, "--steps", 1, "--workers", 1, "--no-thumbnails")
    for expected in ("2 scans.", "2 scans, 2 of them done before."):
        code, _, notices = run(*words)
        assert code == 0 and expected in notices.splitlines()
        told = "'sub-01_acq-08mm_T1w.nii.gz' is left out: its result would be called as that of 'sub-01_acq-0.8mm_"
        assert told in notices
    made = sorted(path.name for path in out.rglob("*_desc-synthetic_T2w.nii.gz"))
    assert made == ["sub-01_acq-08mm_desc-synthetic_T2w.nii.gz", "sub-01_acq-10mm_desc-synthetic_T2w.nii.gz"]
    assert not list(out.rglob("*.jpg"))


@pytest.mark.parametrize("bids", [True, False])
def test_two_people_whose_results_would_have_one_name(
    bids: bool, data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """Their folders differ, but whoever goes by the names of files takes them for one person."""
    names = ("a/sub-1.2", "a/sub-12", "b/sub-12", "b/sub-é5", "b/sub-5", "b/sub-张", "b/sub-李")
    for name in names:
        anat = tmp_path / name / "anat"
        anat.mkdir(parents=True)
        name = f"{anat.parent.name}_T1w.nii.gz" if bids else "scan_T1w.nii.gz"
        shutil.copy(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz", anat / name)
    what = replace(order(tmp_path / "out", checkpoint), bids=bids)
    said: list[str] = []
    kept = what.apart(scans(tmp_path), said.append)
    assert len(kept) == len(names) - bids and len({what.places(scan) for scan in kept}) == len(kept)
    told = "'sub-12_T1w.nii.gz' is left out: its result would be called as that of 'sub-1.2_T1w.nii.gz'; rename one"
    assert [line.startswith(told) for line in said] == [True] * bids
    assert not bids or {"sub-张", "sub-é5"} <= {what.record(scan).name.partition("_")[0] for scan in kept}


def test_two_data_sets_in_one_folder_share_its_table(run: Run, data: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "out" / "cohort_T1_T2.tsv"
    for number in (1, 2):
        anat = tmp_path / f"site-{number}" / f"sub-{number}" / "anat"
        anat.mkdir(parents=True)
        shutil.copy(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz", anat / f"sub-{number}_T1w.nii.gz")

    def listed(number: int, *more: object) -> list[str]:
        words = (tmp_path / f"site-{number}", "--to", "T2", "-o", out, "--steps", 1, "--workers", 1, *more)
        assert run(*words)[0] == 0
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        page = (out / "cohort_T1_T2.html").read_text()
        assert all(row["participant_id"] in page and float(row["seconds"]) > 0 for row in rows)
        return sorted(row["participant_id"] for row in rows)

    assert listed(1, "-n", 2) == ["sub-1"]
    assert listed(2, "-n", 2) == listed(1, "-n", 2) == ["sub-1", "sub-2"]
    assert listed(2, "-n", 4) == ["sub-2"]  # sub-1's is of other settings than the page says
    assert listed(1, "-n", 4) == ["sub-1", "sub-2"]
    for other in (("--slices", "3:5"), ("--no-antithetic",), ("--sampler", "heun")):
        assert listed(2, "-n", 4, *other) == ["sub-2"]
        assert listed(1, "-n", 4, *other) == ["sub-1", "sub-2"]
    assert listed(2, "-n", 4) == ["sub-2"]
    next(out.rglob("sub-2*_T2w.json")).unlink()
    assert listed(1, "-n", 4) == ["sub-1"]
