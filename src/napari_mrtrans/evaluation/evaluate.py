"""Checkpoints against acquired targets on held-out subjects, with a monotone look-up table as the floor.

A second row for comparison is the target itself, blurred: what is out of reach because of noise shows there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import __version__, metrics
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import Session
from ..datasets.phantom import PREFIX
from ..errors import MrtransError, VolumeError
from ..paths import check_folder
from ..scan.contrasts import Pair
from ..scan.intensity import HEADROOM
from ..training.finished import Finished, digest
from ..transformation.streaming import SliceUpdate
from .held_out import NotMeasured, check_held_out, data_set, describe_machine, known_sessions, session_names
from .lookup import Lookup
from .measure import SSIM_WINDOW, Row, View
from .report.ood_rows import OodRow
from .report.write import write_report

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
        montages: Draw a slice of the first subject of each pair, too.
    """

    pairs: Sequence[Pair] | None = None
    subjects: Sequence[str] | None = None
    n: int | None = None
    steps: int | None = None
    slab: int | None = None
    seed: int = 0
    device: str = "auto"
    montages: bool = True


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
        MrtransError: a subject was trained on, is missing, or nothing is left to evaluate.
    """
    if settings.slab is not None and settings.slab < SSIM_WINDOW:
        raise MrtransError(f"--slab must be at least {SSIM_WINDOW} slices, the width of the SSIM window.")
    sessions = known_sessions(root, checkpoints, settings.subjects)
    check_folder(out)
    cases = list(_cases(root, checkpoints, sessions, settings))
    if not cases:
        wanted = ", ".join(map(str, settings.pairs or dict.fromkeys(pair for c in checkpoints for pair in c.pairs)))
        raise MrtransError(f"Nothing to evaluate: no held-out subject in '{root}' has both contrasts of {wanted}.")
    montages = out / "montages" if settings.montages else None
    finished, lpips = Finished(out / "finished.jsonl", Row), _Lpips(say)
    rows: list[Row] = []
    left_out: list[str] = []
    pictures: dict[tuple[str, str], Path] = {}
    done, total = 0, sum(case.rows for case in cases)
    for case in cases:
        for task in _tasks(settings, case, View(case.session, case.pair, settings.slab, lpips), montages):
            title = f"{task.method}, {case.pair}, {case.session.name}"
            progress(title, done, total)
            try:
                make = partial(task.make, partial(_tell, progress, title, done, total))
                undrawn = task.picture is not None and not task.picture.exists()
                rows.append(finished.row(task.key, make, again=undrawn))
            except (NotMeasured, VolumeError) as error:
                left_out.append(f"{title}: {error}")
                say(f"Left out: {left_out[-1]}")
            else:
                say(_line(rows[-1]))
                if task.picture is not None:
                    pictures[str(case.pair), task.method] = task.picture
            done += 1
    if not rows:
        raise MrtransError(f"Nothing could be measured. {left_out[0]}")
    if without := [str(pair) for pair in dict.fromkeys(case.pair for case in cases if not case.lookup.sessions)]:
        left_out.append(f"look-up table, {', '.join(without)}: no training subject is in '{root}'.")
    if lpips.missing:
        left_out.append(f"LPIPS: {lpips.missing}")
    return write_report(out, rows, _about(checkpoints, settings, left_out), ood, pictures)


@dataclass(frozen=True)
class _Case:
    """One pair and subject, and what is measured on it; ``first``: the first subject of its pair."""

    pair: Pair
    session: Session
    lookup: Lookup
    training: list[str]
    checkpoints: list[Checkpoint]
    first: bool

    @property
    def rows(self) -> int:
        """How many there will be."""
        return bool(self.lookup.sessions) + 1 + len(self.checkpoints)


@dataclass(frozen=True)
class _Task:
    """One row to come: what identifies it, how it is made, and the montage drawn with it."""

    method: str
    key: dict[str, Any]
    make: Callable[[Callable[[SliceUpdate], None]], Row]
    picture: Path | None = None


def _tasks(settings: Settings, case: _Case, view: View, montages: Path | None) -> Iterator[_Task]:
    """What is measured on a case; ``montages`` is the folder where they go, None where there are to be none."""
    where = {"pair": str(case.pair), "subject": case.session.name, "slab": settings.slab, "version": __version__}
    if case.lookup.sessions:
        yield _Task("look-up table", where | {"lookup": case.training}, lambda _: view.looked_up(case.lookup))
    yield _Task("blurred target", where | {"blurred": True}, lambda _: view.blurred())
    n, steps, seed = settings.n, settings.steps, settings.seed
    for c in case.checkpoints:
        key = where | {"n": n or c.card.sampler.n, "steps": steps, "seed": seed, "sha256": c.sha256}
        picture = None
        if montages and case.first:
            picture = montages / f"{case.pair.source}-{case.pair.target}_{c.name}_{digest(key)[:8]}.png"
        make = partial(view.transformed, c, picture, n=n, steps=steps, seed=seed, device=settings.device)
        yield _Task(c.name, key, make, picture)


def _cases(
    root: Path, checkpoints: Sequence[Checkpoint], sessions: Mapping[str, Session], settings: Settings
) -> Iterator[_Case]:
    """What there is to measure: held-out sessions that have both contrasts of a pair."""
    chosen = session_names(settings.subjects or (), sessions)
    served = dict.fromkeys(pair for c in checkpoints for pair in c.pairs)
    for pair in (pair for pair in served if settings.pairs is None or pair in settings.pairs):
        serving = [c for c in checkpoints if pair in c.pairs]
        training = sorted({name for c in serving for name in c.card.splits.get("train", [])})
        lookup = Lookup([sessions[name] for name in training if name in sessions], pair)
        first = True
        for name in chosen or sorted({name for c in serving for name in c.card.splits.get("test", [])}):
            check_held_out(name, training, sessions, root)
            if {pair.source, pair.target} <= sessions[name].files.keys():
                yield _Case(pair, sessions[name], lookup, training, serving, first)
                first = False


class _Lpips:
    """LPIPS, until it turns out that it is not to be had, which is said once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.missing = say, ""

    def __call__(self, prediction: NDArray, target: NDArray, axis: int) -> float | None:
        if not self.missing:
            try:
                return metrics.lpips(prediction, target, axis=axis)
            except MrtransError as error:
                self.missing = str(error)
                self.say(f"{self.missing} All other figures are measured.")
        return None


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
        "checkpoints": [
            {
                "name": c.name,
                "model": c.card.model,
                "sha256": c.sha256,
                "trained_on": sorted({data_set(n) for n in c.card.splits.get("train", []) if not n.startswith(PREFIX)}),
            }
            for c in checkpoints
        ],
        "date": date.today().isoformat(),
        "machine": describe_machine(settings.device),
        "torch": torch.__version__,
        "headroom": {contrast.value: value for contrast, value in HEADROOM.items()},
        "left_out": left_out,
    }
