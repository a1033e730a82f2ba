"""Commands that are run, killed and run again; and what is in a folder after that."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from helpers import TINY, bids_folder, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import CARD_KEY
from napari_mrtrans.evaluation.calibrate import FEATURES
from napari_mrtrans.scan.contrasts import Contrast, Pair

SRC = Path(__file__).parents[2] / "src"
#: Kills of each command: 5, or 50 in make nightly.
KILLS = int(os.environ.get("NAPARI_MRTRANS_KILLS", "5"))
VERBS = ("transform", "prepare", "cohort", "train", "calibrate", "evaluate")
#: Heads that are large enough in mm.
FLAT, TALL = np.diag([1.0, 1.75, 5.5, 1.0]), np.diag([1.0, 1.75, 2.8, 1.0])


@dataclass(frozen=True)
class Order:
    """What the server is told: a command, and what befalls it.

    Attributes:
        argv: With the program's name.
        below: Events are those of files whose paths begin so.
        output, errors, events, losses: Files that are written.
        kill_at: Number of the event at which it is killed.
        after: So many seconds later.
        vanish_at: Number of the event, or name of the file that is opened, at which the file ``vanishes`` is removed.
        largest: Bytes of the largest file that may be written.
    """

    argv: list[str]
    below: str
    output: str
    errors: str
    events: str
    losses: str
    kill_at: int | None = None
    after: float = 0.0
    vanish_at: int | str | None = None
    vanishes: str = ""
    largest: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Of its exit; below 0: killed.
        output: What it said on stdout, and ``errors`` on stderr.
        events: What it did to files.
        losses: Of each training step, exactly.
        seconds: That it took.
    """

    status: int
    output: str
    errors: str
    events: list[str]
    losses: dict[int, str]
    seconds: float

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


class Server:
    """Starts commands quickly (server.py). ``folder`` is everything that they may write to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": str(SRC),
            "OMP_NUM_THREADS": "1",
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
            "COLUMNS": "200",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "NAPARI_MRTRANS_BF16": "0",
            "NAPARI_MRTRANS_CHANNELS_LAST": "0",
            "NAPARI_MRTRANS_CHECKPOINTS": str(folder / "own"),
            "NAPARI_MRTRANS_ALEXNET": str(folder / "no-alexnet.pth"),
            # Workers that are spawned would import everything anew; cohort/test_run.py has such.
            "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "fork",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment, cwd=folder,
        )  # fmt: skip

    def run(self, argv: list[str], *, within: float | None = None, **faults: Any) -> Ended:
        """Run a command to its end; it is killed after ``within`` seconds. ``faults``: fields of :class:`Order`."""
        files = {name: str(self.notes / name) for name in ("output", "errors", "events", "losses")}
        for file in files.values():
            Path(file).write_bytes(b"")
        order = Order(argv, str(self.folder), **files, **faults)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        pid, began = int(self._process.stdout.readline()), time.monotonic()
        if within is not None and not select.select([self._process.stdout], [], [], within)[0]:
            os.kill(pid, signal.SIGKILL)
        status, seconds = int(self._process.stdout.readline()), time.monotonic() - began
        if status < 0:
            assert not outliving(pid), "a worker lives on"
        output, errors, events, losses = (Path(file).read_text() for file in files.values())
        steps = (line.split() for line in losses.splitlines())
        return Ended(status, output, errors, events.splitlines(), {int(s): loss for s, loss in steps}, seconds)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def outliving(pid: int, patience: float = 60.0) -> list[int]:
    """Processes that a command started and that do not end with it."""
    limit, left = time.monotonic() + patience, [pid]
    while left and time.monotonic() < limit:
        left = [p.pid for p in psutil.process_iter(["status"]) if p.info["status"] != "zombie" and group(p.pid) == pid]
        time.sleep(0.05 * bool(left))
    return left


def group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


class Material:
    """Small scans, checkpoints and a recipe in a folder, and the commands that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heads = bids_folder(folder / "heads", 4, (20, 24, 8), FLAT)
        self.people = bids_folder(folder / "people", 6, (20, 24, 16), TALL)
        self.sessions = bids_folder(folder / "sessions", 2, (20, 24, 18), np.diag([7.0, 6.0, 6.0, 1.0]))
        self.flow = tiny_checkpoint(folder / "tiny-flow.safetensors").path
        splits = {"train": [f"sub-{i:02}" for i in range(4)], "validation": ["sub-04"], "test": ["sub-05"]}
        pairs = [Pair(Contrast.T1, Contrast.T2)]
        self.direct = tiny_checkpoint(folder / "tiny-direct.safetensors", "direct", pairs=pairs, splits=splits).path
        self.recipe = folder / "recipe.yaml"
        document = {
            "name": "tiny",
            "model": "direct",
            "pairs": ["T1->T2"],
            "options": {"network": {**TINY, "dropout": 0.1}},
            "data": {"test": ["sub-00"], "validation": ["sub-01"]},
            "stages": [{"steps": 12, "batch": 2, "crop": [16, 16]}],
            "validation_slices": 2,
            "checkpoint_minutes": 1e-9,
        }
        self.recipe.write_text(yaml.safe_dump(document))

    def command(self, verb: str, out: Path) -> list[str]:
        """A command that writes into ``out`` only (the trainer's cache of decoded volumes: below it)."""
        few = ("--model", self.flow, "-n", 4, "--steps", 3)
        scan = self.heads / "sub-00" / "anat" / "sub-00_T1w.nii.gz"
        words: tuple[object, ...] = {
            "transform": ("transform", scan, "--to", "T2", *few),
            "prepare": ("prepare", self.sessions, "--no-register", "--no-bias"),
            "cohort": ("cohort", self.heads, "--to", "T2", *few, "--workers", 1),
            "train": (self.recipe, "--data", self.heads, "--workers", 0, "--cache", out / "decoded"),
            "calibrate": ("calibrate", self.direct, "--data", self.people, "--slices", 1),
            "evaluate": ("evaluate", "--data", self.people, "--checkpoint", self.direct, "--slab", 11),
        }[verb]
        program = "napari-mrtrans-train" if verb in ("train", "calibrate") else "napari-mrtrans"
        return [program, *map(str, words), "-o", str(out)]

    def again(self, verb: str, out: Path) -> list[str]:
        """The command with which one goes on."""
        resume = verb == "train" and ((out / "state.safetensors").exists() or (out / "tiny.safetensors").exists())
        return self.command(verb, out) + ["--resume"] * resume


