"""Held-out sessions as :mod:`.evaluate` and :mod:`.validate_sampler` read them."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..checkpoints import card_text
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import Session, data_set, in_folder, known_by, subject_of
from ..datasets.phantom import PREFIX, people_in
from ..datasets.readers import read_folder, recognise
from ..errors import MrtransError, RecipeError
from ..scan.contrasts import Pair
from ..scan.grid import same_grid
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume, not_finite
from ..wording import and_more

#: Subjects that a line proposes, at most.
MOST_PROPOSED = 4


class NotMeasured(MrtransError):
    """One subject or answer has no figures; the others may have."""


@dataclass(frozen=True)
class PairedVolumes:
    """Both contrasts of a pair; arrays on their common grid.

    Attributes:
        volume: The source, as acquired.
        source: In [0, 1].
        target: In [0, 1].
        head: Of the source.
        both: Head of source and target, where both are finite.
        lacks: What of the heads is not, in a line; empty: nothing.
    """

    volume: Volume
    source: NDArray[np.float32]
    target: NDArray[np.float32]
    head: NDArray[np.bool_]
    both: NDArray[np.bool_]
    lacks: str = ""

    @classmethod
    def open(cls, session: Session, pair: Pair) -> PairedVolumes:
        """Read a session's files.

        Raises:
            VolumeError: a file cannot be used.
            NotMeasured: source and target lie on different grids.
        """
        volume = Volume.load(session.files[pair.source], pair.source)
        seen = PreparedVolume.of(volume)
        acquired = Volume.load(session.files[pair.target])
        sought = PreparedVolume.of(acquired)
        source, target = seen.normalised(pair.source), sought.normalised(pair.target)
        if not same_grid(source.shape, volume.affine, target.shape, acquired.affine):
            raise NotMeasured(
                f"{session.name}: {pair.source} and {pair.target} lie on different grids; bring them onto one with "
                "napari-mrtrans prepare."
            )
        known = np.isfinite(volume.data) & np.isfinite(acquired.data)
        lacks = ""
        if count := int(((seen.head | sought.head) & ~known).sum()):
            unknown = not_finite(f"{pair.source} or {pair.target}", count)
            lacks = f"{session.name}: {unknown}; they are left out."
        return cls(volume, source, target, seen.head, seen.head & sought.head & known, lacks)


def known_sessions(
    root: Path, checkpoints: Sequence[Checkpoint], subjects: Sequence[str] | None = None, *, others_do: bool = True
) -> dict[str, Session]:
    """Sessions by name, below ``root`` in the data sets of ``subjects`` and in those that the checkpoints' splits name.

    Where ``subjects`` are given, the checkpoints' own data sets may be absent. ``others_do``: whoever asks can be told
    other subjects, which an error then proposes.

    Raises:
        RecipeError: a data set that is needed is missing or holds no subjects.
    """
    own = _data_sets(checkpoints)
    needed = {data_set(name) for name in subjects} if subjects else own
    known = {}
    for folder in sorted(own | needed):
        try:
            place, formats = _recognised(root / folder, checkpoints if folder == "." else ())
        except RecipeError:
            if folder in needed and (subjects or not root.is_dir()):
                raise
            if folder in needed:
                raise RecipeError(_lacking(root, folder, checkpoints, others_do)) from None
            continue
        for session in (s for name in formats for s in read_folder(place, name).sessions):
            prefixed = session if folder == "." else replace(session, subject=f"{folder}/{session.subject}")
            known[prefixed.name] = prefixed
    return known


def _data_sets(checkpoints: Sequence[Checkpoint]) -> set[str]:
    """Of whose people the checkpoints' splits tell."""
    names = (name for c in checkpoints for part in c.card.splits.values() for name in part)
    return {data_set(name) for name in names if not name.startswith(PREFIX)} or {"."}


def _lacking(root: Path, folder: str, checkpoints: Sequence[Checkpoint], others_do: bool) -> str:
    """What is said where a data set of some checkpoints is not there; those that another one held out are proposed."""
    named = " and ".join(f"'{c.name}'" for c in checkpoints if folder in _data_sets([c]))
    if not others_do:
        return f"'{root / folder}', with the subjects of {named}, is not there; give the folder it was trained with."
    proposal = ""
    for other in (c for c in checkpoints if folder not in _data_sets([c])):
        with suppress(RecipeError):
            if there := [*sessions_of(root, other, "test")][:MOST_PROPOSED]:
                proposal = f", such as those that '{other.name}' held out: --subjects {','.join(there)}"
    return (
        f"'{root / folder}', with the subjects that {named} held out, is not there; give the folder it was trained "
        f"with, or name subjects of '{root}' it has not seen (--subjects){proposal}."
    )


