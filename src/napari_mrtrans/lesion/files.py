"""A lesion report of NIfTI files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dicom.read import read_scan
from ..errors import MrtransError
from ..scan.grid import turned_onto
from ..scan.masks import load_mask
from ..scan.nifti import open_nifti, read_voxels, stem
from ..scan.resample import resample
from ..scan.volume import AnyImage, read_samples
from .computed import computed_only, not_computed
from .measure import RING, box_around, check_large_enough, lesion_report, nothing_there
from .report import LesionReport


def measure_files(
    prediction: Path,
    target: Path | None,
    roi: Path,
    *,
    std: Path | None = None,
    samples: Path | None = None,
    source: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> LesionReport:
    """:func:`lesion_report` of files; ``samples`` lie on the grid of ``prediction``.

    What lies on another grid is resampled onto it by the affines (images linearly, ``roi`` to the nearest voxel), and
    ``say`` is told. Of a result of a region only, as the report beside it says, the region alone counts.

    Raises:
        MrtransError: a file cannot be used, the region and a file do not overlap, or it cannot be measured.
    """
    like = AnyImage.load(prediction)
    mask = roi_from_file(roi, like.affine, like.data.shape, name=like.name, say=say)
    if not mask.any():
        finite = np.isfinite(read_voxels(open_nifti(roi), roi)).any()
        why = "no voxel is above 0" if finite else "all of it is NaN or infinite"
        raise MrtransError(f"The ROI '{roi.name}' marks nothing: {why}.")
    check_large_enough(mask, roi.name)
    box = box_around(mask, RING)

    def onto(path: Path | None) -> NDArray | None:
        if path is None:
            return None
        volume = read_scan(path, kind=AnyImage)
        to_volume = np.linalg.inv(volume.affine) @ like.affine
        data = resample(volume.data, to_volume, like.data.shape, box=box)
        if data is not volume.data:
            say(f"'{volume.name}' lies on another grid than '{like.name}'; it was resampled by their affines.")
        if not np.isfinite(data[mask]).any():
            raise MrtransError(nothing_there(volume.name, volume.data.shape, to_volume, mask))
        return data

    if std is not None and not np.any(read_voxels(open_nifti(std), std)):
        say(f"'{std.name}' is 0 throughout: one answer has no spread. It is left out.")
        std = None
    spread = onto(std)
    asked = report_beside(prediction).get("roi")
    region_only = isinstance(asked, dict) and bool(asked.get("only"))
    predicted = computed_only(like.data, like.axial_axis, region_only=region_only, std=spread)
    if line := not_computed(predicted, mask):
        say(line)
    return lesion_report(
        predicted,
        onto(target),
        mask,
        std=spread,
        source=onto(source),
        samples=None if samples is None else read_samples(samples, like),
        std_corrected=std is not None and _is_corrected(std),
    )


def _is_corrected(std: Path) -> bool:
    """Whether a file that this package wrote holds the corrected standard deviation, by its name or its header."""
    told = stem(std) + str(open_nifti(std).header.get("descrip", ""))
    return "std-calibrated" in told or "StdCalibrated" in told


def report_beside(mean: Path) -> dict[str, Any]:
    """The report of a mean that ``transform`` wrote; empty where none lies beside it."""
    try:
        report = json.loads(mean.with_name(f"{stem(mean).removesuffix('_mean')}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def roi_from_file(
    path: Path,
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
    *,
    name: str,
    say: Callable[[str], None] = lambda line: None,
) -> NDArray[np.bool_]:
    """A mask file (:func:`~..scan.masks.inside`) on the grid of an image, by their affines; empty where the file is.

    Args:
        path: NIfTI.
        affine: 4x4, voxel index of the image to RAS millimetres.
        shape: Of the image.
        name: Of the image, for what is told.
        say: Told where the mask had to be resampled, to the nearest voxel, or has fractional values.

    Raises:
        MrtransError: the file cannot be used, or nothing that it marks lies in the image.
    """
    mask, own = load_mask(path, say)
    turned = turned_onto(mask, own, shape, affine)
    if turned is not None:
        return np.asarray(turned, dtype=bool)
    to_mask = np.linalg.inv(own) @ affine
    found = np.asarray(resample(mask.astype(np.uint8), to_mask, shape, order=0) > 0)
    if mask.any() and not found.any():
        raise MrtransError(f"The ROI '{path.name}' does not overlap '{name}'.")
    # A box cut out of the same voxels, turned or not, is the same grid.
    if not np.allclose(to_mask, np.round(to_mask), atol=1e-3) or not np.isclose(abs(np.linalg.det(to_mask)), 1):
        say(f"'{path.name}' lies on another grid than '{name}'; it was resampled to the nearest voxel.")
    return found