def is_temporary(path: Path) -> bool:
    """Whether a name says that what is under it is not finished."""
    return any(part.startswith((".part-", ".unfinished")) or part.endswith(".part") for part in path.parts)


def files(folder: Path) -> Iterator[Path]:
    """Below ``folder``, relative; without TensorBoard's log, which a run that goes on adds a file to."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "tensorboard" not in path.parts:
            yield path.relative_to(folder)


def content(path: Path) -> object:
    """What is in a file, but for what time it took and how it is called.

    A growing file is the set of its lines. What cannot be opened raises whatever it raises.
    """
    if path.name.endswith((".nii.gz", ".nii")):
        import nibabel as nib

        image = nib.load(path)
        return image.header.binaryblock, np.asanyarray(image.dataobj).tobytes()
    match path.suffix:
        case ".npz" | ".npy":
            held = np.load(path)
            return held.tobytes() if path.suffix == ".npy" else {name: held[name].tobytes() for name in held.files}
        case ".json":
            return timeless(json.loads(path.read_text()))
        case ".jsonl":
            return {json.dumps(timeless(row), sort_keys=True) for row in rows(path)}
        case ".safetensors":
            return weights(path)
        case ".csv" | ".tsv":
            between = "," if path.suffix == ".csv" else "\t"
            lines = [line.split(between) for line in path.read_text().splitlines()]
            kept = [i for i, name in enumerate(lines[0]) if "seconds" not in name]
            return [[line[i] for i in kept] for line in lines]
        case ".html" | ".md":  # the numbers are those of the tables
            return path.read_text().splitlines()[0], path.read_text().rstrip().splitlines()[-1]
        case _:
            return path.read_bytes()


def rows(path: Path) -> list[Any]:
    """The documents of a growing file; a line that a kill cut short is left out."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def weights(path: Path) -> object:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = json.loads((file.metadata() or {})[CARD_KEY if path.name != "state.safetensors" else "run"])
        return timeless(about), {name: file.get_tensor(name).numpy().tobytes() for name in sorted(file.keys())}


def timeless(document: Any) -> Any:
    """Without how long it took."""
    if isinstance(document, dict):
        told = ("seconds", "seconds_per_slice", "hours", "training", "date", "lacks")
        return {key: timeless(value) for key, value in document.items() if key not in told}
    return [timeless(value) for value in document] if isinstance(document, list) else document


class Reference:
    """An undisturbed run of a command."""

    def __init__(self, server: Server, material: Material, verb: str) -> None:
        self.out = server.folder / f"{verb}-undisturbed"
        self.ended = server.run(material.command(verb, self.out))
        assert self.ended.status == 0, self.ended.errors
        self.contents: dict[Path, object] = {path: content(self.out / path) for path in files(self.out)}
        assert self.contents and not any(map(is_temporary, self.contents))

        #: How it goes from :meth:`begin`.
        self.paced = self.ended
        if verb == "calibrate":
            out = server.folder / f"{verb}-begun"
            self.begin(out)
            self.paced = server.run(material.command(verb, out))
            self.check(out, complete=True)

    def check(self, out: Path, *, complete: bool, besides: str = " ") -> None:
        """What lies under a final name is what lies there after an undisturbed run; but for names that begin so."""
        there = (path for path in files(out) if not is_temporary(path) and not path.name.startswith(besides))
        found = {path: content(out / path) for path in there}
        for path, value in found.items():
            if path.suffix == ".jsonl":
                assert complete or value <= self.contents[path], path  # type: ignore[operator]
                keys = [row["key"] for row in rows(out / path)]
                assert len(set(keys)) == len(keys), f"{path}: computed twice"
            elif path.name != "state.safetensors":
                assert value == self.contents[path], path
        if complete:
            assert {*files(out)} == {*self.contents}
            assert found == self.contents

    def begin(self, out: Path) -> None:
        """Give a calibration most of the features, which take longest, so that the kills come at the rest."""
        if (self.out / FEATURES).exists():
            out.mkdir()
            (out / FEATURES).write_text("\n".join((self.out / FEATURES).read_text().splitlines()[:-4]))


class References(dict[str, Reference]):
    """Undisturbed runs, each done when it is first asked for."""

    def __init__(self, server: Server, material: Material) -> None:
        self._server, self._material = server, material

    def __missing__(self, verb: str) -> Reference:
        self[verb] = Reference(self._server, self._material, verb)
        return self[verb]
