"""Who is trained on, validated on and held out: whole subjects, drawn in balance over sites, or read from a file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ..errors import RecipeError
from ..paths import reason, typed, write_together
from .bids import PLANE_MARK, Session, subject_of
from .layout import Shares

PARTS = ("train", "validation", "test")
FILE = "splits.tsv"
_COLUMNS = ("subject", "session", "part")


class HeldOut(NamedTuple):
    """Subjects that are not trained on."""

    test: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()


def draw_held_out(sessions: Sequence[Session], shares: Shares, seed: int) -> HeldOut:
    """Draw subjects, from each site (nearly) as large a share as from all.

    Within its site each subject gets a random place, evenly spaced in (0, 1); those with the lowest places are the test
    subjects, the next are for validation. The totals are exactly the shares of all subjects, rounded, at least one.
    """
    import numpy as np

    sites = {session.subject: session.site for session in sessions}
    sizes = Counter(sites.values())
    subjects = sorted(sites)
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    seen: Counter[str] = Counter()
    places = {}
    for subject in order:
        places[subject] = (seen[sites[subject]] + 0.5) / sizes[sites[subject]]
        seen[sites[subject]] += 1
    order.sort(key=places.__getitem__)
    test, validation = (max(1, round(share * len(order))) if share else 0 for share in (shares.test, shares.validation))
    return HeldOut(tuple(order[:test]), tuple(order[test : test + validation]))


def split_sessions(sessions: Sequence[Session], held_out: HeldOut) -> dict[str, list[Session]]:
    """Split by subject into ``train``, ``validation`` and ``test``; ``train`` may be left empty.

    Raises:
        RecipeError: a held-out subject is not there, or is in both lists.
    """
    subjects = {session.subject for session in sessions}
    for name in (*held_out.test, *held_out.validation):
        if name not in subjects:
            close = get_close_matches(name, sorted(subjects), 1, cutoff=0.5)
            remedy = f"Leave it out, or give another, such as '{close[0]}'" if close else "Leave it out"
            raise RecipeError(
                f"Held-out subject '{name}' is not in the data folder, or has no pair of the recipe. {remedy}."
            )
    if both := set(held_out.test) & set(held_out.validation):
        raise RecipeError(f"Subject '{sorted(both)[0]}' is listed under both test and validation. Leave it out of one.")
    chosen: dict[str, list[Session]] = {part: [] for part in PARTS}
    for session in sessions:
        part = next((part for part in HeldOut._fields if session.subject in getattr(held_out, part)), "train")
        chosen[part].append(session)
    return chosen


def write_splits(folder: Path, parts: Mapping[str, Sequence[str]]) -> None:
    """Write ``splits.tsv``, subject, session (``n/a`` if there is one only) and part, of the names of sessions.

    A session that is seen in several planes has one line.
    """
    visits = {part: dict.fromkeys(name.partition(PLANE_MARK)[0] for name in names) for part, names in parts.items()}
    rows = [
        (subject := subject_of(name), name.removeprefix(subject).strip("/") or "n/a", part)
        for part, names in visits.items()
        for name in names
    ]
    write_together(folder, {FILE: "".join("\t".join(row) + "\n" for row in (_COLUMNS, *rows))})


def read_splits(path: Path) -> dict[str, str]:
    """The part of each subject in a file like that of :func:`write_splits`; the column ``session`` may be missing.

    Raises:
        RecipeError: unreadable, not such a table, or one subject in two parts.
    """
    try:
        with typed(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise RecipeError(f"data.splits: '{path}' cannot be read ({why}). Give another table.") from None
    parts: dict[str, str] = {}
    wrong = ""
    for number, row in enumerate(rows, 1):
        subject, part = row.get("subject"), row.get("part")
        if not subject or part not in PARTS:
            wrong = f"; row {number} has '{subject or ''}' and '{part or ''}'" if {"subject", "part"} <= {*row} else ""
            break
        if parts.setdefault(subject, part) != part:
            raise RecipeError(
                f"data.splits: '{path}' puts '{subject}' into both {parts[subject]} and {part}. Leave one row out."
            )
    else:
        if parts:
            return parts
    raise RecipeError(
        f"data.splits: '{path}' needs tab-separated columns subject and part, each part one of {', '.join(PARTS)}"
        f"{wrong}."
    )
