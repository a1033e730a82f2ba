from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers import bids_folder, close_folder, head, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.cohort.folders import find_any, is_bids, scans_of
from napari_mrtrans.cohort.plan import Order, Output, Scan
from napari_mrtrans.cohort.run import Cohort, Watch, Workers, run_scans
from napari_mrtrans.cohort.summary import Ledger
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.transformation.names import file_name, is_result
from napari_mrtrans.transformation.request import Request

SHAPE = (20, 24, 8)
#: Results of this package, derivatives, masks and other contrasts among the scans of a plain folder.
FILES = (
    "IXI-T1/a-T1.nii.gz", "IXI-T1/b-T1.nii", "IXI-T2/a-T2.nii.gz", "b_T1.nii.gz", "b_T1.nii", "b_T1_T2_mean.nii.gz",
    "b_T1_T2_std-calibrated.nii.gz", "b_T1_T2.json", "derivatives/x/a-T1.nii.gz", ".hidden/a-T1.nii.gz",
    "b_T1_mask.nii.gz", "b_T1_lesions.nii.gz", "b_T1_pve_0.nii.gz", "a.txt",
)  # fmt: skip


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_scans_of_a_plain_folder(tmp_path: Path) -> None:
    _touch(tmp_path, *FILES)
    (tmp_path / "b_T1_T2.json").write_text('{"checkpoint": "tiny"}')
    said: list[str] = []
    scans, bids = find_any(tmp_path, Contrast.T1, said.append)
    assert not bids
    assert [(str(scan.folder), scan.path.name, scan.stem) for scan in scans] == [
        ("IXI-T1", "a-T1.nii.gz", "a-T1"), ("IXI-T1", "b-T1.nii", "b-T1"), (".", "b_T1.nii", "b_T1"),
    ]  # fmt: skip
    assert said == ["'b_T1.nii.gz' is left out: 'b_T1.nii' has the same name."]
    with pytest.raises(MrtransError, match="holds no FLAIR by the names of its files, only 4 T1, 1 T2; choose another"):
        find_any(tmp_path, Contrast.FLAIR, said.append)


def test_pictures_of_files_of_one_name_lie_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "P001/T1.nii.gz", "P001/anat/T1.nii.gz", "P002/T1.nii.gz")
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors")
    scans, _ = find_any(tmp_path, Contrast.T1, print)
    order = Order.make(Output(tmp_path / "out", bids=False), checkpoint, Request(Contrast.T2, Contrast.T1))
    named = [*scans, *scans_of([("a/b", tmp_path / "x.nii")])]
    assert [str(order.thumbnail(scan).relative_to(order.out)) for scan in named] == [
        "P001/figures/T1_T2.jpg", "P001/anat/figures/T1_T2.jpg", "P002/figures/T1_T2.jpg", "figures/a_b_T2.jpg"
    ]  # fmt: skip


def test_names_that_tell_no_contrast(tmp_path: Path) -> None:
    _touch(tmp_path, "001.nii.gz", "002.nii.gz")
    said: list[str] = []
    scans, _ = find_any(tmp_path, Contrast.T2, said.append)
    assert [scan.stem for scan in scans] == ["001", "002"]
    assert said == ["The names of these 2 files tell no contrast; all were taken as T2."]


def test_files_of_unknown_contrast_are_counted(tmp_path: Path) -> None:
    _touch(tmp_path, "a_T1.nii.gz", "scan0007.nii.gz", "scan0008.nii.gz", "b_T2.nii.gz")
    said: list[str] = []
    scans, _ = find_any(tmp_path, Contrast.T1, said.append)
    assert [scan.stem for scan in scans] == ["a_T1"]
    assert said == ["2 files of unknown contrast left out, e.g. 'scan0007.nii.gz'."]


def test_bids_stays_bids(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "stray_T1w.nii.gz")
    scans, bids = find_any(tmp_path, Contrast.T1, print)
    assert (bids, is_bids(tmp_path), [scan.subject for scan in scans]) == (True, True, ["sub-01"])


@pytest.mark.parametrize(
    ("name", "line"),
    [("nowhere", "'.*nowhere' does not exist; choose"), ("file", "is no folder"), ("empty", "holds no NIfTI files")],
)
def test_folders_without_scans(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MrtransError, match=line):
        find_any(tmp_path / name, Contrast.T1, print)


