"""Checkpoints against acquired targets on held-out subjects, with a monotone look-up table as the floor.

A second row for comparison is the target itself, blurred: what is out of reach because of noise shows there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import check_planes
from ..datasets.bids import Session
from ..errors import MrtransError, OutOfMemory, SliceError, VolumeError
from ..paths import check_folder
from ..scan.contrasts import Pair
from ..scan.intensity import HEADROOM
from ..training.finished import Finished, digest
from ..transformation.engine import MAX_HELD, BadNumbers
from ..transformation.request import ANSWERS
from ..transformation.streaming import SliceUpdate
from .held_out import (
    NotMeasured,
    adapted_to,
    check_held_out,
    data_set,
    describe_machine,
    known_sessions,
    namesakes,
    session_names,
)
from .lookup import Lookup
from .measure import SSIM_WINDOW, Sampling, View
from .optional import Optional
from .report import paper_figures
from .report.ood_rows import OodRow
from .report.paper_figures import PAIR
from .report.results import Results
from .report.write import write_report
from .row import FORMAT, Row
from .tiles import NOTHING, Drawn
from .unusual import draw_unusual
from .way import Way, described, distinct, ways

#: Told what is being computed, how many rows are done (the present one in part), and how many there will be.
Progress = Callable[[str, float, int], None]


@dataclass(frozen=True)
class Settings:
    """What is evaluated, and how.

    Attributes:
        pairs: Restrict to these; None = all that a checkpoint serves.
        subjects: Restrict to these, or to visits of them (must not be training subjects of any checkpoint); None = the
            cards' test subjects.
        n: Samples, at least 1; None = the card's default.
        steps: Noise levels, at least 1; None = the card's default.
        slab: Only this many slices around the middle of the head (at least 11); None = all.
        seed: Of the starting noise, and of what is drawn at random for the figures; at least 0.
        device: As :func:`napari_mrtrans.stream`.
        montages: Draw slices of the first subject of each pair and data set, too.
        antithetic: Samples in pairs of opposite noise, as elsewhere; False = independent draws, as the paper's.
        two_sample: Train a classifier to tell samples from targets (:mod:`.two_sample`), too.
        three_planes: Checkpoints that can look at the head from three sides do so, too, as further methods.
    """

    pairs: Sequence[Pair] | None = None
    subjects: Sequence[str] | None = None
    n: int | None = None
    steps: int | None = None
    slab: int | None = None
    seed: int = 0
    device: str = "auto"
    montages: bool = True
    antithetic: bool = True
    two_sample: bool = False
    three_planes: bool = False

    @property
    def sampling(self) -> Sampling:
        """How checkpoints are sampled."""
        return Sampling(self.n, self.steps, self.seed, self.device, self.antithetic)


def evaluate(
    root: Path,
    checkpoints: Sequence[Checkpoint],
    out: Path,
    settings: Settings,
    *,
    ood: Sequence[OodRow] = (),
    say: Callable[[str], None] = print,
    progress: Progress = lambda *_: None,
) -> list[Path]:
    """Evaluate on held-out sessions; writes ``report.html``, tables, figures and montages into ``out``.

    Finished rows are kept in ``finished.jsonl`` there: what was stopped goes on where it was, and several runs may
    fill one folder. A row that cannot be measured is named in the report; the others are there.

    Args:
        root: Data folder that holds the folders or subjects the cards name.
        checkpoints: What to compare. Their cards say which subjects are test subjects.
        out: Output folder.
        settings: On whom, and how.
        ood: Scores of normal and unusual inputs, for the report's part on detection.
        say: Told every row.
        progress: Told how far it is.

    Returns:
        The files written.

    Raises:
        MrtransError: a subject was trained on, is missing, or nothing is left to evaluate; two checkpoints have one
            name.
    """
    checkpoints = distinct(checkpoints)
    if settings.slab is not None and settings.slab < SSIM_WINDOW:
        raise MrtransError(f"--slab must be at least {SSIM_WINDOW} slices, the width of the SSIM window.")
    if many := [n for c in checkpoints if (n := settings.n or c.card.sampler.n) > MAX_HELD and not c.deterministic]:
        raise MrtransError(f"At most {MAX_HELD} samples can be evaluated, and these are {max(many)}; lower -n.")
    sessions = known_sessions(root, checkpoints, settings.subjects)
    check_folder(out)
    cases = list(_cases(root, checkpoints, sessions, settings))
    training = {name for c in checkpoints for name in c.card.seen}
    measured = list(dict.fromkeys(case.session.name for case in cases))
    for line in (doubts := [*adapted_to(checkpoints), *namesakes(measured, training, sessions)]):
        say(line)
    if not cases:
        wanted = ", ".join(map(str, settings.pairs or dict.fromkeys(pair for c in checkpoints for pair in c.pairs)))
        raise MrtransError(f"Nothing to evaluate: no held-out subject in '{root}' has both contrasts of {wanted}.")
    montages = out / "montages" if settings.montages else None
    finished, optional = Finished(out / "finished.jsonl", Row), Optional(say, sessions, settings.sampling)
    machine = describe_machine(settings.device)
    rows: list[Row] = []
    left_out = _not_there(checkpoints, sessions, settings, {case.pair for case in cases})
    for line in left_out:
        say(f"Left out: {line}")
    drawn: dict[tuple[str, str, str], Drawn] = {}
    done, total = 0, sum(case.rows for case in cases)
    for case in cases:
        view = View(case.session, case.pair, settings.slab, optional.lpips, settings.sampling)
        for task in _tasks(settings, case, view, optional, montages):
            title = f"{task.method}, {case.pair}, {case.session.name}"
            progress(title, done, total)
            try:
                tell = partial(_tell, progress, title, done, total)
                make = partial(_noted, optional, task, tell, machine)
                again = partial(_again, optional, task)
                rows.append(finished.row(task.key, make, again))
            except (NotMeasured, VolumeError, BadNumbers, SliceError, OutOfMemory) as error:
                left_out.append(f"{title}: {error}")
                say(f"Left out: {left_out[-1]}")
            else:
                say(_line(rows[-1]))
                if task.drawn != NOTHING:
                    drawn[str(case.pair), task.method, case.session.name] = task.drawn
            done += 1
    if not rows:
        raise MrtransError(f"Nothing could be measured. {left_out[-1]}")
    if without := [str(pair) for pair in dict.fromkeys(case.pair for case in cases if not case.lookup.sessions)]:
        left_out.append(f"look-up table, {', '.join(without)}: no training subject is in '{root}'.")
    left_out += dict.fromkeys([*(line for row in rows for line in row.lacks or ()), *optional.missing])
    about = _about(checkpoints, settings, left_out) | ({"doubts": doubts} if doubts else {})
    if not (root / (here := root.resolve().name)).is_dir():  # the data set's own folder, or the one above, was given
        for one in about["checkpoints"]:
            one["trained_on"] = ["." if data == here else data for data in one["trained_on"]]
    pictures = _pictures(cases, settings, drawn, Results(rows, about), montages) if montages else {}
    return write_report(out, rows, about, ood, pictures)


def _pictures(
    cases: Sequence[_Case],
    settings: Settings,
    drawn: Mapping[tuple[str, str, str], Drawn],
    results: Results,
    montages: Path,
) -> dict[str, Path]:
    """PNG files by caption: the paper's figures, with artefacts on the first subject of T1→T2, and single slices."""
    case = next((case for case in cases if str(case.pair) == PAIR), cases[0])
    view = View(case.session, case.pair, settings.slab, lambda *_: None, settings.sampling)
    unusual: dict[str, Path] = {}
    try:
        for c in (way.checkpoint for way in case.ways if not (way.three_planes or way.checkpoint.deterministic)):
            key: dict[str, Any] = {"n": settings.n, "steps": settings.steps, "seed": settings.seed, "sha256": c.sha256}
            key |= {"antithetic": settings.antithetic, "slab": settings.slab, "subject": case.session.name}
            key |= {"pair": str(case.pair), "files": case.session.stamp(), "version": __version__}
            key |= {"format": FORMAT, "answers": ANSWERS}
            path = montages / f"unusual_{c.name}_{digest(key)[:8]}.npz"
            draw_unusual(view, c, path)
            unusual[c.name] = path
    except MrtransError as error:
        results.about["left_out"].append(f"Pictures of unusual inputs: {error}")
    single = {f"{pair}, {name}": where.picture for (pair, name, _), where in drawn.items() if where.picture}
    return paper_figures.draw(paper_figures.Slices.read(drawn, unusual), results, montages) | single


