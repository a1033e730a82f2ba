"""What :mod:`.evaluate` measures: which rows, of whom, and how each is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import check_planes, planes_of
from ..datasets.bids import Session, data_set
from ..errors import MrtransError
from ..scan.contrasts import Pair
from ..training.finished import digest
from ..transformation.request import ANSWERS
from ..transformation.streaming import SliceUpdate
from .held_out import (
    check_held_out,
    elsewhere,
    held_out_by,
    known_to_parents,
    seen_by,
    session_names,
    told_of_parents,
    trained_on,
)
from .lookup import Lookup
from .measure import Sampling, View
from .optional import Optional
from .row import FORMAT, Row
from .tiles import NOTHING, Drawn
from .way import Way, ways


@dataclass(frozen=True)
class Settings(Sampling):
    """What is evaluated, and how.

    Attributes:
        n: Samples, at least 1; None = the card's default.
        steps: Noise levels, at least 1; None = the card's default.
        seed: Of the starting noise, and of what is drawn at random for the figures; at least 0.
        device: As :func:`napari_mrtrans.stream`.
        antithetic: Samples in pairs of opposite noise, as elsewhere; False = independent draws, as the paper's.
        pairs: Restrict to these; None = all that a checkpoint serves.
        subjects: Restrict to these, or to visits of them (must not be training subjects of any checkpoint); None = the
            cards' test subjects.
        slab: Only this many slices around the middle of the head (at least 11); None = all.
        montages: Draw slices of the first subject of each pair and data set that a checkpoint answers for, too.
        two_sample: Train a classifier to tell samples from targets (:mod:`.two_sample`), too.
        three_planes: Checkpoints that can look at the head from three sides do so, too, as further methods.
    """

    pairs: Sequence[Pair] | None = None
    subjects: Sequence[str] | None = None
    slab: int | None = None
    montages: bool = True
    two_sample: bool = False
    three_planes: bool = False


@dataclass(frozen=True)
class Case:
    """One pair and subject, and what is measured on it."""

    pair: Pair
    session: Session
    lookup: Lookup
    training: list[str]
    ways: list[Way]

    @property
    def data(self) -> str:
        """Data set of the subject."""
        return data_set(self.session.name)

    @property
    def rows(self) -> int:
        """How many there will be."""
        return bool(self.lookup.sessions) + 1 + len(self.ways)


@dataclass(frozen=True)
class Task:
    """One row to come: what identifies it, how it is made, and what is drawn with it."""

    method: str
    key: dict[str, Any]
    make: Callable[[Callable[[SliceUpdate], None]], Row]
    drawn: Drawn = NOTHING


def tasks(
    settings: Settings, case: Case, view: View, optional: Optional, montages: Path | None, strip: bool
) -> Iterator[Task]:
    """What is measured on a case.

    Args:
        settings: What is evaluated.
        case: The case.
        view: Of its subject.
        optional: Figures that may not be to be had.
        montages: Folder for its slices; None = they are not kept.
        strip: A picture of the middle one goes there, too.
    """
    where = {"pair": str(case.pair), "subject": case.session.name, "slab": settings.slab, "version": __version__}
    where |= {"format": FORMAT, "answers": ANSWERS, "files": digest({"files": case.session.stamp(needed=())})}
    if case.lookup.sessions:
        fitted = digest({"files": [session.stamp(needed=()) for session in case.lookup.sessions]})
        of = where | {"lookup": case.training, "fitted": fitted}
        yield Task("look-up table", of, lambda _: view.looked_up(case.lookup))
    yield Task("blurred target", where | {"blurred": True}, lambda _: view.blurred())
    for way in case.ways:
        c = way.checkpoint
        correction = c.spread.get(case.pair.key)
        key = where | {
            "n": settings.n or c.card.sampler.n, "steps": settings.steps, "seed": settings.seed, **way.key,
            "antithetic": settings.antithetic, "two_sample": settings.two_sample,
            "calibrated": None if correction is None else correction.model_dump(),
        }  # fmt: skip
        drawn = NOTHING
        if montages:
            stem = f"{case.pair.source}-{case.pair.target}_{c.name}_{digest(key)[:8]}"
            drawn = Drawn(montages / f"{stem}.png" if strip else None, montages / f"{stem}.npz")
        test = None
        if settings.two_sample and not way.three_planes:
            test = optional.two_sample(c, case.pair)
            key["two_sample"] = optional.training_digest(c, case.pair)
        yield Task(way.name, key, partial(view.transformed, way, drawn, two_sample=test), drawn)


def cases(
    root: Path, checkpoints: Sequence[Checkpoint], sessions: Mapping[str, Session], settings: Settings
) -> Iterator[Case]:
    """What there is to measure: held-out sessions that have both contrasts of a pair."""
    chosen = session_names(settings.subjects or (), sessions)
    served = dict.fromkeys(pair for c in checkpoints for pair in c.pairs)
    compared, told = ways(checkpoints, settings.three_planes), known_to_parents(checkpoints)
    trained = [(c, trained_on(c, root)) for c in checkpoints]
    held_out = [(c, held_out_by(c, root, told)) for c in checkpoints]
    for pair in (pair for pair in served if settings.pairs is None or pair in settings.pairs):
        serving = [c for c in checkpoints if pair in c.pairs]
        training = sorted({name for c, names in trained if pair in c.pairs for name in names})
        lookup = Lookup([sessions[name] for name in training if name in sessions], pair)
        methods = [way for way in compared if pair in way.checkpoint.pairs]
        others = (check_planes(way.checkpoint) for way in methods if way.three_planes)
        known = seen_by([*serving, *others], root)
        own = {name for c, names in held_out if pair in c.pairs for name in names}
        for name in chosen or sorted(own):
            if not chosen and name not in sessions:
                remedies = filter(None, (elsewhere(c, root) for c, names in held_out if name in names))
                raise MrtransError(f"Subject '{name}' is not in '{root}'.{next(remedies, '')}")
            check_held_out(name, known, sessions, root)
            if {pair.source, pair.target} <= sessions[name].files.keys():
                yield Case(pair, sessions[name], lookup, training, methods)


def not_there(
    checkpoints: Sequence[Checkpoint], sessions: Mapping[str, Session], settings: Settings, measured: set[Pair]
) -> list[str]:
    """What was asked for and is not measured: three planes of checkpoints that know axial slices only, pairs that no
    checkpoint serves, subjects without a contrast that others have."""
    served = {pair for c in checkpoints for pair in c.pairs}
    named = settings.pairs or ()
    lines = told_of_parents(() if settings.subjects else known_to_parents(checkpoints))
    if settings.three_planes:
        axial = [c.name for c in checkpoints if planes_of(c) is None]
        lines += [f"three planes of {name}, which knows axial slices only." for name in axial]
    lines += [f"{pair}: no checkpoint serves it." for pair in named if pair not in served]
    for name in session_names(settings.subjects or (), sessions):
        needed = dict.fromkeys(c for pair in served if pair in measured or pair in named for c in pair)
        lacking = [str(contrast) for contrast in needed if contrast not in sessions[name].files]
        lines += [f"{name}: there is no {', '.join(lacking)}."] if lacking else []
    return lines
