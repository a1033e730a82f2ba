"""How results are written: whole or not at all, whoever is killed or whatever the disk says."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from napari_mrtrans import paths
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.page.panels import in_memory
from napari_mrtrans.paths import (
    WriteError,
    json_text,
    part_of,
    plain_line,
    reason,
    typed,
    write_shared,
    write_together,
)


def test_the_report_of_earlier_files_is_the_first_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_together(tmp_path, {"a": "old", "b": "old", "report": "of the old"})
    replace, moved = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, {"a": "new", "b": "new", "report": "of the new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "old"}


def test_json_knows_no_nan() -> None:
    document = {"a": [float("nan"), 1.5, (np.float64("inf"), None)], "b": {"c": -float("inf"), "d": "NaN", "e": True}}
    assert json.loads(json_text(document, indent=1)) == {
        "a": [None, 1.5, [None, None]],
        "b": {"c": None, "d": "NaN", "e": True},
    }


def test_one_file_alone_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_together(tmp_path, {"a": "old"})
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, {"a": "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_earlier_files_stay_where_new_ones_cannot_be_written(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_together(tmp_path, {"a": "old", "report": "of the old"})
    with pytest.raises(MrtransError, match=r"Cannot write to '.*' \(No space left on device\)\. Elsewhere\."):
        write_together(tmp_path, {"a": full, "report": "of the new"}, "Elsewhere.")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "report": "of the old"}


@pytest.mark.parametrize("code, said, everywhere", [
    (errno.ENOSPC, "Free some space and run it again; what was finished is kept.", True),
    (errno.EDQUOT, "Free some space and run it again; what was finished is kept.", True),
    (errno.EROFS, "Choose another folder with -o.", True),
    (errno.EACCES, "Choose another folder with -o.", False),
])  # fmt: skip
def test_the_remedy_is_that_of_the_cause(tmp_path: Path, code: int, said: str, everywhere: bool) -> None:
    def refuse(path: Path) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(WriteError) as caught:
        write_together(tmp_path, {"a": refuse})
    assert str(caught.value) == f"Cannot write to '{tmp_path}' ({os.strerror(code)}). {said}"
    assert caught.value.everywhere is everywhere


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, replace, done = os.fsync, Path.replace, list[str]()
    monkeypatch.setattr(os, "fsync", lambda file: done.append("on disk") or fsync(file))
    monkeypatch.setattr(Path, "replace", lambda self, target: done.append("named") or replace(self, target))
    write_together(tmp_path, {"a": "one", "b": lambda path: path.write_text("another")})
    assert done == ["on disk", "on disk", "named", "named"]


def test_a_shared_file_takes_away_what_killed_runs_have_left_of_it(tmp_path: Path) -> None:
    for name in (".part-1-x.json", ".part-2-x.json", ".part-1-y.json"):
        (tmp_path / name).write_text("half")
    write_shared(tmp_path / "x.json", lambda file: file.write(b"whole"))
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", ".part-1-y.json"}
    assert (tmp_path / "x.json").read_bytes() == b"whole"


@pytest.mark.parametrize("first", [True, False])
def test_two_processes_may_write_a_shared_file(tmp_path: Path, first: bool) -> None:
    path = tmp_path / "x.json"

    def write(file: BinaryIO) -> None:
        file.write(b"whole")
        next(tmp_path.glob(".part-*")).unlink()  # as another process does that has finished
        if first:
            path.write_bytes(b"whole")

    if first:
        write_shared(path, write)
    else:
        with pytest.raises(FileNotFoundError):
            write_shared(path, write)
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"] * first


def test_a_picture_is_written_whole_or_an_error_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    save = in_memory(lambda file: picture.save(file, "jpeg"))
    save(tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as found:
        assert found.convert("RGB").size == (40, 40)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "y.jpg")


@pytest.mark.parametrize(
    "error, line",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full. Free some space and run it again; "),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "The disk is full ('x'). Free some space"),
        (OSError("400 requested and 12 written"), "The disk is full. Free some space and run it again; "),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "A file has gone ('x'). Put it back and run it again; "),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "The system refused: Permission denied ('x'). Mend "),
        (OSError(), "The system refused: OSError. Mend that"),
    ],
)
def test_what_the_system_refuses_is_one_line_with_a_remedy(error: OSError, line: str) -> None:
    assert plain_line(error).startswith(line)
    assert plain_line(error).endswith("what was finished is kept.")


def test_numpy_s_words_for_a_full_disk_are_the_system_s(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(OSError) as caught, (tmp_path / "x.npy").open("wb") as file:
            np.save(file, np.zeros(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert reason(caught.value) in ("No space left on device", "File too large")
    assert paths.plain_line(caught.value)


def test_a_part_of_a_process_that_has_ended_goes_and_that_of_another_stays(tmp_path: Path) -> None:
    """Two runs that write one file, as ``dataset_description.json``, do not take each other's."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = part_of(tmp_path / "x.json").name
    names = {who: own.replace(f"-{os.getpid()}-", f"-{who}-") for who in (ended.pid, os.getppid())}
    for name in (*names.values(), own.replace("x.json", "sub-x.json")):
        (tmp_path / name).write_text("half")
    write_together(tmp_path, {"x.json": "whole"})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"x.json", names[os.getppid()], own.replace("x.json", "sub-x.json")}


def test_a_typed_path_of_nobody_s_home_stays_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed("~/scans") == tmp_path / "scans"
    assert typed("~nobody-of-that-name/scans") == Path("~nobody-of-that-name/scans")
