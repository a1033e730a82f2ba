"""Decoded sessions in one small file, to be carried where the scans themselves cannot go: 8-bit slices, brain boxes.

A zip archive of NumPy arrays (LZMA) and one JSON table. What is kept of a session is every so many slices that hold
enough brain; their distance is recorded, so that what needs neighbours (thick slices) knows how far away they are.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..paths import file_digest, write_together
from ..scan.contrasts import Contrast
from ..scan.framing import extent
from ..wording import plural
from .bids import PLANE_MARK
from .store import Decoded, Source, covered

SUFFIX = ".mrpack"
FORMAT = 2
TABLE = "sessions.json"
#: Slices with less head than this share of the session's largest are left out.
LEAST_AREA = 0.03


@dataclass(frozen=True)
class PackedSession:
    """A session of a packed file; what :class:`.bids.Session` is for files, already decoded.

    ``marked``: an expert mask touches one of its slices.
    """

    file: Path
    number: int
    name: str
    contrasts: tuple[Contrast, ...]
    part: str
    simulated: bool
    pixel_mm: float
    marked: bool = False

    def stamp(self) -> list[Any]:
        """Digest of the file, and which session of it."""
        return ["packed", FORMAT, _digest(self.file), self.number]

    def decoded(self) -> Decoded:
        """The slices, as they would come of the scans but for 8 bits and those left out."""
        about = _table(self.file)[self.number]
        if self.part == "test":
            raise RecipeError(f"'{self.name}' is for testing: '{self.file}' holds its name only.")
        with zipfile.ZipFile(self.file) as archive:
            images = np.load(io.BytesIO(archive.read(f"{self.number}.npy")))
        whole = np.zeros((*images.shape[:2], *about["grid"]), dtype=np.float16)
        (top, left), (rows, columns) = about["corner"], images.shape[2:]
        whole[:, :, top : top + rows, left : left + columns] = images / np.float32(255)
        area, marked = np.asarray(about["area"]), np.asarray(about["marked"], dtype=bool)
        return Decoded(list(self.contrasts), whole, area, marked, covered(images, area), about["spacing"])


def pack(splits: dict[str, Source], out: Path, *, every_mm: float = 4.0, say: Callable[[str], None] = print) -> Path:
    """Write the sessions of ``splits`` into one file.

    Args:
        splits: Sessions by the part they are in; those of test stay at home, and only their names are kept.
        out: The file, ending in :data:`SUFFIX`.
        every_mm: Distance of the slices that are kept.
        say: Told each session, and what is left out: slices of other planes than the axial one.

    Raises:
        RecipeError: there are no axial slices.
        MrtransError: the file cannot be written.
    """
    splits, sideways = _axial(splits)
    if sideways:
        say(f"left out {plural(sideways, 'session')} seen from the side: a packed file holds axial slices only")
    table: list[dict[str, Any]] = []

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
            for part, source in splits.items():
                for index, session in enumerate(source.sessions):
                    about = {"name": session.name, "part": part, "simulated": session.simulated}
                    about |= {"pixel_mm": source.spacing}
                    if part == "test":
                        table.append(about | {"contrasts": [contrast.value for contrast in session.contrasts]})
                        continue
                    more, images = _packed(source[index], every_mm)
                    about |= more
                    held = io.BytesIO()
                    np.save(held, images)
                    archive.writestr(f"{len(table)}.npy", held.getvalue())
                    table.append(about)
                    say(f"packed {session.name}: {plural(images.shape[1], 'slice')}")
            archive.writestr(TABLE, json.dumps({"format": FORMAT, "sessions": table}))

    write_together(out.parent, {out.name: write})
    return out


def _axial(splits: dict[str, Source]) -> tuple[dict[str, Source], int]:
    """The sessions that are not seen from the side, and how many others there are."""
    axial = {
        part: replace(source, sessions=tuple(s for s in source.sessions if PLANE_MARK not in s.name))
        for part, source in splits.items()
    }
    counted = [sum(len(source.sessions) for source in some.values()) for some in (splits, axial)]
    if not any(source.sessions for part, source in axial.items() if part != "test"):
        raise RecipeError("data.planes: a packed file holds axial slices only; add axial.")
    return axial, counted[0] - counted[1]


def _packed(decoded: Decoded, every_mm: float) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    step = max(1, round(every_mm / decoded.spacing))
    large = np.flatnonzero(decoded.area >= LEAST_AREA * decoded.area.max())
    chosen = large[min(step // 2, len(large) // 2) :: step]  # of few the middle one
    images = np.asarray(decoded.images[:, chosen], dtype=np.float32)
    (top, bottom), (left, right) = extent(images.max(axis=(0, 1)))
    box = np.round(255 * images[:, :, top:bottom, left:right]).astype(np.uint8)
    about = {
        "contrasts": [contrast.value for contrast in decoded.contrasts],
        "grid": list(images.shape[2:]),
        "corner": [top, left],
        "area": decoded.area[chosen].tolist(),
        "marked": decoded.marked[chosen].tolist(),
        "spacing": step * decoded.spacing,
    }
    return about, box


def read_packed(file: Path) -> list[PackedSession]:
    """The sessions of a packed file.

    Raises:
        RecipeError: it is none, or damaged.
    """
    try:
        return [
            PackedSession(
                file, number, row["name"], tuple(Contrast(c) for c in row["contrasts"]), row["part"],
                row["simulated"], row["pixel_mm"], any(row.get("marked", ())),
            )
            for number, row in enumerate(_table(file))
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RecipeError(
            f"'{file}' is no packed data set ({error}); make it with napari-mrtrans-train pack."
        ) from None


def packed_splits(sessions: Sequence[PackedSession], spacing: float, where: Path) -> dict[str, Source]:
    """The sessions by the part that they were packed as."""
    parts = ("train", "validation", "test")
    return {part: Source(tuple(s for s in sessions if s.part == part), spacing, where) for part in parts}


@cache
def _table(file: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        document = json.loads(archive.read(TABLE))
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']}, and this version reads {FORMAT}")
    rows: list[dict[str, Any]] = document["sessions"]
    return rows


@cache
def _digest(file: Path) -> str:
    return file_digest(file)