def test_two_images_of_one_name(tmp_path: Path) -> None:
    files = [("T1", tmp_path / "a" / "T1.nii"), ("t1", tmp_path / "b" / "t1.nii")]
    with pytest.raises(MrtransError, match="Two images are called 't1', and so would be their results; rename"):
        scans_of(files)
    assert scans_of(files[:1]) == [Scan(files[0][1], "", "", Path(), "T1")]


@pytest.mark.parametrize("bids", [False, True])
def test_results_are_known_by_their_names(bids: bool, tmp_path: Path) -> None:
    (tmp_path / file_name("sub-01_T1w", "FLAIR", "json", bids=bids)).write_text('{"checkpoint": "tiny"}')
    for kind in ("mean", "std", "std-calibrated", "samples"):
        assert is_result(tmp_path / file_name("sub-01_T1w", "FLAIR", kind, bids=bids))
    for name in ("sub-01_T1w", "sub-01_mean_T1w", "T1_mean"):
        assert not is_result(tmp_path / f"{name}.nii.gz")


def test_an_average_of_acquisitions_is_a_scan(tmp_path: Path) -> None:
    _touch(tmp_path, "p01_T1_mean.nii.gz", "p01_T1.json", "p02_T1.nii.gz", "p03_T1.nii.gz", "p03_T1_T1_mean.nii.gz")
    (tmp_path / "p03_T1_T1.json").write_text('{"checkpoint": "tiny"}')
    scans, _ = find_any(tmp_path, Contrast.T1, print)
    assert [scan.path.name for scan in scans] == ["p01_T1_mean.nii.gz", "p02_T1.nii.gz", "p03_T1.nii.gz"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


def test_here_without_dask_cancelled_and_gone_on_with(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The scan that a cancel comes upon leaves nothing; the next run does it and those after it."""
    for number in range(2):
        save_nifti(tmp_path / "in" / f"{number}_T1.nii.gz", head(SHAPE, seed=number))
    save_nifti(tmp_path / "in" / "9_T1.nii.gz", np.ones(SHAPE, np.float32))
    scans, _ = find_any(tmp_path / "in", Contrast.T1, print)
    request, output = Request("T2", "T1", n=2, steps=1, slices=(2, 6)), Output(tmp_path / "out", bids=False)
    at: dict[Scan, float] = {}
    stopped = []

    def cancelled() -> bool:
        """As soon as the second scan has a slice."""
        if at.get(scans[1], 0) > 0:
            stopped.append(True)
        return bool(stopped)

    def look(ledger: Ledger, shares: dict[Scan, float]) -> None:
        nonlocal at
        at = shares

    def go(ledger: Callable[[Ledger, dict[Scan, float]], None], cancelled: Callable[[], bool]) -> Cohort:
        watch = Watch(say=lambda line: None, ledger=ledger, cancelled=cancelled)
        return run_scans(scans, output, checkpoint, request, workers=Workers(here=True), watch=watch)

    first = go(look, cancelled)
    assert [row.status for row in first.rows] == ["done", "not done", "not done"]
    assert first.computed == 1
    assert [path.name for path in (tmp_path / "out").glob("*mean*")] == ["0_T1_T2_mean.nii.gz"]
    seen: list[list[str]] = []
    second = go(lambda ledger, _: seen.append([ledger.row(scan).status for scan in scans]), lambda: False)
    assert second.computed == 1
    assert seen == [["done", "not done", "not done"], ["done", "done", "not done"], ["done", "done", "failed"]]
    assert "is constant" in second.rows[0].reason
    assert second.rows[1].ood_reason == ""


def test_ctrl_c_is_answered_before_the_workers_have_ended(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def interrupt(*_: object) -> Iterator[None]:
        yield None
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_mrtrans.cohort.run.one_by_one", interrupt)
    save_nifti(tmp_path / "in" / "a_T1.nii.gz", head(SHAPE))
    scans, _ = find_any(tmp_path / "in", Contrast.T1, print)
    with pytest.raises(KeyboardInterrupt):
        run_scans(
            scans, Output(tmp_path / "out"), checkpoint, Request("T2", "T1", n=2),
            workers=Workers(here=True), watch=Watch(say=said.append),
        )  # fmt: skip
    assert said == ["1 scan.", "Stopping…"]


# --- the table and the page over several runs ---------------------------------------------------------------------


def _go(
    folder: Path, checkpoint: Checkpoint, out: Path | None = None, bids: bool = True, **settings: object
) -> list[dict[str, str]]:
    """The table after a run; ``out`` is as a rule beside the folder."""
    out, said = out or folder.parent / "out", list[str]()
    request = Request("T2", "T1", **{"n": 2, "steps": 1, "slices": (3, 5), **settings})
    scans, _ = find_any(folder, Contrast.T1, said.append)
    watch = Watch(say=said.append)
    run_scans(scans, Output(out, bids=bids), checkpoint, request, workers=Workers(here=True), watch=watch)
    with (out / "cohort_T1_T2.tsv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_names_with_any_white_space_stay_one_row(checkpoint: Checkpoint, tmp_path: Path) -> None:
    names = ("Doe  Jane", "tab\there", "line\nbreak", "no\u00a0break", "Roe")
    for name in names:
        save_nifti(tmp_path / "in" / name / "T1.nii.gz", head(SHAPE))
    for _ in range(3):
        rows = _go(tmp_path / "in", checkpoint, bids=False)
        assert sorted(row["scan"] for row in rows) == sorted(f"{name}/T1.nii.gz" for name in names)
        assert all((tmp_path / "out" / row[column]).is_file() for row in rows for column in ("result", "thumbnail"))


def test_a_scan_that_was_renamed_is_one_row(checkpoint: Checkpoint, tmp_path: Path) -> None:
    scan = save_nifti(tmp_path / "in/sub-01/anat/sub-01_acq-0.8mm_T1w.nii.gz", head(SHAPE))
    (before,) = _go(tmp_path / "in", checkpoint)
    scan.rename(scan.with_name("sub-01_acq-08mm_T1w.nii.gz"))
    (row,) = _go(tmp_path / "in", checkpoint)
    assert row["scan"].endswith("_acq-08mm_T1w.nii.gz") and row["result"] == before["result"]


def test_failures_of_another_data_set_stay_in_the_table(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Until there is a result of them, that of some slices not being one."""
    first, second = (bids_folder(tmp_path / name, 2, SHAPE) for name in ("first", "second"))
    for folder in [*second.iterdir()]:
        for file in (folder / "anat").iterdir():
            file.rename(file.with_name(file.name.replace("sub-", "sub-1")))
        folder.rename(second / folder.name.replace("sub-", "sub-1"))
    broken = first / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    broken.write_bytes(b"nothing")
    own, both = {"sub-00": "done", "sub-01": "failed"}, {"sub-100": "done", "sub-101": "done"}

    def status(folder: Path, **settings: object) -> dict[str, str]:
        return {row["participant_id"]: row["status"] for row in _go(folder, checkpoint, **settings)}

    assert status(first) == own
    assert status(second) == own | both
    page = tmp_path / "out" / "cohort_T1_T2.html"
    assert "<b>4 scans: 3 done, 1 failed.</b>" in page.read_text() and "Left out" not in page.read_text()
    failed, *_ = again = _go(first / "sub-00", checkpoint, tmp_path / "out")
    assert len(again) == 4 and "cannot be read as NIfTI" in failed["reason"]
    # Results of other settings do not belong to the page, which says so; of what has none, nobody can tell.
    assert status(second, seed=1) == {"sub-01": "failed"} | both
    assert "Left out of the table before: 1 result made otherwise, or gone.</p>" in page.read_text()
    assert status(first, seed=1) == own | both
    # Finished by a run that was killed before it wrote its table.
    table = (tmp_path / "out" / "cohort_T1_T2.tsv").read_bytes()
    save_nifti(broken, head(SHAPE))
    assert status(first, seed=1) == both | {"sub-00": "done", "sub-01": "done"}
    (tmp_path / "out" / "cohort_T1_T2.tsv").write_bytes(table)
    rows = {row["participant_id"]: row for row in _go(second, checkpoint, seed=1)}
    assert rows["sub-01"]["status"] == "done" and (tmp_path / "out" / rows["sub-01"]["thumbnail"]).is_file()
    record = tmp_path / "out" / rows["sub-01"]["result"]
    record.write_text(json.dumps(json.loads(record.read_text()) | {"key": ""}))
    (tmp_path / "out" / "cohort_T1_T2.tsv").write_bytes(table)
    assert status(second, seed=1) == own | both


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"])
def test_a_table_that_another_program_wrote(start: bytes, checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_nifti(tmp_path / name / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz", head(SHAPE))
    _go(tmp_path / "a", checkpoint)
    table = tmp_path / "out" / "cohort_T1_T2.tsv"
    table.write_bytes(
        start + table.read_bytes() + b"sub-d\t\t/d_T1w.nii.gz\tfailed\nsub-c\t\t" + 140_000 * b"c" + b"\tfailed\n"
    )
    assert {row["participant_id"] for row in _go(tmp_path / "b", checkpoint)} == {"sub-a", "sub-b"}
    assert "The table before could be read in part only (field larger than" in table.with_suffix(".html").read_text()


def test_pictures_are_those_of_the_results_that_the_page_shows(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_nifti(tmp_path / "in/sub-01/anat/sub-01_T1w.nii.gz", head(SHAPE))

    def picture(**how: object) -> bytes:
        (row,) = _go(tmp_path / "in", checkpoint, **how)
        return (tmp_path / "out" / row["thumbnail"]).read_bytes()

    first = picture()
    assert picture(bids=False, seed=7) != first
    assert picture() == first


def test_a_scan_that_is_a_link_to_nowhere(checkpoint: Checkpoint, tmp_path: Path) -> None:
    scan = save_nifti(tmp_path / "in/sub-01/anat/sub-01_T1w.nii.gz", head(SHAPE))
    scan.unlink()
    scan.symlink_to("../../.git/annex/objects/x")
    (row,) = _go(tmp_path / "in", checkpoint)
    assert row["status"] == "failed"
    assert row["reason"].endswith(
        "is a link to '../../.git/annex/objects/x', which is not there. Fetch that file first."
    )


def test_two_processes_are_stopped_too(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the generator's end: what Dask is at is cancelled there."""
    from napari_mrtrans.cohort import run as engine
    from napari_mrtrans.cohort.work import Outcome

    bids_folder(tmp_path / "in", 2, SHAPE)
    scans, _ = find_any(tmp_path / "in", Contrast.T1, print)
    ended: list[bool] = []

    class Client:
        def nthreads(self) -> dict[str, int]:
            return {"a": 1}

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            ended.append(True)

    def compute(client: Client, todo: list[Scan], order: object, shares: dict[Scan, float]):
        try:
            yield Outcome(todo[0], "broken")
            yield None
            raise AssertionError("nobody asked for more")
        finally:
            ended.append(False)

    monkeypatch.setattr(engine, "connect", lambda *_: Client())
    monkeypatch.setattr(engine, "compute", compute)
    told: list[float] = []
    watch = Watch(lambda progress: told.append(progress.done), lambda line: None, None, lambda: len(told) == 2)
    found = run_scans(
        scans, Output(tmp_path / "out"), checkpoint, Request("T2", "T1", n=2), workers=Workers(2), watch=watch
    )
    assert ended == [False, True]
    assert [row.status for row in found.rows] == ["failed", "not done"]


@pytest.mark.parametrize("bids", [False, True])
def test_scans_behind_a_link_are_found(bids: bool, tmp_path: Path) -> None:
    anat = "anat/" if bids else ""
    _touch(tmp_path / "data", f"sub-01/{anat}sub-01_T1w.nii.gz")
    _touch(tmp_path / "other", f"sub-02/{anat}sub-02_T1w.nii.gz")
    (tmp_path / "data" / "sub-02").symlink_to(tmp_path / "other" / "sub-02", target_is_directory=True)
    scans, told = find_any(tmp_path / "data", Contrast.T1, print)
    assert told == bids and [scan.stem for scan in scans] == ["sub-01_T1w", "sub-02_T1w"]


@pytest.mark.parametrize("anat", ["anat/", ""])
def test_a_folder_that_cannot_be_read_is_told(anat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, *(f"sub-{k}/{anat}sub-{k}_T1w.nii.gz" for k in "12"))
    close_folder(monkeypatch, tmp_path / "sub-2")
    said: list[str] = []
    scans, _ = find_any(tmp_path, Contrast.T1, said.append)
    assert [scan.stem for scan in scans] == ["sub-1_T1w"]
    assert said == [f"'{tmp_path / 'sub-2'}' left out: it cannot be read (Permission denied)."]
    (tmp_path / "sub-1").rename(tmp_path / ".hidden")
    with pytest.raises(MrtransError, match=r"holds no NIfTI files.*'.*sub-2' left out: it cannot be read"):
        find_any(tmp_path, Contrast.T1, said.append)


def test_subjects_whose_scan_is_misnamed_are_told(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz", *(f"sub-{k}/anat/t1.nii.gz" for k in "2345"))
    said: list[str] = []
    assert len(find_any(tmp_path, Contrast.T1, said.append)[0]) == 1
    assert said == ["4 subjects without a T1 by the names of files: sub-2, sub-3, sub-4, …"]
    said.clear()
    _touch(tmp_path, *(f"sub-{k}/anat/sub-{k}_T1w.nii.gz" for k in "2345"), "sub-5/ses-b/anat/t1.nii.gz")
    assert len(find_any(tmp_path, Contrast.T1, said.append)[0]) == 5
    assert said == ["1 visit without a T1 by the names of files: sub-5/ses-b."]


def test_hidden_files_are_no_scans(tmp_path: Path) -> None:
    """What macOS keeps beside each file, and what a run that was killed has left."""
    _touch(tmp_path, *(f"sub-1/anat/{start}sub-1_T1w.nii.gz" for start in ("", "._", ".part-ab12-7-")))
    scans, _ = find_any(tmp_path, Contrast.T1, print)
    assert [scan.path.name for scan in scans] == ["sub-1_T1w.nii.gz"]


def test_results_where_nobody_may_look_cost_that_scan_alone(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of another user, in a folder that is closed to all others."""
    scans, _ = find_any(bids_folder(tmp_path / "in", 3, SHAPE), Contrast.T1, print)
    closed, stat, mkdir = tmp_path / "out" / scans[1].subject, Path.stat, Path.mkdir

    def refused(call: Callable[..., object], path: Path, *words: object, **more: object) -> object:
        if closed in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *words, **more)

    monkeypatch.setattr(Path, "stat", lambda *words, **more: refused(stat, *words, **more))
    monkeypatch.setattr(Path, "mkdir", lambda *words, **more: refused(mkdir, *words, **more))
    asked = Output(tmp_path / "out"), checkpoint, Request("T2", "T1", n=2, steps=1, slices=(3, 5))
    for computed in (2, 0):
        cohort = run_scans(scans, *asked, workers=Workers(here=True), watch=Watch())
        assert [row.status for row in cohort.rows] == ["failed", "done", "done"] and cohort.computed == computed
        assert "(Permission denied). Choose another folder" in cohort.rows[0].reason


@pytest.mark.parametrize("left", [None, b"{", b"[]"])
def test_a_result_that_is_moved_away_during_the_run_costs_that_scan_alone(
    checkpoint: Checkpoint, tmp_path: Path, left: bytes | None
) -> None:
    for name in "ab":
        save_nifti(tmp_path / "in" / f"{name}_T1w.nii.gz", head())
    scans, _ = find_any(tmp_path / "in", Contrast.T1, print)
    ledgers: list[Ledger] = []
    watch = Watch(ledger=lambda ledger, _: ledgers.append(ledger))
    request = Request("T2", "T1", n=2, steps=1, slices=(3, 5))
    run_scans(scans, Output(tmp_path / "out"), checkpoint, request, workers=Workers(here=True), watch=watch)
    ledger = ledgers[-1]
    record = tmp_path / "out" / ledger.order.places(scans[0])[0]
    record.unlink() if left is None else record.write_bytes(left)
    assert sorted(ledger.row(scan).status for scan in scans) == ["done", "not done"]
    assert ledger.count == 1


def test_files_that_name_another_kind_of_image_are_not_taken_for_the_wanted_one(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"case{i}_T2_STIR.nii.gz" for i in range(3)))
    with pytest.raises(MrtransError, match="holds no T1 by the names of its files, only 3 unknown"):
        find_any(tmp_path, Contrast.T1, print)
