"""A full disk, a folder that cannot be written, a vanishing input: one line, nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faults.runs import KILLS, VERBS, Material, Reference, Server, files

#: In make nightly, more sizes of disk are tried.
SIZES = max(1, KILLS // 10)
#: Commands that are tried in every test run, and those that make nightly tries, too.
OFTEN, RARELY = ("transform", "train"), ("prepare", "cohort", "calibrate", "evaluate")


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[bool]:
    """A file system on ``folder``; False where this user may mount none."""
    folder.mkdir(exist_ok=True)
    command = ["mount", *words, str(folder)]
    may = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield may
    finally:
        if may:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("verb", [*OFTEN, *(pytest.param(verb, marks=pytest.mark.nightly) for verb in RARELY)])
def test_a_full_disk(server: Server, material: Material, references: dict[str, Reference], verb: str) -> None:
    """A tmpfs too small for the results, or else a limit on the size of files, which fails in the same places."""
    whole, rng = references[verb], np.random.default_rng([20, VERBS.index(verb)])
    sizes = [(whole.out / path).stat().st_size for path in files(whole.out)]
    for number in range(SIZES):
        share = rng.uniform(0.05, 0.9)
        disk = server.folder / f"{verb}-disk-{number}"
        room = f"size={max(4096, int(share * sum(sizes)))}"
        with mounted(disk, "-t", "tmpfs", "-o", room, "tmpfs") as may:
            limit: dict[str, Any] = {} if may else {"largest": int(share * max(sizes))}
            out = disk / "out"
            ended = server.run(material.command(verb, out), **limit)
            assert ended.status == 2, ended.errors
            assert "Traceback" not in ended.errors + ended.output
            cause = os.strerror(errno.ENOSPC if may else errno.EFBIG)
            said = [line for line in ended.errors.splitlines() if cause in line]
            assert any("Free some space" in line or "hoose another" in line for line in said), ended.errors
            whole.check(out, complete=False, besides="cohort_")
            if may:
                subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            again = server.run(material.again(verb, out))
            assert again.status == 0, again.errors
            whole.check(out, complete=True)


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_written(server: Server, material: Material, verb: str) -> None:
    folder = server.folder / f"{verb}-read-only"
    with mounted(folder, "-t", "tmpfs", "-o", "ro", "tmpfs") as may:
        if not may:
            if os.geteuid() == 0:
                pytest.skip("root writes everywhere, and may not mount here")
            folder.chmod(0o555)
        ended = server.run(material.command(verb, folder / "out"))
        assert ended.status == 2
        assert re.fullmatch(r"Cannot write to '.*out' \(.*\)\. Choose another folder with -o\.\n", ended.errors)
        assert not [*folder.iterdir()]


#: When it vanishes, by the name of a file that is opened or as the number of an event; and what.
VANISHING: dict[str, tuple[int | str, str]] = {
    "transform": ("sub-00_T1w.nii.gz", "tiny-flow.safetensors"),
    "prepare": ("sub-00_T1w.nii.gz", "sessions/sub-01/anat/sub-01_T2w.nii.gz"),
    "cohort": (1, "heads/sub-02/anat/sub-02_T1w.nii.gz"),
    "train": ("sub-02_T1w.nii.gz", "heads/sub-03/anat/sub-03_T1w.nii.gz"),
    "calibrate": (0, "people/sub-05/anat/sub-05_T1w.nii.gz"),
    "evaluate": ("sub-05_T1w.nii.gz", "people/sub-05/anat/sub-05_T2w.nii.gz"),
}


@pytest.mark.parametrize("verb", [*OFTEN, *(pytest.param(verb, marks=pytest.mark.nightly) for verb in RARELY)])
def test_an_input_vanishes(server: Server, material: Material, references: dict[str, Reference], verb: str) -> None:
    whole, out = references[verb], server.folder / f"{verb}-vanished"
    when, what = VANISHING[verb]
    path = material.folder / what
    held, about = path.read_bytes(), path.stat()
    whole.begin(out)
    try:
        ended = server.run(material.command(verb, out), vanish_at=when, vanishes=str(path))
        assert not path.exists(), "it did not come to that event"
    finally:
        path.write_bytes(held)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert ended.status == 2, ended.errors
    assert "Traceback" not in ended.errors + ended.output
    assert path.name in ended.errors + ended.output
    whole.check(out, complete=False, besides="cohort_")
    again = server.run(material.again(verb, out))
    assert again.status == 0, again.errors
    whole.check(out, complete=True)
