"""Held-out sessions as :mod:`.evaluate` and :mod:`.validate_sampler` read them."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..checkpoint import Checkpoint
from ..contrasts import Contrast, Pair
from ..errors import MrtransError
from ..intensity import clean, head_mask, normalise
from ..volume import Volume
from .data.bids import Session, read_bids


@dataclass(frozen=True)
class PairedVolumes:
    """Both contrasts of a pair; arrays on their common grid.

    Attributes:
        volume: The source, as acquired.
        source: In [0, 1].
        target: In [0, 1].
        head: Of the source.
        both: Head of source and target.
    """

    volume: Volume
    source: NDArray[np.float32]
    target: NDArray[np.float32]
    head: NDArray[np.bool_]
    both: NDArray[np.bool_]

    @classmethod
    def open(cls, session: Session, pair: Pair) -> PairedVolumes:
        """Read a session's files.

        Raises:
            MrtransError: source and target lie on different grids.
        """
        volume = Volume.load(session.files[pair.source], pair.source)
        source, head = _normalised(volume, pair.source)
        target, there = _normalised(Volume.load(session.files[pair.target]), pair.target)
        if source.shape != target.shape:
            raise MrtransError(
                f"{session.name}: {pair.source} and {pair.target} lie on different grids; co-register them first."
            )
        return cls(volume, source, target, head, head & there)


def _normalised(volume: Volume, contrast: Contrast) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The volume in [0, 1] and its head mask, both on its own grid."""
    data = clean(volume.data)
    mask = head_mask(data)
    return normalise(data, mask, contrast), mask


def known_sessions(root: Path, checkpoints: Sequence[Checkpoint]) -> dict[str, Session]:
    """Sessions by name, below ``root`` in the folders that the checkpoints' splits name."""
    names = [name for c in checkpoints for part in c.card.splits.values() for name in part]
    folders = tuple(dict.fromkeys(name.split("/")[0] for name in names if not name.startswith("sub-"))) or (".",)
    return {session.name: session for session in read_bids(root, folders)}


def check_held_out(name: str, training: Collection[str], sessions: Mapping[str, Session], root: Path) -> None:
    """A subject must be there, and not one that was trained on.

    Raises:
        MrtransError: it is not so.
    """
    if name in training:
        raise MrtransError(f"'{name}' is a training subject; choose others.")
    if name not in sessions:
        raise MrtransError(f"Subject '{name}' is not in '{root}'.")


def describe_machine(device: str) -> str:
    """Processor, threads and what computes, for a report."""
    import torch

    from ..devices import resolve_device

    kind = resolve_device(device)[0]
    if kind.type == "cuda":
        return torch.cuda.get_device_name(kind)
    name = torch.backends.cpu.get_cpu_capability() if kind.type == "cpu" else kind.type
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {name}"
