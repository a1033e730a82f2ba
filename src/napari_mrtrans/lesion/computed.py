"""Which voxels of a prediction are one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from .report import LesionReport, left_out

NOT_COMPUTED = "Nothing was computed where the ROI is. Transform those slices first."


def computed_only(prediction: NDArray, axis: int, *, region_only: bool = False, std: NDArray | None = None) -> NDArray:
    """A prediction (3-D, axial slices along ``axis``) with NaN in slices that are 0 throughout.

    Such a slice was not computed, or holds no head: a file says 0 for both. Returned as it is where there is none.

    Args:
        prediction: The mean.
        axis: Array axis of the axial slices.
        region_only: It is of a region of interest alone: NaN wherever it is 0, and ``std``, too.
        std: Its standard deviation, same shape.
    """
    others = tuple(other for other in range(prediction.ndim) if other != axis)
    unknown = ~np.any(prediction, axis=others, keepdims=True)
    if region_only:
        unknown = unknown | ((prediction == 0) & (True if std is None else std == 0))
    if not unknown.any():
        return prediction
    out: NDArray = np.where(unknown, np.float32(np.nan), prediction)
    return out


def not_computed(prediction: NDArray, roi: NDArray[np.bool_]) -> str:
    """What is said of a region of which a prediction, NaN where it is none, lacks some; empty where it lacks nothing.

    Raises:
        MrtransError: it lacks all of it.
    """
    missing, count = int(np.isnan(prediction[roi]).sum()), int(roi.sum())
    if missing and missing == count:
        raise MrtransError(NOT_COMPUTED)
    return _line(missing, count) if missing else ""


def lines_beside(told: str, report: LesionReport) -> list[str]:
    """A report's lines; how many voxels are left out is not among them where :func:`not_computed` ``told`` it of the
    same ones."""
    same = _line(report.n_missing, report.n_missing + report.n_voxels) in told
    return report.lines(missing=not same)


def _line(missing: int, of: int) -> str:
    return f"{left_out(missing, of, 'were not computed')}."
