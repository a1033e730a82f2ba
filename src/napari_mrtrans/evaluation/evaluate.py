"""Checkpoints against acquired targets on held-out subjects, with a monotone look-up table as the floor.

A second row for comparison is the target itself, blurred: what is out of reach because of noise shows there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.pool import drawn_by
from ..devices import describe_machine
from ..errors import MrtransError, PartOnly, VolumeError, fault_line
from ..metrics.similarity import WINDOW
from ..paths import check_folder
from ..scan.contrasts import Pair
from ..scan.intensity import HEADROOM
from ..training.finished import Finished, digest
from ..transformation.engine import MAX_HELD, BadNumbers
from ..transformation.request import ANSWERS
from ..transformation.streaming import SliceUpdate
from ..wording import and_more
from .cases import Case, Settings, Task, cases, not_there, tasks
from .ensemble_figures import too_few_for
from .held_out import NotMeasured, adapted_to, known_sessions, namesakes
from .measure import LESIONS, View
from .optional import Optional
from .report import paper_figures
from .report.ood_rows import OodRow, not_told
from .report.paper_figures import PAIR
from .report.results import Results
from .report.write import check_foreign, write_report
from .row import FORMAT, Row
from .tiles import NOTHING, Drawn
from .unusual import draw_unusual
from .way import described, distinct, ways

#: Told what is being computed, how many rows are done (the present one in part), and how many there will be.
Progress = Callable[[str, float, int], None]


def evaluate(
    root: Path,
    checkpoints: Sequence[Checkpoint],
    out: Path,
    settings: Settings,
    *,
    ood: Sequence[OodRow] | None = None,
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
        ood: Scores of normal and unusual inputs, for the report's part on detection; None = there is to be none.
        say: Told every row.
        progress: Told how far it is.

    Returns:
        The files written.

    Raises:
        MrtransError: a subject was trained on, is missing, or nothing is left to evaluate; two checkpoints have one
            name; a file in ``out`` that no evaluation has written would be replaced.
    """
    checkpoints = distinct(checkpoints)
    if settings.slab is not None and settings.slab < WINDOW:
        raise MrtransError(f"--slab must be at least {WINDOW} slices, the width of the SSIM window.")
    if many := [n for c in checkpoints if (n := settings.n or c.card.sampler.n) > MAX_HELD and not c.deterministic]:
        raise MrtransError(f"At most {MAX_HELD} samples can be evaluated, and these are {max(many)}; lower -n.")
    sessions = known_sessions(root, checkpoints, settings.subjects)
    check_folder(out)
    check_foreign(out, kept := out / "finished.jsonl")
    planned = list(cases(root, checkpoints, sessions, settings))
    measured = list(dict.fromkeys(case.session.name for case in planned))
    alike = namesakes(measured, checkpoints, sessions, root)
    for line in (doubts := [*adapted_to(checkpoints), *alike]):
        say(line)
    if not planned:
        wanted = ", ".join(map(str, settings.pairs or dict.fromkeys(pair for c in checkpoints for pair in c.pairs)))
        raise MrtransError(f"Nothing to evaluate: no held-out subject in '{root}' has both contrasts of {wanted}.")
    montages = out / "montages" if settings.montages else None
    finished, optional = Finished(kept, Row), Optional(say, root, sessions, settings)
    machine = describe_machine(settings.device)
    rows: list[Row] = []
    left_out = not_there(checkpoints, sessions, settings, {case.pair for case in planned})
    for line in left_out:
        say(f"Left out: {line}")
    drawn: dict[tuple[str, str, str], Drawn] = {}
    shown: dict[tuple[Pair, str], Case] = {}  # by pair and data set: whose slices are in the pictures
    done, total = 0, sum(case.rows for case in planned)
    for case in planned:
        view = View(case.session, case.pair, settings.slab, optional.lpips, settings)
        folder = None if (case.pair, case.data) in shown else montages
        strip = all(pair != case.pair for pair, _ in shown)
        for task in tasks(settings, case, view, optional, folder, strip):
            title = f"{task.method}, {case.pair}, {case.session.name}"
            progress(title, done, total)
            try:
                tell = partial(_tell, progress, title, done, total)
                make = partial(_noted, optional, task, tell, machine)
                again = partial(_again, optional, task)
                rows.append(finished.row(task.key, make, again))
            except (NotMeasured, VolumeError, BadNumbers, PartOnly) as error:
                left_out.append(f"{title}: {error}")
                say(f"Left out: {left_out[-1]}")
            else:
                say(_line(rows[-1]))
                if task.drawn != NOTHING:
                    drawn[str(case.pair), task.method, case.session.name] = task.drawn
                    shown[case.pair, case.data] = case
            done += 1
    if not rows:
        raise MrtransError(f"Nothing could be measured. {left_out[-1]}")
    if without := [str(pair) for pair in dict.fromkeys(case.pair for case in planned if not case.lookup.sessions)]:
        left_out.append(f"look-up table, {', '.join(without)}: no training subject is in '{root}'.")
    left_out += dict.fromkeys([*(line for row in rows for line in row.lacks or ()), *optional.missing])
    left_out += [*_without_lesions(planned, rows), *_few(checkpoints, settings, rows)]
    left_out += [] if ood is None else not_told(ood)
    about = _about(root, checkpoints, settings, machine, left_out) | ({"doubts": doubts} if doubts else {})
    if not (root / (here := root.resolve().name)).is_dir():  # the data set's own folder, or the one above, was given
        for one in about["checkpoints"]:
            one["trained_on"] = ["." if data.rpartition("/")[2] == here else data for data in one["trained_on"]]
    pictures = {}
    if montages and shown:
        pictures = _pictures([*shown.values()], settings, drawn, Results(rows, about), montages)
    return write_report(out, rows, about, ood or (), pictures)


