"""One run at a time in a folder, on every kind of disk."""

from __future__ import annotations

import errno
from inspect import signature
from pathlib import Path

import filelock
import pytest

from napari_mrtrans.asked.one_run import one_run
from napari_mrtrans.asked.place import alone as alone_adapting
from napari_mrtrans.asked.place import at_work
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.training.state import alone as alone_training

BUSY = MrtransError("Another run is at work.")


def test_two_runs_do_not_meet_and_the_lock_of_one_that_ended_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    for _ in range(2):
        with one_run(lock, BUSY), pytest.raises(MrtransError, match="Another run is at work"), one_run(lock, BUSY):
            pytest.fail("both are at work")


def test_a_lock_that_was_put_under_version_control_is_made_anew(tmp_path: Path) -> None:
    """As datalad does it: a link to a file that must not be written."""
    (lock := tmp_path / "lock").symlink_to(kept := tmp_path / "kept")
    kept.touch(0o444)
    with one_run(lock, BUSY), pytest.raises(MrtransError, match="Another run is at work"), one_run(lock, BUSY):
        pytest.fail("both are at work")
    assert kept.is_file() and not lock.is_symlink()


@pytest.mark.parametrize(
    "error", [NotImplementedError("no flock"), *(OSError(number, "x") for number in (errno.ENOLCK, errno.EOPNOTSUPP))]
)
def test_a_disk_that_knows_no_locks_is_borne(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "__enter__", refuse)
    done = []
    for run in (one_run(tmp_path / "lock", BUSY), alone_adapting(tmp_path), alone_training(tmp_path)):
        with run:
            done.append(run)
    assert len(done) == 3
    (tmp_path / ".adapt.lock").touch()
    assert not at_work(tmp_path)


@pytest.mark.skipif(
    "fallback_to_soft" not in signature(filelock.FileLock.__init__).parameters, reason="this filelock has no way to say"
)
def test_no_marker_is_left_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a process that was killed on another machine would keep everybody out for good."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no flock")

    monkeypatch.setattr(fcntl, "flock", refuse)
    done = []
    with one_run(tmp_path / "lock", BUSY), one_run(tmp_path / "lock", BUSY):
        done.append(1)
    assert done


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (lock := tmp_path / "lock").mkdir()
    with pytest.raises(OSError, match="lock"), one_run(lock, BUSY):
        pytest.fail("at work without a lock")