def _recognised(folder: Path, checkpoints: Sequence[Checkpoint]) -> tuple[Path, list[str]]:
    """A data set and its formats: of ``folder`` the one folder below it that the ``checkpoints``' cards name; else
    ``folder``, or the one folder in it whose people they were trained on, or kept out, as the only data set below it.

    Raises:
        RecipeError: none of them is one.
    """
    named = {c.card.folder for c in checkpoints if c.card.folder}
    if len(named) == 1 and (home := folder / min(named)).is_dir():
        return home, recognise(home)
    try:
        return folder, recognise(folder)
    except RecipeError:
        people = {subject_of(name) for c in checkpoints for part in c.card.splits.values() for name in part}
        inner = [path for path in (folder.iterdir() if folder.is_dir() else ()) if path.is_dir()]
        homes = [path for path in inner if any((path / name).is_dir() for name in people)]
        if len(homes) != 1:
            raise
        return homes[0], recognise(homes[0])


def sessions_of(root: Path, checkpoint: Checkpoint, *parts: str) -> dict[str, Session]:
    """By name, those of the people in these ``parts`` of a checkpoint's split that are below ``root``; none where that
    is another site's, whose people are called so, too.

    Raises:
        RecipeError: as :func:`known_sessions`.
    """
    there = known_sessions(root, [checkpoint], others_do=False)
    named = _called([name for part in parts for name in checkpoint.card.splits.get(part, [])], checkpoint, root)
    return {name: there[name] for name in named if name in there}


def session_names(subjects: Sequence[str], sessions: Mapping[str, Session]) -> list[str]:
    """Names of sessions, each once; a subject stands for all of its visits, a name that is neither stays as it is, but
    for slashes too many."""
    subjects = [posixpath.normpath(subject) for subject in subjects]
    visits = {subject: [name for name, s in sessions.items() if s.subject == subject] for subject in subjects}
    return list(dict.fromkeys(name for subject in subjects for name in visits[subject] or [subject]))


def seen_by(checkpoints: Sequence[Checkpoint], root: Path) -> set[str]:
    """Names of the sessions that checkpoints have seen in training, as :func:`trained_on` has them.

    What a card names without a folder as seen before may be of another one than its own: both are meant.
    """
    called = {name for checkpoint in checkpoints for name in _called(checkpoint.card.seen, checkpoint, root)}
    return called.union(*(checkpoint.card.seen_before for checkpoint in checkpoints))


def trained_on(checkpoint: Checkpoint, root: Path) -> list[str]:
    """Names of a checkpoint's training sessions. Where ``root`` is neither the one folder that it was trained on nor
    the folder above it, they have that folder before them: another site's people are called so, too."""
    return _called(checkpoint.card.splits.get("train", []), checkpoint, root)


def _called(names: Sequence[str], checkpoint: Checkpoint, root: Path) -> list[str]:
    return people_in("" if _is_home(root, checkpoint) else checkpoint.card.folder, names)


def _is_home(root: Path, checkpoint: Checkpoint) -> bool:
    """Whether a data folder is, or holds, the one that a checkpoint was trained on, by its name."""
    home = checkpoint.card.folder
    if not home or Path(home).name in {root.absolute().name, root.resolve().name}:
        return True
    try:
        return _recognised(root, [checkpoint])[0] != root
    except RecipeError:
        return False


def known_to_parents(checkpoints: Sequence[Checkpoint], part: str = "test") -> set[str]:
    """Sessions in a ``part`` of the checkpoints' splits, as the cards call them, of whose people the checkpoints that
    one of these started from learned, at whatever visit."""
    seen = {subject_of(name) for c in checkpoints for name in c.card.seen_before}
    named = ((c.card.folder, name) for c in checkpoints for name in c.card.splits.get(part, []))
    return {name for folder, name in named if known_by(in_folder(folder, name), seen)}


