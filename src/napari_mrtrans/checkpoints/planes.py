"""The network that a checkpoint has for coronal and sagittal slices: ``NAME.planes.safetensors`` beside it.

A model that samples around another's mean has that of the other, and a pool that of its members, whose samples alone it
is for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import CheckpointError
from ..models.families import POOL
from ..paths import shipped_checkpoint_dir
from .checkpoint import Checkpoint, read_checkpoint
from .pool import members_of
from .shared import tensor_digests

#: What such a file is called instead of ``.safetensors``.
PLANES_SUFFIX = ".planes.safetensors"


def is_planes(path: Path) -> bool:
    """Whether a file belongs to another checkpoint in this way, and is none to choose by itself."""
    return path.name.endswith(PLANES_SUFFIX)


def has_planes(checkpoint: Checkpoint) -> bool:
    """Whether there is one, damaged or not."""
    try:
        return _file(checkpoint) is not None
    except CheckpointError:  # a member of a pool is missing
        return False


def planes_of(checkpoint: Checkpoint) -> Checkpoint | None:
    """It; None where there is none, or one that lacks a pair.

    Raises:
        CheckpointError: it is damaged, or answers with mirror images, which sagittal slices do not have.
    """
    file = _file(checkpoint)
    found = read_checkpoint(file) if file else None
    if found and found.card.sampler.mirror:
        raise CheckpointError(
            f"'{found.path.name}' answers with mirror images, which is for axial slices; train it with sampler.mirror: "
            "false, or remove it."
        )
    return found if found and {*checkpoint.pairs} <= {*found.pairs} else None


def check_planes(checkpoint: Checkpoint) -> Checkpoint:
    """It.

    Raises:
        CheckpointError: there is none.
    """
    if (found := planes_of(checkpoint)) is None:
        raise CheckpointError(
            f"'{checkpoint.name}' knows axial slices only; choose t1-t2-flair-flow or t1-t2-flair-direct, for which "
            "there is a network for coronal and sagittal ones, or leave three planes out."
        )
    return found


def beside_digest(checkpoint: Checkpoint, three_planes: bool) -> str:
    """Digest of what lies beside a checkpoint and changes its results: its calibration and, where asked for, this."""
    digest = checkpoint.calibration_digest
    if not three_planes:
        return digest
    return hashlib.sha256(f"{digest} {check_planes(checkpoint).sha256}".encode()).hexdigest()


def own_planes(checkpoint: Checkpoint) -> Path | None:
    """The file that lies beside a deterministic checkpoint and goes where it goes; None without one."""
    own = checkpoint.path.with_suffix(PLANES_SUFFIX)
    return own if checkpoint.deterministic and own.is_file() else None


def _file(checkpoint: Checkpoint) -> Path | None:
    if checkpoint.deterministic:
        return own_planes(checkpoint)
    if checkpoint.card.model == POOL:
        return next((file for member in members_of(checkpoint) if (file := _file(member)) is not None), None)
    if not checkpoint.card.options.get("mean_network"):
        return None
    folders = dict.fromkeys([checkpoint.path.parent, shipped_checkpoint_dir()])
    files = [file for folder in folders for file in sorted(folder.glob(f"[!.]*{PLANES_SUFFIX}"))]
    return next((file for file in files if _is_mean(_beside(file), checkpoint)), None)


def _beside(planes: Path) -> Path:
    return planes.with_name(planes.name.removesuffix(PLANES_SUFFIX) + ".safetensors")


def _is_mean(file: Path, checkpoint: Checkpoint) -> bool:
    """Whether the model of ``file`` is the mean that a checkpoint samples around."""
    try:
        mean = read_checkpoint(file)
    except (CheckpointError, OSError):
        return False
    theirs = tensor_digests(mean, "net.")  # it may have more, of its training sessions
    return mean.deterministic and bool(theirs) and theirs <= tensor_digests(checkpoint, "mean_net.")