@dataclass(frozen=True)
class _Case:
    """One pair and subject, and what is measured on it.

    ``first``: the first subject of its pair; ``first_of_data``: of its pair and data set.
    """

    pair: Pair
    session: Session
    lookup: Lookup
    training: list[str]
    ways: list[Way]
    first: bool
    first_of_data: bool

    @property
    def rows(self) -> int:
        """How many there will be."""
        return bool(self.lookup.sessions) + 1 + len(self.ways)


@dataclass(frozen=True)
class _Task:
    """One row to come: what identifies it, how it is made, and what is drawn with it."""

    method: str
    key: dict[str, Any]
    make: Callable[[Callable[[SliceUpdate], None]], Row]
    drawn: Drawn = NOTHING


def _tasks(settings: Settings, case: _Case, view: View, optional: Optional, montages: Path | None) -> Iterator[_Task]:
    """What is measured on a case; ``montages`` is the folder where they go, None where there are to be none."""
    where = {"pair": str(case.pair), "subject": case.session.name, "slab": settings.slab, "version": __version__}
    where |= {"format": FORMAT, "answers": ANSWERS, "files": digest({"files": case.session.stamp()})}
    if case.lookup.sessions:
        fitted = digest({"files": [session.stamp() for session in case.lookup.sessions]})
        of = where | {"lookup": case.training, "fitted": fitted}
        yield _Task("look-up table", of, lambda _: view.looked_up(case.lookup))
    yield _Task("blurred target", where | {"blurred": True}, lambda _: view.blurred())
    for way in case.ways:
        c = way.checkpoint
        correction = c.spread.get(case.pair.key)
        key = where | {
            "n": settings.n or c.card.sampler.n, "steps": settings.steps, "seed": settings.seed, **way.key,
            "antithetic": settings.antithetic, "two_sample": settings.two_sample,
            "calibrated": None if correction is None else correction.model_dump(),
        }  # fmt: skip
        drawn = NOTHING
        if montages and case.first_of_data:
            stem = f"{case.pair.source}-{case.pair.target}_{c.name}_{digest(key)[:8]}"
            drawn = Drawn(montages / f"{stem}.png" if case.first else None, montages / f"{stem}.npz")
        test = None
        if settings.two_sample and not way.three_planes:
            test = optional.two_sample(c, case.pair)
            trained = optional.training_of(c, case.pair)
            key["two_sample"] = digest({"files": [session.stamp() for session in trained]})
        yield _Task(way.name, key, partial(view.transformed, way, drawn, two_sample=test), drawn)


