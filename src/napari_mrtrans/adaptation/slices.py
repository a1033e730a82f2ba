"""Which slices are learned from and which are kept to judge by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..datasets.store import Decoded, Source
from ..scan.contrasts import Pair
from ..scan.framing import STEP, Framing
from ..training.validation import FixedSlice, fixed_slice

#: Slices with less than this share of the largest one's head are not judged by.
THICK = 0.4
#: With fewer slices nothing can be held out.
FEWEST_SLICES = 10
#: Of a session that is learned from and judged by: length of a block that is kept out, and of the gap on either side,
#: because neighbouring slices (and those that an archive interpolated) are alike.
BLOCK_MM, GAP_MM = 6.0, 4.0


def usable_slices(decoded: Decoded) -> NDArray[np.intp]:
    """Numbers of the slices with enough brain to judge by."""
    return np.flatnonzero(decoded.area > THICK * decoded.area.max())


def blocks(decoded: Decoded) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Slices of a session that are kept out, and those with their gaps: two blocks, or one of a thin session."""
    there = usable_slices(decoded)
    length = max(2, round(BLOCK_MM / decoded.spacing))
    gap = max(1, int(np.ceil(GAP_MM / decoded.spacing)))
    places = (1 / 3, 2 / 3) if len(there) >= 4 * (length + 2 * gap) else (0.5,)
    length = min(length, max(2, len(there) // 4))
    gap = min(gap, max(1, (len(there) // 2 - length) // 2))
    kept, hidden = [], []
    for place in places:
        start = round(place * (len(there) - length))
        kept.append(there[start : start + length])
        hidden.append(there[max(0, start - gap) : start + length + gap])
    return np.concatenate(kept), np.unique(np.concatenate(hidden))


@dataclass(frozen=True)
class Learned(Source):
    """A source without some slices of its sessions.

    Attributes:
        hidden: By number of session.
    """

    hidden: Mapping[int, NDArray[np.intp]] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Decoded:
        decoded = super().__getitem__(index)
        if index not in self.hidden:
            return decoded
        area = decoded.area.copy()
        area[self.hidden[index]] = 0
        return replace(decoded, area=area)


@dataclass(frozen=True)
class Division:
    """Who is learned from, and the slices that stop the training and that judge its result.

    Attributes:
        learned: Sessions and slices that are learned from.
        choosing: (session, slices) that say when the network is best; of people left out where there are any.
        judging: As ``choosing``, for the figures; the same slices where nobody is left out.
        left_out: Numbers of the sessions of the person left out; none: slices are.
    """

    learned: Learned
    choosing: list[tuple[int, NDArray[np.intp]]]
    judging: list[tuple[int, NDArray[np.intp]]]
    left_out: tuple[int, ...] = ()


def divide(source: Source, left_out: Sequence[int] = ()) -> Division:
    """Leave out the sessions of one person, or blocks of slices of every session.

    Of a person left out, every other of evenly spread slices chooses and the others judge.
    """
    if left_out:
        kept = [i for i in range(len(source.sessions)) if i not in left_out]
        learned = Learned(tuple(source.sessions[i] for i in kept), source.spacing, source.cache)
        choosing, judging = [], []
        for index in left_out:
            there = usable_slices(source[index])
            spread = there[np.unique(np.linspace(0, len(there) - 1, min(len(there), 49)).round().astype(int))]
            choosing.append((index, spread[1::2]))
            judging.append((index, spread[::2]))
        return Division(learned, choosing, judging, tuple(left_out))
    parts = [blocks(source[i]) for i in range(len(source.sessions))]
    learned = Learned(source.sessions, source.spacing, source.cache, {i: part[1] for i, part in enumerate(parts)})
    held = [(i, part[0]) for i, part in enumerate(parts)]
    return Division(learned, held, held)


@dataclass(frozen=True)
class View:
    """What a network sees of a slice."""

    framing: Framing
    multiple: int
    neighbours_mm: float = 0.0


def fixed(
    source: Source, places: Sequence[tuple[int, NDArray[np.intp]]], pairs: Sequence[Pair], each: int, view: View
) -> list[tuple[int, FixedSlice]]:
    """Up to ``each`` evenly spread slices of every pair, with the number of the session; sessions take turns.

    Only slices in which both contrasts show the head.
    """
    out = []
    for pair in pairs:
        complete = [(i, numbers) for i, numbers in places if {*pair} <= {*source.sessions[i].contrasts}]
        shown = [(i, numbers[source[i].shown(pair)[numbers]].tolist()) for i, numbers in complete]
        there = [(i, numbers) for i, numbers in shown if numbers]
        for turn in range(each if there else 0):
            index, numbers = there[turn % len(there)]
            own = -(-(each - turn % len(there)) // len(there))
            if turn // len(there) >= len(numbers):
                continue
            z = numbers[round((turn // len(there) + 0.5) / min(own, len(numbers)) * len(numbers) - 0.5)]
            out.append((index, fixed_slice(source[index], pair, z, (view.framing, view.multiple), view.neighbours_mm)))
    return out


def frame(source: Source, view: View) -> tuple[int, int]:
    """Rows and columns that most of the heads are seen in."""
    sizes: dict[tuple[int, int], int] = {}
    step = max(STEP, view.multiple)
    for index in range(len(source.sessions)):
        decoded = source[index]
        for z in usable_slices(decoded)[::4]:
            image = view.framing.pad(np.asarray(decoded.images[:, z].max(axis=0), dtype=np.float32), step)
            rows, columns = view.framing.box(image, step)
            size = rows.stop - rows.start, columns.stop - columns.start
            sizes[size] = sizes.get(size, 0) + 1
    return max(sizes, key=lambda size: (sizes[size], size))
