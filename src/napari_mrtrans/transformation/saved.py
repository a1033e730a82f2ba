"""A result read from its files again, for what is made of it afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError, VolumeError
from ..scan.contrasts import Contrast
from ..scan.nifti import open_nifti, read_voxels
from ..scan.volume import Volume
from .ensemble import Ensemble
from .names import KINDS

#: What a report must say for its result to be read.
_NEEDED = ("input", "source", "target", "checkpoint", "model", "n", "seed", "slices", "sigma_hat_per_slice", "request")


def read_report(record: Path) -> dict[str, Any]:
    """The JSON of a result.

    Raises:
        MrtransError: it cannot be read, or is none.
    """
    info = json_of(record)
    if any(name not in info for name in _NEEDED):
        raise MrtransError(f"'{record}' is no report of a result; give the JSON that transform wrote.")
    Contrast.parse(info["target"])
    return info


def json_of(record: Path) -> dict[str, Any]:
    """What a JSON file holds; empty where it is none, or no mapping.

    Raises:
        MrtransError: it cannot be read.
    """
    try:
        info = json.loads(record.read_text(encoding="utf-8"))
    except OSError as error:
        raise MrtransError(f"'{record}' cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def saved_result(record: Path, image: Path | None = None) -> tuple[Ensemble, bool]:
    """The result whose JSON is ``record``, without median and samples, and whether its input was found, unchanged.

    Args:
        record: What ``transform`` wrote; the images lie beside it.
        image: The input, where it has moved.

    Raises:
        MrtransError: a file is missing or not what it was.
    """
    info = read_report(record)
    images = {kind: image_beside(record, kind) for kind in KINDS if kind in ("mean", "std", "std-calibrated")}
    if images["mean"] is None:
        raise MrtransError(f"The mean that belongs to '{record.name}' is not beside it.")
    mean = Volume.load(images["mean"], info["target"])
    volume = _input(info, image)
    found = volume is not None and volume.digest() == info.get("input_digest", volume.digest())
    if image is not None and not found:
        raise MrtransError(f"The input '{image.name}' is not the one that '{record.name}' was made of.")
    if volume is None or not found:
        volume = mean
    std, calibrated = (_voxels(images[kind]) for kind in ("std", "std-calibrated"))
    per_slice = np.array([np.nan if value is None else value for value in info["sigma_hat_per_slice"]])
    overall = float("nan") if info.get("sigma_hat") is None else float(info["sigma_hat"])
    zeros = np.zeros_like(mean.data) if std is None else std
    return Ensemble(volume, mean.data, zeros, None, None, per_slice, overall, info, calibrated), found


def _input(info: dict[str, Any], image: Path | None) -> Volume | None:
    """What lies at ``image``, or where the report says; None where there is nothing that can be read."""
    from ..dicom.read import read_scan

    if image is not None:
        if not image.exists():
            raise MrtransError(f"The input '{image}' is not there.")
        return read_scan(image, info["source"])
    file = Path(info["input"])
    if not file.is_absolute() or not os.path.exists(file):  # noqa: PTH110 (Path.exists raises where one may not look)
        return None
    try:
        return read_scan(file, info["source"])
    except VolumeError:
        return None


def image_beside(record: Path, kind: str) -> Path | None:
    """The image of a kind that belongs to a report, by either way of naming."""
    plain = record.with_name(f"{record.stem}_{kind}.nii.gz")
    if plain.is_file():
        return plain
    start, _, suffix = record.stem.rpartition("_")
    named = {"mean": "", "std": "Std", "std-calibrated": "StdCalibrated"}[kind]
    bids = record.with_name(f"{start}{named}_{suffix}.nii.gz")
    return bids if bids.is_file() else None


def _voxels(path: Path | None) -> NDArray[np.float32] | None:
    """Not as a :class:`Volume`: the spread of a model that gives one answer is 0 throughout."""
    return None if path is None else np.asarray(read_voxels(open_nifti(path), path), dtype=np.float32)
