"""The network that a checkpoint has for coronal and sagittal slices: ``NAME.planes.safetensors`` beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import CheckpointError
from .checkpoint import Checkpoint, read_checkpoint

#: What such a file is called instead of ``.safetensors``.
PLANES_SUFFIX = ".planes.safetensors"


def is_planes(path: Path) -> bool:
    """Whether a file belongs to another checkpoint in this way, and is none to choose by itself."""
    return path.name.endswith(PLANES_SUFFIX)


def has_planes(checkpoint: Checkpoint) -> bool:
    """Whether there is one, damaged or not; never of models that sample."""
    return checkpoint.deterministic and _file(checkpoint).is_file()


def planes_of(checkpoint: Checkpoint) -> Checkpoint | None:
    """It; None where there is none, or one that lacks a pair.

    Raises:
        CheckpointError: it is damaged.
    """
    found = read_checkpoint(_file(checkpoint)) if has_planes(checkpoint) else None
    return found if found and {*checkpoint.pairs} <= {*found.pairs} else None


def check_planes(checkpoint: Checkpoint) -> Checkpoint:
    """It.

    Raises:
        CheckpointError: there is none.
    """
    if (found := planes_of(checkpoint)) is None:
        raise CheckpointError(
            f"'{checkpoint.name}' knows axial slices only; choose t1-t2-flair-direct, which has a network for coronal "
            "and sagittal ones, or leave three planes out."
        )
    return found


def beside_digest(checkpoint: Checkpoint, three_planes: bool) -> str:
    """Digest of what lies beside a checkpoint and changes its results: its calibration and, where asked for, this."""
    digest = checkpoint.calibration_digest
    if not three_planes:
        return digest
    return hashlib.sha256(f"{digest} {check_planes(checkpoint).sha256}".encode()).hexdigest()


def _file(checkpoint: Checkpoint) -> Path:
    return checkpoint.path.with_suffix(PLANES_SUFFIX)
