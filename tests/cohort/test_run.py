"""The command on a folder of tiny brains, with real workers that are really killed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

import napari_mrtrans as mt
from helpers import bids_folder, tiny_checkpoint
from napari_mrtrans.cohort.plan import Order, Output, Scan, find_scans
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.training.stopping import interrupt
from napari_mrtrans.transformation.names import file_name
from napari_mrtrans.transformation.request import Request

SUBJECTS = 8
SHAPE = (20, 24, 8)
#: A head to processes that know no small ones.
VOXELS = np.diag([1.0, 1.75, 5.5, 1.0])
N, STEPS = 4, 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("bids"), SUBJECTS, SHAPE, VOXELS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors").path


def start(data: Path, checkpoint: Path, out: Path, steps: int = STEPS) -> subprocess.Popen[str]:
    """``napari-mrtrans cohort`` with two workers, in a process group of its own."""
    words = ["cohort", data, "--to", "T2", "--model", checkpoint, "-n", N, "--steps", steps, "-o", out, "--workers", 2]
    argv = ["napari-mrtrans", *map(str, words)]
    # A shell that runs the tests in its background makes all that they start deaf to Ctrl-C.
    hears = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hears}; sys.argv = {argv}; from napari_mrtrans.cli import main; main.main()"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def planned(data: Path, checkpoint: Path, out: Path) -> tuple[list[Scan], Order]:
    """What ``napari-mrtrans cohort`` would do, for those who do it themselves."""
    scans = find_scans(data, Contrast.T1, print)
    return scans, Order.make(Output(out), mt.load_checkpoint(checkpoint), Request(Contrast.T2, Contrast.T1))


def until(holds: Callable[[], object], run: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait for it while the command runs."""
    limit = time.monotonic() + seconds
    while not holds():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < limit
        time.sleep(0.02)


def workers(run: subprocess.Popen[str]) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(run.pid).children(recursive=True)
        if any("spawn_main" in word for word in child.cmdline())
    ]


def records(out: Path) -> set[Path]:
    return set(out.glob("sub-*/anat/*_desc-synthetic_T2w.json"))


