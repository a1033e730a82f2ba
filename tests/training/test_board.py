from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from napari_mrtrans.training.board import open_board, told_once


def test_a_full_disk_is_told_by_the_next_entry_and_not_by_the_logs_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    board = open_board(tmp_path)
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    with told_once(), pytest.raises(OSError, match="No space left"):
        board.add_scalar("train/loss", 1.0, 0)
        board.flush()
        board.add_scalar("train/loss", 1.0, 1)
    assert told == []


def test_faults_of_other_threads_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def broken() -> None:
        raise OSError("elsewhere")

    with told_once():
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()
    assert [str(ended.exc_value) for ended in told] == ["elsewhere"]
