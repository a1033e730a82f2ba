"""Whose scans an adaptation learns from: sessions of any known layout, checked, and prepared where they need it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

from ..asked.place import PREPARED, WORK
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import Session
from ..datasets.loaded import LoadedSession
from ..datasets.sessions import RawSession, check_one_person
from ..datasets.store import Readable, Source
from ..errors import MrtransError, RecipeError
from ..models.base import VOCABULARY
from ..models.families import POOL
from ..prepare.pipeline import Options, prepare_session
from ..scan.contrasts import BIDS_SUFFIX, Contrast, Pair
from ..scan.volume import Volume, check_volume
from .check import check_session, needs_preparing
from .slices import FEWEST_SLICES, usable_slices

#: Images of one person at one visit, by contrast: files, or volumes that are open already.
Images = Mapping[Contrast, Path | Volume]
Usable = Session | LoadedSession


@dataclass(frozen=True)
class Site:
    """The sessions of one scanner.

    Attributes:
        source: All of them, as the trainer reads them.
        pairs: Transformations that at least one session has.
    """

    source: Source
    pairs: tuple[Pair, ...]

    @cached_property
    def people(self) -> dict[str, list[int]]:
        """Numbers of each person's sessions."""
        found: dict[str, list[int]] = {}
        for index, session in enumerate(self.sessions):
            found.setdefault(session.subject, []).append(index)
        return found

    @property
    def sessions(self) -> tuple[Usable, ...]:
        """As they were found."""
        return tuple(s for s in self.source.sessions if isinstance(s, Session | LoadedSession))


def given_sessions(sessions: Iterable[Images]) -> list[Session | LoadedSession]:
    """Sessions of what a caller of Python has: one mapping a person.

    Raises:
        MrtransError: files and volumes are mixed in one, or an image is neither.
    """
    out: list[Session | LoadedSession] = []
    for number, images in enumerate(sessions, 1):
        named = {Contrast.parse(contrast): image for contrast, image in images.items()}
        for image in named.values():
            if not isinstance(image, str | PathLike):
                check_volume(image)
        volumes = {c: replace(image, contrast=c) for c, image in named.items() if isinstance(image, Volume)}
        if volumes and len(volumes) < len(named):
            raise MrtransError("Give either volumes or files of a session, not both.")
        subject = f"sub-{number:02}"
        if volumes:
            out.append(LoadedSession.of(subject, volumes))
        else:
            out.append(Session(subject, "", {c: Path(str(path)) for c, path in named.items()}, None))
    return out


def wanted_pairs(parent: Checkpoint, pairs: Sequence[Pair] | None, sessions: Sequence[Usable]) -> tuple[Pair, ...]:
    """The pairs that are adapted: those asked for, else those of the parent that a session has.

    A pair that the parent was never trained on will do, for a network that is told its pair knows all contrasts.

    Raises:
        RecipeError: no session has such a pair, or the network serves one pair and is not told it, or it is a pool.
    """
    if parent.card.model == POOL:
        members = ", ".join(dict.fromkeys(parent.card.turns))
        raise RecipeError(f"'{parent.name}' is a pool and has no network of its own; adapt one of {members}.")
    there = {pair for pair in _all_pairs() if has_pair(sessions, pair)}
    have = ", ".join(dict.fromkeys(c for s in sessions for c in s.contrasts)) or "none"
    if pairs is not None and (missing := [pair for pair in pairs if pair not in there]):
        raise RecipeError(f"No session has both contrasts of {missing[0]}; there are {have}.")
    chosen = tuple(dict.fromkeys(pairs if pairs is not None else (pair for pair in parent.pairs if pair in there)))
    if not chosen:
        serves = ", ".join(map(str, parent.pairs))
        raise RecipeError(
            f"No session has both contrasts of a pair that '{parent.name}' serves ({serves}); have {have}."
        )
    if not parent.card.options.get("conditional", True) and len(chosen) > 1:
        raise RecipeError(
            f"'{parent.name}' knows one pair only; adapt it to one (--pairs {parent.pairs[0].key}), or choose another "
            "--model."
        )
    return chosen


def _all_pairs() -> list[Pair]:
    return [Pair(a, b) for a in VOCABULARY for b in VOCABULARY if a != b]


def open_site(
    sessions: Sequence[Usable],
    pairs: tuple[Pair, ...],
    spacing_mm: float,
    out: Path,
    *,
    prepare: bool = True,
    say: Callable[[str], None] = print,
) -> Site:
    """Check every session, prepare what has to be, and decode them all once, below ``out``.

    A session that cannot be used is left out with a line, if another can.

    Raises:
        MrtransError: none can be used; the reason of the first.
    """
    usable: list[Usable] = []
    problems: list[MrtransError] = []
    cache = out / WORK / "decoded"
    wanted = {contrast for pair in pairs for contrast in pair}
    for session in sessions:
        kept = _only(session, wanted)
        if not any(has_pair([kept], pair) for pair in pairs):
            say(f"{session.name}: has only {', '.join(session.contrasts) or 'nothing'}; left out")
            continue
        try:
            ready = _ready(kept, out / WORK / PREPARED, prepare, say)
            count = len(usable_slices(Source((ready,), spacing_mm, cache)[0]))
            if count < FEWEST_SLICES:
                raise RecipeError(
                    f"{session.name}: only {count} slices with enough brain; adapting needs {FEWEST_SLICES} or more."
                )
        except MrtransError as error:
            problems.append(error)
            say(f"{error} Left out.")
            continue
        usable.append(ready)
    if not usable:
        raise problems[0] if problems else RecipeError("No session has both contrasts of a pair; see --pairs.")
    return Site(Source(tuple(usable), spacing_mm, cache), tuple(p for p in pairs if has_pair(usable, p)))


def has_pair(sessions: Iterable[Readable], pair: Pair) -> bool:
    """Whether somebody has both contrasts."""
    return any({*pair} <= {*session.contrasts} for session in sessions)


def _only(session: Usable, wanted: set[Contrast]) -> Usable:
    if isinstance(session, LoadedSession):
        return LoadedSession.of(session.subject, {c: v for c, v in session.volumes.items() if c in wanted})
    return replace(session, files={c: path for c, path in session.files.items() if c in wanted})


def _ready(session: Usable, folder: Path, prepare: bool, say: Callable[[str], None]) -> Usable:
    """The session itself, or what preparing it gave."""
    if isinstance(session, LoadedSession):
        volumes, person = session.volumes, ""
    else:
        check_one_person(list(session.files.values()))
        volumes = {contrast: Volume.load(path, contrast) for contrast, path in session.files.items()}
        person = session.subject.rpartition("/")[2]
    if why := needs_preparing(volumes):
        if not prepare or isinstance(session, LoadedSession):
            raise RecipeError(f"{session.name}: {why}; run napari-mrtrans prepare first.")
        say(f"{session.name}: {why}; preparing it first.")
        raw = RawSession(person, session.session, session.files)
        prepare_session(raw, folder, Options(overwrite=True), None, say)  # other pairs may have had others
        there = folder / raw.folder
        files = {c: there / f"{raw.stem}_desc-preproc_{BIDS_SUFFIX[c]}.nii.gz" for c in session.files}
        session = replace(session, files=files, mask=None)
        volumes = {contrast: Volume.load(path, contrast) for contrast, path in files.items()}
    check_session(session.name, volumes)
    return session
