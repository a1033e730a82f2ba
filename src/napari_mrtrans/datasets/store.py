"""Decoded sessions: each is read once, put on the model grid, normalised, and kept as a memory-mapped float16 array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..paths import reason, write_shared
from ..scan.contrasts import Contrast, Pair
from ..scan.framing import STEP
from ..scan.grid import Orientation, SliceGrid
from ..scan.intensity import HEADROOM, clean, find_head, normalise
from ..scan.volume import Volume

#: Raise when what is stored changes.
FORMAT = 8
#: A contrast shows a slice if it has more than this share of its head.
COVERED = 0.4


class Readable(Hashable, Protocol):
    """What can be decoded: the files of a :class:`.bids.Session` or a :class:`.phantom.Phantom`."""

    @property
    def name(self) -> str:
        """Unique within a training run."""

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """What :meth:`load` will give."""

    @property
    def simulated(self) -> bool:
        """Nobody's scan: a phantom."""

    def stamp(self) -> list[Any]:
        """JSON that changes whenever the images do."""


class Loadable(Readable, Protocol):
    """What is decoded from volumes."""

    def load(self) -> tuple[dict[Contrast, Volume], NDArray[np.bool_] | None]:
        """The images, all on one grid, and the lesion mask on it, if any."""


@runtime_checkable
class Decodable(Protocol):
    """What is decoded already, as a :class:`.packed.PackedSession` is."""

    def decoded(self) -> Decoded:
        """It."""


@dataclass(frozen=True)
class Decoded:
    """One session on the model grid.

    Attributes:
        contrasts: In the order of the first axis of ``images``.
        images: (contrast, slice, row, column), float16 in [0, 1], memory-mapped.
        area: Head voxels of each slice.
        marked: Slices that an expert mask touches.
        covered: (contrast, slice): whether it shows more than :data:`COVERED` of the head.
        spacing: Of the slices, in mm.
        whole: An image looks as if skull and scalp were still there.
    """

    contrasts: list[Contrast]
    images: NDArray[np.float16]
    area: NDArray[np.int64]
    marked: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    spacing: float = 1.0
    whole: bool = False

    def shown(self, pair: Pair) -> NDArray[np.bool_]:
        """Slices in which both contrasts show the head; one may have been acquired of a part of it only."""
        first, second = (self.contrasts.index(contrast) for contrast in pair)
        return self.covered[first] & self.covered[second]