def stamps(paths: set[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.slow
def test_killed_workers_and_a_killed_run_cost_nothing_but_what_they_were_at(
    data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start(data, checkpoint, out)
    until(lambda: records(out), run)
    victim = workers(run)[0]
    victim.kill()
    killed_beside = len(records(out))
    until(lambda: len(records(out)) > killed_beside, run)
    left = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.communicate()
    assert not psutil.wait_procs(left, timeout=60)[1]  # no worker outlives its command
    before = records(out)
    assert 2 <= len(before) < SUBJECTS, "tune N and STEPS: it was killed too late"
    finished = {path: path.stat().st_mtime_ns for record in before for path in record.parent.iterdir()}

    again = start(data, checkpoint, out)
    output, notices = again.communicate(timeout=240)
    assert again.returncode == 0, notices
    assert f"{SUBJECTS} scans, {len(before)} of them done before." in notices
    assert f"{SUBJECTS - len(before)} scans computed." in output
    assert stamps(set(finished)) == finished
    assert len(records(out)) == SUBJECTS
    assert not [*out.rglob(".part-*"), *out.rglob(".unfinished*")]
    for path in out.rglob("*.nii.gz"):
        gzip.decompress(path.read_bytes())
    for record in records(out):
        stem, info = record.name.split("_desc-")[0], json.loads(record.read_text())
        alone = mt.transform(
            mt.Volume.load(info["input"]), mt.load_checkpoint(checkpoint), target="T2", n=N, steps=STEPS
        )
        for kind, expected in alone.images().items():
            found = np.asarray(nib.load(record.with_name(file_name(f"{stem}_T1w", "T2", kind, bids=True))).dataobj)
            np.testing.assert_allclose(found, expected, atol=1e-5)
        assert info["sigma_hat"] == pytest.approx(alone.sigma_hat, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_summary_and_nothing_half_done(
    data: Path, checkpoint: Path, tmp_path: Path, number: int
) -> None:
    """So does the SIGTERM of a scheduler, which also comes to all of its processes."""
    out = tmp_path / "out"
    run = start(data, checkpoint, out, steps=20 * STEPS)  # not over before it is interrupted
    until(lambda: records(out), run)
    left = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, number)  # as a terminal does
    _, notices = run.communicate(timeout=120)
    assert run.returncode == 130
    assert notices.splitlines()[-1] == "Interrupted; the same command goes on." and "Stopping…" in notices
    assert "Traceback" not in notices
    assert not psutil.wait_procs(left, timeout=60)[1]
    rows = [line.split("\t") for line in (out / "cohort_T1_T2.tsv").read_text().splitlines()]
    status = [dict(zip(rows[0], row, strict=True))["status"] for row in rows[1:]]
    assert len(status) == SUBJECTS
    assert status.count("done") == len(records(out)) > 0
    assert status.count("not done") == SUBJECTS - len(records(out))
    assert not list(out.rglob(".unfinished*"))
    assert "Not done" in (out / "cohort_T1_T2.html").read_text()


@pytest.mark.slow
def test_a_scan_that_kills_its_workers_fails_alone(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.cohort import cluster
    from napari_mrtrans.cohort.work import Outcome

    def deadly(scan: Scan, order: Order, key: str) -> Outcome:  # nested, so that it is sent by value
        import os

        if scan.subject == "sub-01":
            os.kill(os.getpid(), 9)
        return Outcome(scan)

    monkeypatch.setattr(cluster, "_on_worker", deadly)
    scans, order = planned(data, checkpoint, tmp_path)
    with cluster.connect(None, 2, len(scans)) as client:
        outcomes = [outcome for outcome in cluster.compute(client, scans, order, {}) if outcome is not None]
    assert len(outcomes) == SUBJECTS
    failed = {outcome.scan.subject: outcome.reason for outcome in outcomes if outcome.reason}
    assert failed == {"sub-01": "Its worker was killed 4 times (out of memory?); use fewer --workers."}


def test_a_cluster_whose_workers_are_gone_is_not_waited_for_for_ever(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.cohort import cluster

    monkeypatch.setattr(cluster, "ALONE", 2)
    scans, order = planned(data, checkpoint, tmp_path)
    with cluster.connect(None, 1, len(scans)) as client:
        client.cluster.scale(0)  # as where a worker's process cannot be started again
        with pytest.raises(MrtransError, match=r"All workers ended and none .* with fewer --workers to go on\.$"):
            list(cluster.compute(client, scans, order, {}))


def test_a_cluster_takes_a_free_port_and_stays_on_this_machine(recwarn: pytest.WarningsRecorder) -> None:
    """Another one, or somebody's own, may have Dask's usual one."""
    from napari_mrtrans.cohort import cluster

    with socket.socket() as usual:
        with suppress(OSError):  # it is taken
            usual.bind(("127.0.0.1", 8787))
            usual.listen()
        with cluster.connect(None, 1, 1):
            open_ports = [one.laddr.ip for one in psutil.Process().net_connections("inet") if one.status == "LISTEN"]
    assert not [warning for warning in recwarn if "already in use" in str(warning.message)]
    assert {*open_ports} == {"127.0.0.1"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cluster_that_is_stopped_while_it_starts_is_closed(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Dask closes none before its workers are there: it fails, with a traceback."""
    from napari_mrtrans.cohort import cluster

    happened: list[str] = []

    class Starting(ExitStack):
        def __init__(self, **_: object) -> None:
            super().__init__()
            signal.raise_signal(number)
            happened.append("started")
            self.callback(happened.append, "closed")

    monkeypatch.setattr("distributed.LocalCluster", Starting)
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), cluster.connect(None, 1, 1):
            pass
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert happened == ["started", "closed"]


def test_no_more_workers_than_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is raised as far as it may be; workers that cannot be started all the same are one line."""
    resource = pytest.importorskip("resource")
    import dask.system
    import distributed
    import distributed.system

    from napari_mrtrans.cohort import cluster

    asked: list[int] = []

    def refuse(n_workers: int, **_: object) -> None:
        asked.append(n_workers)
        raise RuntimeError("Nanny failed to start.")

    hard = cluster.OTHER_FILES + 3 * cluster.WORKER_FILES
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(distributed, "LocalCluster", refuse)
    monkeypatch.setattr(dask.system, "CPU_COUNT", 64)
    monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", 64 * cluster.WORKER_MEMORY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    line = "workers could not be started \\(Nanny failed to start\\); use fewer --workers, or allow more open files"
    for workers, tasks, count in ((None, 99, 3), (None, 2, 2), (8, 99, 8)):
        with pytest.raises(MrtransError, match=f"^{count} {line}"), cluster.connect(None, workers, tasks):
            pass
    assert asked == [3, 2, 8]
    assert raised[0] == raised[2] == (hard, hard) and raised[1] == (hard - cluster.WORKER_FILES, hard)


def test_a_result_that_its_worker_took_along_is_asked_for_again(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that another scan killed may have held the word that this one is done; its files are there."""
    from distributed import Future, KilledWorker

    from napari_mrtrans.cohort import cluster
    from napari_mrtrans.cohort.work import Outcome

    lost: list[str] = []
    result = Future.result

    def taken_along(future: Future, timeout: object = None) -> Outcome:
        if not future.key.endswith("-again"):
            lost.append(future.key)
            raise KilledWorker(future.key, None, 3)
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", taken_along)
    monkeypatch.setattr(cluster, "_on_worker", lambda scan, order, key: Outcome(scan))
    scans, order = planned(data, checkpoint, tmp_path)
    with cluster.connect(None, 1, len(scans)) as client:
        outcomes = [outcome for outcome in cluster.compute(client, scans, order, {}) if outcome is not None]
    assert len(lost) == SUBJECTS
    assert sorted(outcome.scan.subject for outcome in outcomes) == sorted(scan.subject for scan in scans)
    assert not any(outcome.reason for outcome in outcomes)