def _pictures(
    shown: Sequence[Case],
    settings: Settings,
    drawn: Mapping[tuple[str, str, str], Drawn],
    results: Results,
    montages: Path,
) -> dict[str, Path]:
    """PNG files by caption: the paper's figures, with artefacts on the first subject of T1→T2, and single slices."""
    case = next((case for case in shown if str(case.pair) == PAIR), shown[0])
    view = View(case.session, case.pair, settings.slab, lambda *_: None, settings)
    unusual: dict[str, Path] = {}
    try:
        for c in (way.checkpoint for way in case.ways if not (way.three_planes or way.checkpoint.deterministic)):
            key: dict[str, Any] = {"n": settings.n, "steps": settings.steps, "seed": settings.seed, "sha256": c.sha256}
            key |= {"antithetic": settings.antithetic, "slab": settings.slab, "subject": case.session.name}
            key |= {"pair": str(case.pair), "files": case.session.stamp(needed=()), "version": __version__}
            key |= {"format": FORMAT, "answers": ANSWERS}
            path = montages / f"unusual_{c.name}_{digest(key)[:8]}.npz"
            draw_unusual(view, c, path)
            unusual[c.name] = path
    except MrtransError as error:
        results.about["left_out"].append(f"Pictures of unusual inputs: {error}")
    single = {f"{pair}, {name}": where.picture for (pair, name, _), where in drawn.items() if where.picture}
    return paper_figures.draw(paper_figures.Slices.read(drawn, unusual), results, montages) | single


def _without_lesions(planned: Sequence[Case], rows: Sequence[Row]) -> list[str]:
    """A line on those who have no expert mask, and one on those whose mask marks nothing of what was measured."""
    masked = {case.session.name for case in planned if case.session.mask is not None}
    told = {line.partition(LESIONS)[0] for row in rows for line in row.lacks or () if LESIONS in line}
    known = told | {row.subject for row in rows if row.lesion_sums is not None}
    lacking = [name for name in dict.fromkeys(row.subject for row in rows) if name not in known]
    lines = []
    for there, why in ((False, "there is no expert mask"), (True, "the expert mask marks nothing that was measured")):
        if names := [name for name in lacking if (name in masked) == there]:
            told_of = f"{names[0]}{and_more(len(names) - 1)}"
            lines.append(f"{told_of}{LESIONS}{why}, so there is no correlation inside lesions.")
    return lines


def _few(checkpoints: Sequence[Checkpoint], settings: Settings, rows: Sequence[Row]) -> list[str]:
    """A line on each checkpoint that has drawn too few samples for some of its figures."""
    lines, methods = [], {row.method for row in rows}
    for c in (c for c in checkpoints if c.name in methods and not c.deterministic):
        n = settings.n or c.card.sampler.n
        if lacking := too_few_for(drawn_by(c, n), settings.antithetic):
            pairs = " in antithetic pairs" if settings.antithetic and n > 1 else ""
            lines.append(f"{c.name}: n = {n}{pairs} is too few samples for {', '.join(lacking)}.")
    return lines


def _again(optional: Optional, task: Task, row: Row) -> bool:
    """Whether a finished row is measured once more: it lacks a picture, or a figure that can be had now."""
    return task.drawn.missing or optional.has_more(row)


def _noted(optional: Optional, task: Task, tell: Callable[[SliceUpdate], None], machine: str) -> Row:
    """The row of a task.

    Raises:
        NotMeasured: a fault of ours, or too little memory, which must not cost the night's other rows.
    """
    try:
        row = task.make(tell)
    except (MrtransError, OSError, ModuleNotFoundError):
        raise
    except Exception as error:
        raise NotMeasured(fault_line(error)) from error
    return replace(optional.noted(row), machine=machine)


def _tell(progress: Progress, title: str, done: int, total: int, update: SliceUpdate) -> None:
    progress(title, done + update.done / update.total, total)


def _line(row: Row) -> str:
    spread = "" if row.std_over_rmse is None else f"  std/RMSE {row.std_over_rmse:.2f}"
    speed = "" if row.seconds_per_slice is None else f"  {row.seconds_per_slice:.2f} s/slice"
    return f"{row.pair:9} {row.subject:24} {row.method:22} SSIM {row.ssim:.4f}  PSNR {row.psnr:.2f} dB{spread}{speed}"


def _about(
    root: Path, checkpoints: Sequence[Checkpoint], settings: Settings, machine: str, left_out: list[str]
) -> dict[str, Any]:
    """How the rows were obtained."""
    import torch

    return {
        "n": settings.n,
        "steps": settings.steps,
        "slab": settings.slab,
        "seed": settings.seed,
        "antithetic": settings.antithetic,
        "checkpoints": described(ways(checkpoints, settings.three_planes), root),
        "date": date.today().isoformat(),
        "machine": machine,
        "torch": torch.__version__,
        "headroom": {contrast.value: value for contrast, value in HEADROOM.items()},
        "left_out": left_out,
    }