def covered(images: NDArray[np.number], area: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(contrast, slice): which of ``images`` (contrast, slice, row, column) show enough of a head of that area."""
    return np.stack([np.count_nonzero(slices, axis=(1, 2)) > COVERED * area for slices in images])


def decode(session: Readable, spacing: float, cache: Path) -> Decoded:
    """Decode a session, or open it from the cache.

    Raises:
        RecipeError: its contrasts lie on different grids.
        VolumeError: a file cannot be used.
        MrtransError: the cache cannot be written.
    """
    if isinstance(session, Decodable):
        return session.decoded()
    key = hashlib.sha256(json.dumps([FORMAT, spacing, HEADROOM, session.stamp()]).encode()).hexdigest()[:24]
    images_path, info_path = cache / f"{key}.npy", cache / f"{key}.json"
    if (kept := _kept(images_path, info_path)) is not None:
        return kept
    images, info = _decode(cast(Loadable, session), spacing)
    try:
        write_shared(images_path, lambda part: np.save(part, images))
        write_shared(info_path, lambda part: part.write(json.dumps(info).encode()))
    except OSError as error:
        raise MrtransError(
            f"Decoded scans cannot be kept in '{cache}' ({reason(error)}). Free some space, or choose another "
            "place with --cache."
        ) from None
    if (kept := _kept(images_path, info_path)) is None:
        raise MrtransError(
            f"Decoded scans vanish from '{cache}' as soon as they are there; choose another with --cache."
        )
    return kept


def _kept(images: Path, about: Path) -> Decoded | None:
    """What the cache holds; None where it holds nothing, or what a crash, a full disk or a tidy hand has left of it."""
    try:
        info = json.loads(about.read_text(encoding="utf-8"))
        return Decoded(
            [Contrast(c) for c in info["contrasts"]],
            np.load(images, mmap_mode="r"),
            np.asarray(info["area"]),
            np.asarray(info["marked"], dtype=bool),
            np.asarray(info["covered"], dtype=bool),
            info["spacing"],
            info["whole"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        return None


@dataclass(frozen=True)
class Source:
    """Sessions and how they are read; small enough to send to a worker process, which decodes on first use."""

    sessions: tuple[Readable, ...]
    spacing: float
    cache: Path

    def __post_init__(self) -> None:
        _open.cache_clear()  # of files that may have been written anew since

    @property
    def names(self) -> list[str]:
        """Of the sessions, in their order."""
        return [session.name for session in self.sessions]

    def __getitem__(self, index: int) -> Decoded:
        return _open(self.sessions[index], self.spacing, self.cache)


#: Each holds a file open, of which a process may have 256 on some systems; one that was dropped is open again at once.
_open = lru_cache(maxsize=128)(decode)


@dataclass(frozen=True)
class Canonical:
    """A session's own voxels, and where the model's pixels lie in them.

    Attributes:
        images: By contrast, (slice, row, column) in [0, 1].
        masks: Its head in each.
        lesions: (slice, row, column), or None.
        sizes: Of the voxels, in mm.
        grid: From them to the model's pixels.
        whole: An image looks as if skull and scalp were still there.
    """

    images: dict[Contrast, NDArray[np.float32]]
    masks: dict[Contrast, NDArray[np.bool_]]
    lesions: NDArray[np.bool_] | None
    sizes: NDArray[np.float64]
    grid: SliceGrid
    whole: bool

    @property
    def head(self) -> NDArray[np.bool_]:
        """What any image shows of it."""
        return np.logical_or.reduce(list(self.masks.values()))


def canonical(session: Loadable, spacing: float) -> Canonical:
    """Read a session; the model's pixels are of ``spacing`` mm."""
    volumes, mask = session.load()
    first = next(iter(volumes.values()))
    orientation = Orientation.from_affine(first.affine)
    sizes = first.voxel_sizes[list(orientation.order)]
    arrays = {contrast: orientation.to_canonical(clean(volume.data)) for contrast, volume in volumes.items()}
    found = {contrast: find_head(array, sizes) for contrast, array in arrays.items()}
    masks = {contrast: head for contrast, (head, _) in found.items()}
    head = np.logical_or.reduce(list(masks.values()))
    return Canonical(
        {contrast: normalise(array, masks[contrast], contrast) for contrast, array in arrays.items()},
        masks,
        None if mask is None else orientation.to_canonical(mask),
        sizes,
        SliceGrid.fit(head, (float(sizes[1]), float(sizes[2])), spacing, multiple=STEP),
        any(whole for _, whole in found.values()),
    )


def _decode(session: Loadable, spacing: float) -> tuple[NDArray[np.float16], dict[str, Any]]:
    own = canonical(session, spacing)
    images = np.stack([own.grid.to_model(image) for image in own.images.values()])
    area = own.grid.to_model(own.head.astype(np.float32)).sum(axis=(1, 2)).round().astype(int)
    kept = np.clip(images, 0, 1).astype(np.float16)
    marked = np.zeros(len(area), dtype=bool) if own.lesions is None else own.lesions.any(axis=(1, 2))
    info = {
        "contrasts": [contrast.value for contrast in own.images],
        "area": area.tolist(),
        "marked": marked.tolist(),
        "covered": covered(kept, area).tolist(),
        "spacing": float(own.sizes[0]),
        "whole": own.whole,
    }
    return kept, info