def held_out_by(checkpoint: Checkpoint, root: Path, told: Collection[str]) -> list[str]:
    """Names of a checkpoint's test sessions without those of ``told``, with their folder as :func:`trained_on`'s."""
    names = (name for name in checkpoint.card.splits.get("test", []) if name not in told)
    return _called(sorted(names), checkpoint, root)


def elsewhere(checkpoint: Checkpoint, root: Path) -> str:
    """What to do where a folder of another name is the one that it was trained on; empty where it is by its name."""
    home = Path(checkpoint.card.folder).name
    own = f" '{checkpoint.name}' was trained on a folder '{home}': if it is this one, give it by a link of that name."
    return "" if _is_home(root, checkpoint) else own


def told_of_parents(names: Collection[str]) -> list[str]:
    """A line on each of :func:`known_to_parents`."""
    return [f"{name}: held out, but what a checkpoint started from was trained on it." for name in sorted(names)]


def check_held_out(name: str, training: Collection[str], sessions: Mapping[str, Session], root: Path) -> None:
    """A subject must be there, and not one that was trained on, at whatever visit.

    Raises:
        MrtransError: it is not so.
    """
    known = {subject_of(one) for one in training}
    here = sessions[name].files.values() if name in sessions else ()
    theirs = {path for one in training if one in sessions for path in sessions[one].files.values()}
    # A data set's own folder, where the training was told of one above, or the other way round.
    subject = subject_of(name)
    whole = [*root.resolve().parts, *subject.split("/")]
    called = {subject, *("/".join(whole[start:]) for start in range(len(whole) - 1))}
    if known & called or theirs & {*here}:
        raise MrtransError(f"'{name}' is a training subject; choose others.")
    if name not in sessions:
        raise MrtransError(f"Subject '{name}' is not in '{root}'.")


def adapted_to(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Lines on those that have seen people whom their cards do not name, who may be among those held out."""
    return [
        f"'{c.name}' {card_text.adapted_to(c.card)}, whom its card does not name: the figures of these would flatter "
        f"it, so leave them out (--subjects)."
        for c in checkpoints
        if c.card.unnamed
    ]


def namesakes(
    names: Collection[str], checkpoints: Sequence[Checkpoint], sessions: Mapping[str, Session], root: Path
) -> list[str]:
    """A line on those of ``names`` who are called as training subjects of a data set that is not known any more.

    Every data set has a sub-01: a name without a folder is none of those that a card itself names with one.
    """
    lost = {subject_of(one) for one in seen_by(checkpoints, root) if one not in sessions}
    bare = {one for one in lost if data_set(one) in {".", *(c.card.folder for c in checkpoints)}}
    alike = [name for name in names if known_by(name, bare if data_set(name) == "." else lost)]
    if not alike:
        return []
    return [
        f"'{alike[0]}'{and_more(len(alike) - 1)}: a training subject of a data set that is not there is called so. If "
        f"it is this one, leave it out (--subjects)."
    ]


def held_out_sessions(
    root: Path, checkpoint: Checkpoint, subjects: Sequence[str] | None
) -> tuple[list[Session], list[str]]:
    """Sessions of ``subjects``, or of the card's test subjects, and lines on those of these that are left out and on
    those who may be known to the checkpoint.

    Raises:
        MrtransError: one was trained on or is not there, or nobody is left.
    """
    there, seen = known_sessions(root, [checkpoint]), seen_by([checkpoint], root)
    subjects = None if subjects is None else session_names(subjects, there)
    for name in subjects or ():
        check_held_out(name, seen, there, root)
    told = known_to_parents([checkpoint]) if subjects is None else set()
    names = held_out_by(checkpoint, root, told) if subjects is None else subjects
    lines = told_of_parents(told)
    if absent := [name for name in names if name not in there]:
        lines.append(f"Not in the data folder: {', '.join(absent)}.")
    if not (present := [name for name in dict.fromkeys(names) if name in there]):
        raise MrtransError(
            f"None of the held-out subjects of '{checkpoint.name}' is in '{root}'; name some by --subjects."
            + (f" {lines[0]}" if told else "")
            + elsewhere(checkpoint, root)
        )
    lines += [*adapted_to([checkpoint]), *namesakes(present, [checkpoint], there, root)]
    return [there[name] for name in present], lines
