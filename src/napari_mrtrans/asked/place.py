"""The output folder of an adaptation: one at a time, of one kind, never half-written, and gone on with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import MrtransError
from ..paths import check_folder, write_together
from .one_run import one_run

#: What is being done in the folder, and whether it is done.
RECORD = "adaptation.json"
#: What is only needed until it is; hidden, for a folder called "work" may be the user's.
WORK = ".adapt-work"
#: Whole heads that were prepared: below :data:`WORK`, and beside the result once it is done.
PREPARED = "prepared"
_LOCK = ".adapt.lock"
#: What ends the line about a folder that cannot be written.
REMEDY = "Make room; the same command then goes on where it was."
#: What is said where it was left on purpose.
LEFT = "Left; the same command goes on where it was."


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other adaptations out of a folder meanwhile; a lock that a killed process left does not count.

    What cannot be written, above all because a disk is full, ends in one line.

    Raises:
        MrtransError: there is another one, or the folder cannot be written.
    """
    from safetensors import SafetensorError

    check_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with one_run(out / _LOCK, _busy(out)):
            yield
    except SafetensorError as error:
        raise MrtransError(_full(out, str(error))) from None
    except OSError as error:
        raise MrtransError(_full(out, error.strerror or str(error))) from None


def at_work(out: Path) -> bool:
    """Whether an adaptation has the folder to itself now."""
    if not (out / _LOCK).exists():
        return False
    try:
        with one_run(out / _LOCK, _busy(out)):
            return False
    except MrtransError:
        return True
    except OSError:  # cannot even be looked at
        return False


def _busy(out: Path) -> MrtransError:
    return MrtransError(
        f"Another adaptation is at work in '{out}'; wait until it ends, or choose another folder with -o."
    )


def _full(out: Path, why: str) -> str:
    return f"Cannot write to '{out}' ({why}). {REMEDY}"


def key_of(what: dict[str, Any]) -> str:
    """Digest of all that an adaptation's result depends on, but for time."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def finished(out: Path, key: str) -> dict[str, Any] | None:
    """The record of an adaptation that is done; None where there is none, or it is to be gone on with.

    Raises:
        MrtransError: the folder holds another adaptation.
    """
    record = record_in(out)
    if record.get("key", key) != key:
        raise MrtransError(
            f"'{out}' holds an adaptation of other scans or with other settings; choose another folder with -o "
            "(Python: out=)."
        )
    return record if record.get("done") else None


def key_in(out: Path) -> str | None:
    """That of the adaptation in a folder, None where there is none."""
    return record_in(out).get("key")


def check_foreign(out: Path, names: Iterable[str]) -> None:
    """See that no file is replaced that no adaptation has written.

    Args:
        out: The folder.
        names: Of the files that will be written there.

    Raises:
        MrtransError: one of them is there, and nothing says that an adaptation was begun in the folder.
    """
    there = next((out / name for name in (RECORD, *names) if (out / name).exists()), None)
    if there is not None and key_in(out) is None:
        raise MrtransError(
            f"'{there}' is there, and no adaptation has written it; choose another folder with -o (Python: out=), or "
            "move the file."
        )


def record_in(out: Path) -> dict[str, Any]:
    """What is said of the adaptation in a folder; empty where there is none."""
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_record(out: Path, key: str, **more: Any) -> None:
    """Say what is being done here."""
    write_together(out, {RECORD: json.dumps({"key": key, **more}, indent=1) + "\n"})


def clear(out: Path) -> None:
    """Drop what was only needed meanwhile: decoded scans and the states of the networks.

    What was prepared stays, unless the folder has such a folder already.
    """
    made, place = out / WORK / PREPARED, out / PREPARED
    if made.is_dir() and not place.exists():
        with suppress(OSError):  # Windows keeps what is open
            made.rename(place)
    shutil.rmtree(out / WORK, ignore_errors=True)
