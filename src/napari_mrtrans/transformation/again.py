"""A result repeated from its report: same input, same checkpoint, same request, same bits on the same machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint, read_checkpoint
from ..checkpoints.library import list_checkpoints
from ..errors import CheckpointError, MrtransError
from ..scan.volume import Volume, read_mask
from .request import Request, mask_digest


def repeated(
    report: Path, image: Path | None = None, say: Callable[[str], None] = print
) -> tuple[Volume, Checkpoint, Request, bool]:
    """Volume, checkpoint, request, and whether samples were kept, of a result's JSON.

    Args:
        report: What ``transform`` wrote.
        image: The input, where it has moved.
        say: Told when another version of this package made it.

    Raises:
        MrtransError: the report, the input, the mask or the checkpoint is missing or not what it was; the text names
            which.
    """
    info = _read(report)
    if info["napari_mrtrans"] != __version__:
        say(f"'{report.name}' was made by napari-mrtrans {info['napari_mrtrans']}, and this is {__version__}.")
    asked = info["request"]
    volume = Volume.load(image or Path(info["input"]), asked["source"])
    if volume.digest() != info["input_digest"]:
        raise MrtransError(
            f"The input '{volume.path}' has changed: its voxels or its grid are not those of '{report}'."
        )
    request = Request.from_json(asked, _mask(asked, volume))
    return volume, _checkpoint(info), request, bool(info["samples_kept"])


def _read(report: Path) -> dict[str, Any]:
    try:
        info = json.loads(report.read_text(encoding="utf-8"))
    except OSError as error:
        raise MrtransError(f"'{report}' cannot be read ({error.strerror}).") from None
    except ValueError:
        info = None
    needed = ("request", "input", "input_digest", "checkpoint", "sha256", "calibration", "samples_kept")
    if not isinstance(info, dict) or any(name not in info for name in (*needed, "napari_mrtrans")):
        raise MrtransError(f"'{report}' is no report of a result that can be repeated.")
    return info


def _mask(asked: dict[str, Any], volume: Volume) -> NDArray[np.bool_] | None:
    if asked["mask"] is None:
        return None
    if asked["mask_file"] is None:
        raise MrtransError("The mask of this result came from no file; it cannot be repeated.")
    mask = read_mask(asked["mask_file"], volume)
    if mask_digest(mask) != asked["mask"]:
        raise MrtransError(f"The mask '{asked['mask_file']}' has changed since this result was made.")
    return mask


def _checkpoint(info: dict[str, Any]) -> Checkpoint:
    name = info["checkpoint"]
    candidates = list_checkpoints()
    path = info.get("checkpoint_file")
    if path is not None and Path(path).is_file():
        candidates.append(read_checkpoint(path))
    named = [checkpoint for checkpoint in candidates if checkpoint.name == name]
    found = next((c for c in (*named, *candidates) if c.sha256 == info["sha256"]), None)
    if found is None:
        state = "has changed" if named else "is not installed any more"
        raise CheckpointError(
            f"The checkpoint '{name}' {state} (it was sha256 {info['sha256'][:12]}…); install that one."
        )
    if found.calibration_digest != info["calibration"]:
        raise CheckpointError(f"The calibration of '{name}' has changed since this result was made.")
    return found
