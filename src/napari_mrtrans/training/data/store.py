"""Decoded sessions: each is read once, put on the model grid, normalised, and kept as a memory-mapped float16 array."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...contrasts import Contrast
from ...errors import RecipeError
from ...grid import Orientation, SliceGrid
from ...intensity import HEADROOM, clean, head_mask, normalise
from ...volume import Volume, read_mask
from .bids import Session

#: Raise when what is stored changes.
FORMAT = 1


@dataclass(frozen=True)
class Decoded:
    """One session on the model grid.

    Attributes:
        contrasts: In the order of the first axis of ``images``.
        images: (contrast, slice, row, column), float16 in [0, 1], memory-mapped.
        area: Head voxels of each slice.
        marked: Slices that an expert mask touches.
    """

    contrasts: list[Contrast]
    images: NDArray[np.float16]
    area: NDArray[np.int64]
    marked: NDArray[np.bool_]


def decode(session: Session, spacing: float, cache: Path) -> Decoded:
    """Decode a session, or open it from the cache.

    Raises:
        RecipeError: its contrasts lie on different grids.
        VolumeError: a file cannot be used.
    """
    key = hashlib.sha256(
        json.dumps([FORMAT, spacing, HEADROOM, [_stamp(p) for p in _paths(session)]]).encode()
    ).hexdigest()[:24]
    images_path, info_path = cache / f"{key}.npy", cache / f"{key}.json"
    if not info_path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        images, info = _decode(session, spacing)
        _write_atomic(images_path, images)
        part = info_path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(info), encoding="utf-8")
        part.replace(info_path)
    info = json.loads(info_path.read_text(encoding="utf-8"))
    return Decoded(
        [Contrast(c) for c in info["contrasts"]],
        np.load(images_path, mmap_mode="r"),
        np.asarray(info["area"]),
        np.asarray(info["marked"], dtype=bool),
    )


def _decode(session: Session, spacing: float) -> tuple[NDArray[np.float16], dict[str, list]]:
    volumes = {contrast: Volume.load(path, contrast) for contrast, path in session.files.items()}
    first = next(iter(volumes.values()))
    for volume in volumes.values():
        if volume.data.shape != first.data.shape or not np.allclose(volume.affine, first.affine, atol=1e-3):
            raise RecipeError(
                f"{session.name}: '{volume.name}' and '{first.name}' lie on different grids; co-register them first."
            )
    orientation = Orientation.from_affine(first.affine)
    sizes = first.voxel_sizes[list(orientation.order)]
    arrays = {contrast: orientation.to_canonical(clean(volume.data)) for contrast, volume in volumes.items()}
    masks = {contrast: head_mask(array) for contrast, array in arrays.items()}
    head = np.logical_or.reduce(list(masks.values()))
    grid = SliceGrid.fit(head, (float(sizes[1]), float(sizes[2])), spacing, multiple=8)
    images = np.stack(
        [grid.to_model(normalise(array, masks[contrast], contrast)) for contrast, array in arrays.items()]
    )
    marked = np.zeros(len(head), dtype=bool)
    if session.mask is not None:
        mask = orientation.to_canonical(read_mask(session.mask, first))
        marked = np.asarray((mask > 0).any(axis=(1, 2)))
    info = {
        "contrasts": [contrast.value for contrast in arrays],
        "area": grid.to_model(head.astype(np.float32)).sum(axis=(1, 2)).round().astype(int).tolist(),
        "marked": marked.tolist(),
    }
    return np.clip(images, 0, 1).astype(np.float16), info


def _paths(session: Session) -> list[Path]:
    return [*session.files.values(), *([session.mask] if session.mask else [])]


def _stamp(path: Path) -> list[str | int]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def _write_atomic(path: Path, array: NDArray) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.save(file, array)
    part.replace(path)
