"""Commands killed at seeded random moments and run again: nothing is corrupt, and nothing that was finished is lost.

Every command is killed 5 times (calibrate and evaluate in make nightly
only), in make nightly 50 times. Half of the kills come at a chosen write, rename or removal
of a file or milliseconds after it, the others at any time.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from faults.runs import KILLS, VERBS, Ended, Material, Reference, Server, files, is_temporary


def stamps(out: Path, paths: set[Path]) -> dict[Path, tuple[int, int]]:
    return {path: ((out / path).stat().st_mtime_ns, (out / path).stat().st_ino) for path in paths}


def finished(verb: str, out: Path) -> set[Path]:
    """Files of results that are complete, which another run is not to touch."""
    if verb not in ("transform", "prepare", "cohort"):
        return set()
    whole = [path for path in files(out) if not is_temporary(path)]
    records = [path for path in whole if path.suffix == ".json" and path.name != "dataset_description.json"]
    return {path for record in records for path in whole if path.parent == record.parent}


def kept_slices(out: Path) -> set[str]:
    return {path.name for path in out.glob(".unfinished-*/slice-*.npz")}


def written(ended: Ended) -> set[str]:
    """Names of slices that a run kept."""
    names = (Path(line.split("\t")[1]) for line in ended.events if line.startswith("open\t"))
    return {path.with_suffix(".npz").name for path in names if path.name.startswith("slice-")}


def fault(rng: np.random.Generator, whole: Ended, goes_on: bool) -> dict[str, float]:
    """When to kill: at any time, or at an event or up to 10 ms after it; a run that goes on ends sooner."""
    when = rng.uniform(0.02, 0.5 if goes_on else 1)
    if rng.random() < 0.5:
        return {"within": when * whole.seconds}
    return {"kill_at": int(when * len(whole.events)), "after": float(rng.choice([0, rng.uniform(0, 0.01)]))}


#: Their runs take seconds each: only make nightly kills them.
SLOW = ("calibrate", "evaluate")


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=[pytest.mark.nightly] if verb in SLOW else []) for verb in VERBS]
)
def test_killed_and_run_again(server: Server, material: Material, references: dict[str, Reference], verb: str) -> None:
    whole = references[verb]
    rng = np.random.default_rng([19, VERBS.index(verb)])
    out = server.folder / f"{verb}-killed"
    whole.begin(out)
    kills, wholes, ended = 0, 0, None
    while kills < KILLS or ended is None or ended.killed:
        goes_on = ended is not None and ended.killed
        faults = fault(rng, whole.paced, goes_on) if kills < KILLS else {}
        before, slices = stamps(out, finished(verb, out)), kept_slices(out)
        ended = server.run(material.again(verb, out), **faults)
        assert stamps(out, {*before}) == before
        assert not written(ended) & slices
        for step, loss in ended.losses.items():
            assert loss == whole.ended.losses[step], f"step {step}"
        if ended.killed:
            kills += 1
            whole.check(out, complete=False)
            continue
        assert ended.status == 0, ended.errors
        wholes += 1
        whole.check(out, complete=True)
        shutil.rmtree(out)
        whole.begin(out)
    assert not [path for path in files(server.folder) if is_temporary(path)]
    print(f"{verb}: {kills} kills, {wholes} runs to the end")