def _cases(
    root: Path, checkpoints: Sequence[Checkpoint], sessions: Mapping[str, Session], settings: Settings
) -> Iterator[_Case]:
    """What there is to measure: held-out sessions that have both contrasts of a pair."""
    chosen = session_names(settings.subjects or (), sessions)
    served = dict.fromkeys(pair for c in checkpoints for pair in c.pairs)
    compared = ways(checkpoints, settings.three_planes)
    for pair in (pair for pair in served if settings.pairs is None or pair in settings.pairs):
        serving = [c for c in checkpoints if pair in c.pairs]
        training = sorted({name for c in serving for name in c.card.splits.get("train", [])})
        lookup = Lookup([sessions[name] for name in training if name in sessions], pair)
        methods = [way for way in compared if pair in way.checkpoint.pairs]
        others = (check_planes(way.checkpoint) for way in methods if way.three_planes)
        known = {name for c in (*serving, *others) for name in c.card.seen}
        seen: set[str] = set()
        for name in chosen or sorted({name for c in serving for name in c.card.splits.get("test", [])}):
            check_held_out(name, known, sessions, root)
            if {pair.source, pair.target} <= sessions[name].files.keys():
                data = data_set(name)
                yield _Case(pair, sessions[name], lookup, training, methods, not seen, data not in seen)
                seen.add(data)


def _not_there(
    checkpoints: Sequence[Checkpoint], sessions: Mapping[str, Session], settings: Settings, measured: set[Pair]
) -> list[str]:
    """What was named and is not measured: pairs that no checkpoint serves, subjects without a contrast that others
    have."""
    served = {pair for c in checkpoints for pair in c.pairs}
    named = settings.pairs or ()
    lines = [f"{pair}: no checkpoint serves it." for pair in named if pair not in served]
    for name in session_names(settings.subjects or (), sessions):
        needed = dict.fromkeys(c for pair in served if pair in measured or pair in named for c in pair)
        lacking = [str(contrast) for contrast in needed if contrast not in sessions[name].files]
        lines += [f"{name}: there is no {', '.join(lacking)}."] if lacking else []
    return lines


def _again(optional: Optional, task: _Task, row: Row) -> bool:
    """Whether a finished row is measured once more: it lacks a picture, or a figure that can be had now."""
    return task.drawn.missing or optional.has_more(row)


def _noted(optional: Optional, task: _Task, tell: Callable[[SliceUpdate], None], machine: str) -> Row:
    return replace(optional.noted(task.make(tell)), machine=machine)


def _tell(progress: Progress, title: str, done: int, total: int, update: SliceUpdate) -> None:
    progress(title, done + update.done / update.total, total)


def _line(row: Row) -> str:
    spread = "" if row.std_over_rmse is None else f"  std/RMSE {row.std_over_rmse:.2f}"
    speed = "" if row.seconds_per_slice is None else f"  {row.seconds_per_slice:.2f} s/slice"
    return f"{row.pair:9} {row.subject:24} {row.method:22} SSIM {row.ssim:.4f}  PSNR {row.psnr:.2f} dB{spread}{speed}"


def _about(checkpoints: Sequence[Checkpoint], settings: Settings, left_out: list[str]) -> dict[str, Any]:
    """How the rows were obtained."""
    import torch

    return {
        "n": settings.n,
        "steps": settings.steps,
        "slab": settings.slab,
        "seed": settings.seed,
        "antithetic": settings.antithetic,
        "checkpoints": described(ways(checkpoints, settings.three_planes)),
        "date": date.today().isoformat(),
        "machine": describe_machine(settings.device),
        "torch": torch.__version__,
        "headroom": {contrast.value: value for contrast, value in HEADROOM.items()},
        "left_out": left_out,
    }
