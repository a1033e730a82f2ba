"""Adapt a checkpoint to a scanner: judged on people left out, trained on all, calibrated, installed if it is better."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from ..asked.place import alone, check_foreign, clear, finished, key_in, key_of, write_record
from ..asked.settings import WORTH_IT_DB, Asked, Hooks, Progress, Settings, check_free
from ..checkpoints.checkpoint import Checkpoint, read_checkpoint
from ..checkpoints.installing import install
from ..checkpoints.library import list_checkpoints, load_checkpoint
from ..datasets.sessions import noted
from ..datasets.subjects import find_sessions
from ..errors import MrtransError
from ..paths import adaptation_dir
from ..scan.contrasts import Pair
from .figures import Line, gain
from .page import text_table
from .result import file_names, read_table, write_result
from .site import Images, Usable, given_sessions, open_site, wanted_pairs
from .work import Work


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        checkpoint: The installed one, or the one in the output folder.
        installed: Whether it is installed.
        better: Whether it is better than its parent where it was judged.
        table: Before and after, by pair.
        warnings: What to beware of, and why it is not installed.
        done_before: Says that nothing was left to do; empty otherwise.
    """

    checkpoint: Checkpoint
    installed: bool
    better: bool
    table: list[Line]
    warnings: list[str]
    done_before: str = ""

    @property
    def lines(self) -> list[str]:
        """For the user, the warnings last."""
        return [*([self.done_before] if self.done_before else text_table(self.table)), *self.warnings]


def adapt(
    checkpoint: Checkpoint | str | Path,
    sessions: str | Path | Sequence[Images],
    *,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    **asked: Unpack[Asked],
) -> Checkpoint:
    """Adapt a checkpoint to one scanner, on one complete session of it or more.

    Args:
        checkpoint: What to start from: a checkpoint, an installed name, a family, or a file.
        sessions: A data folder (see ``napari-mrtrans-train adapt``), or one mapping from contrast to file or
            :class:`~napari_mrtrans.Volume` for each person.
        out: Where the result goes; killed, the same call with the same folder goes on. Default: a folder of the user's.
        progress: Told how far it is, and shown a held-out slice now and then.
        say: Told one-line notices.
        cancel: Polled; when true, the best so far is kept, judged and written.
        **asked: ``minutes``, and whatever else of :class:`~napari_mrtrans.asked.settings.Settings` is wanted.

    Returns:
        The installed checkpoint; that in ``out`` if it is not better than its parent, and so was not installed.

    Raises:
        MrtransError: the scans or what is asked are of no use.
    """
    settings = Settings(**asked)  # type: ignore[arg-type]
    hooks = Hooks(progress or Hooks.progress, say or Hooks.say, cancel or Hooks.cancel, previews=progress is not None)
    parent = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    given: Sequence[Usable]
    if isinstance(sessions, str | Path):
        given, skipped = find_sessions(Path(sessions))
        for line in skipped:
            hooks.say(noted(line))
    else:
        given = given_sessions(sessions)
    where = _usual_folder(parent, given, settings) if out is None else Path(out)
    return adapt_sessions(parent, given, where, settings, hooks).checkpoint


def _usual_folder(parent: Checkpoint, sessions: Sequence[Usable], settings: Settings) -> Path:
    """A folder of the user's: that of this very adaptation, begun or done, or one that is free."""
    key = _key(parent, sessions, wanted_pairs(parent, settings.pairs, sessions), settings)
    first = adaptation_dir() / settings.checkpoint_name(parent)
    folders = (first if k == 1 else first.with_name(f"{first.name}-{k}") for k in itertools.count(1))
    return next(folder for folder in folders if key_in(folder) in (None, key))


def _key(parent: Checkpoint, sessions: Sequence[Usable], pairs: Sequence[Pair], settings: Settings) -> str:
    asked = {k: v for k, v in asdict(settings).items() if k not in ("device", "install", "keep")}
    stamps = sorted(str([session.name, session.stamp()]) for session in sessions)
    return key_of({"parent": parent.sha256, "sessions": stamps, **asked, "pairs": [pair.key for pair in pairs]})


def adapt_sessions(
    parent: Checkpoint, sessions: Sequence[Usable], out: Path, settings: Settings, hooks: Hooks
) -> Outcome:
    """The same of sessions that are found already; everything that came of it.

    Raises:
        MrtransError: as :func:`adapt`; nothing half-done is left under its final name.
    """
    pairs = wanted_pairs(parent, settings.pairs, sessions)
    name = settings.checkpoint_name(parent)
    key = _key(parent, sessions, pairs, settings)
    with alone(out):
        check_foreign(out, file_names(name))
        if (record := finished(out, key)) is not None:
            return _done_before(record, out, name, settings)
        if settings.install:
            check_free(name)
        write_record(out, key, done=False)
        site = open_site(sessions, pairs, parent.card.grid.spacing_mm, out, prepare=settings.prepare, say=hooks.say)
        work = Work(parent, site, out, settings, hooks)
        trained = work.run()
        made = write_result(trained, parent, site, out, settings, hooks.say)
        better = bool(trained.table) and gain(trained.table) >= WORTH_IT_DB
        write_record(out, key, done=True, name=name, better=better, warnings=trained.warnings)
        clear(out)
        return _installed(Outcome(made, False, better, trained.table, [*trained.warnings]), settings)


def _done_before(record: dict[str, Any], out: Path, name: str, settings: Settings) -> Outcome:
    made = read_checkpoint(out / f"{name}.safetensors")
    outcome = Outcome(made, False, bool(record["better"]), read_table(out), list(record.get("warnings", [])))
    outcome.done_before = f"'{out}' holds this adaptation already; nothing to do."
    return _installed(outcome, settings)


def _installed(outcome: Outcome, settings: Settings) -> Outcome:
    """Install what was made, if it is to be; say why it is not."""
    made = outcome.checkpoint
    if not settings.install:
        return outcome
    there = next((known for known in list_checkpoints() if known.name == made.name), None)
    if there is not None and there.sha256 == made.sha256:  # by a call that was killed afterwards, or an earlier one
        return replace(outcome, checkpoint=there, installed=True)
    if not outcome.better and not settings.keep:
        outcome.warnings.append(
            f"The adapted model is not better than '{made.card.adapted.parent if made.card.adapted else ''}' on "
            "held-out slices, so it was not installed; --keep installs it all the same."
        )
        return outcome
    try:
        return replace(outcome, checkpoint=install(made.path), installed=True)
    except MrtransError as error:
        outcome.warnings.append(f"Not installed: {error}")
        return outcome
