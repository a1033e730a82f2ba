"""A result repeated from its report: same input, same checkpoint, same request, same bits on the same machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint, read_checkpoint
from ..checkpoints.library import list_checkpoints
from ..checkpoints.planes import beside_digest
from ..dicom.read import read_scan
from ..errors import CheckpointError, MrtransError
from ..lesion.files import roi_from_file
from ..scan.masks import read_mask
from ..scan.volume import Volume
from .gathered import otherwise_made
from .request import Request
from .saved import json_of

#: What a report must hold, and of which kind.
_NEEDED = {
    "napari_mrtrans": str,
    "request": dict,
    "input": str,
    "input_digest": str,
    "checkpoint": str,
    "checkpoint_file": str,
    "sha256": str,
    "calibration": str,
    "complete": bool,
    "samples_kept": bool,
}


def repeated(
    report: Path,
    image: Path | None = None,
    say: Callable[[str], None] = print,
    of_masks: Callable[[str], None] = print,
) -> tuple[Volume, Checkpoint, Request, bool]:
    """Volume, checkpoint, request, and whether samples were kept, of a result's JSON.

    Args:
        report: What ``transform`` wrote.
        image: The input, where it has moved.
        say: Told when another version of this package made it, or only a part of it.
        of_masks: Told what was assumed of the mask and the region, as when it was made.

    Raises:
        MrtransError: the report, the input, the mask or the checkpoint is missing or not what it was; the text names
            which.
    """
    info = _read(report)
    asked = info["request"]
    request = Request.from_json({**asked, "mask": None, "roi": None, "roi_only": False})
    if info["napari_mrtrans"] != __version__:
        say(f"'{report.name}' was made by napari-mrtrans {info['napari_mrtrans']}, and this is {__version__}.")
    if not info["complete"]:
        say(f"'{report.name}' is of a run that was ended early; this one makes all its slices.")
    file = image or Path(info["input"])
    if image is None and not file.exists():
        raise MrtransError(f"The input '{file}' is not there any more; give the file, too: IN.nii.gz --again {report}.")
    volume = read_scan(file, request.source)
    if volume.digest() != info["input_digest"]:
        raise MrtransError(f"The input '{file}' has changed: its voxels or its grid are not those of '{report}'.")
    roi = None if asked.get("roi") is None else _roi(request, volume, of_masks)
    mask = None if asked.get("mask") is None else _mask(request, volume, of_masks)
    request = Request.from_json(asked, mask, roi)
    checkpoint = _checkpoint(info)
    return volume, checkpoint, request, info["samples_kept"]


def other_machine(report: Path, info: dict[str, Any]) -> str:
    """A line where a result was made on something else than its repetition; empty: the same, or it does not say.

    Args:
        report: Of the result.
        info: The report of its repetition.
    """
    before = _read(report).get("made_on")  # earlier versions did not write it down
    then, here = otherwise_made(before, info["made_on"]) if isinstance(before, dict) else ("", "")
    return f"'{report.name}' was made on {then}, and this is {here}: the last bits may differ." if then else ""


def other_head(report: Path, head: str) -> str:
    """A line where the repetition of a result found another brain than that has; empty: the same, or it does not say.

    Args:
        report: Of the result.
        head: Digest of that of its repetition.
    """
    before = str(_read(report).get("key", "")).partition("-")[2]
    if before in ("", head[: len(before)]):
        return ""
    return (
        f"Another brain was found than that of '{report.name}', so this is not the same result: with another tool, or "
        "another version of one. To repeat results anywhere, give a mask."
    )


def _read(report: Path) -> dict[str, Any]:
    info = json_of(report)
    known = all(isinstance(info.get(name), kind) for name, kind in _NEEDED.items())
    if not known or not info["request"].get("source"):
        raise MrtransError(f"'{report}' is no report of a result that can be repeated.")
    return info


def _mask(request: Request, volume: Volume, say: Callable[[str], None]) -> NDArray[np.bool_]:
    if request.mask_file is None:
        raise MrtransError("The mask of this result came from no file; it cannot be repeated.")
    return read_mask(request.mask_file, volume, say)


def _roi(request: Request, volume: Volume, say: Callable[[str], None]) -> NDArray[np.bool_]:
    if request.roi_file is None:
        raise MrtransError("The ROI of this result came from no file; it cannot be repeated.")
    return roi_from_file(request.roi_file, volume.affine, volume.data.shape, name=volume.name, say=say)


def _checkpoint(info: dict[str, Any]) -> Checkpoint:
    name, path = info["checkpoint"], Path(info["checkpoint_file"])
    candidates = [*list_checkpoints(), *([read_checkpoint(path)] if path.is_file() else [])]
    # The name stands in the file: under another one it cannot be the same.
    named = [checkpoint for checkpoint in candidates if checkpoint.name == name]
    same = [checkpoint for checkpoint in named if checkpoint.sha256 == info["sha256"]]
    if not same:
        state = "has changed" if named else "is not installed any more"
        raise CheckpointError(
            f"The checkpoint '{name}' {state} (it was sha256 {info['sha256'][:12]}…); install that one."
        )
    planes = bool(info["request"].get("three_planes"))
    found = next((c for c in same if beside_digest(c, planes) == info["calibration"]), None)
    if found is None:
        what = "calibration or the network for other planes" if planes else "calibration"
        raise CheckpointError(f"The {what} of '{name}' has changed since this result was made.")
    return found
