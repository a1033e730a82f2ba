"""A lesion report of NIfTI files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import MrtransError
from .lesion import LesionReport, box_around, lesion_report
from .resample import resample
from .volume import Volume, read_mask, read_samples


def measure_files(
    prediction: Path,
    target: Path,
    roi: Path,
    *,
    std: Path | None = None,
    samples: Path | None = None,
    source: Path | None = None,
    ring: float = 3.0,
    say: Callable[[str], None] = lambda line: None,
) -> LesionReport:
    """:func:`lesion_report` of files; ``roi`` and ``samples`` lie on the grid of ``prediction``.

    What lies on another grid is resampled linearly onto it by the affines, and ``say`` is told.

    Raises:
        MrtransError: a file cannot be used, the region and a file do not overlap, or it cannot be measured.
    """
    like = Volume.load(prediction)
    mask = read_mask(roi, like)
    box = box_around(mask, int(np.ceil(ring)))

    def onto(path: Path | None) -> NDArray | None:
        if path is None:
            return None
        volume = Volume.load(path)
        data = resample(volume.data, np.linalg.inv(volume.affine) @ like.affine, like.data.shape, box=box)
        if data is not volume.data:
            say(f"'{volume.name}' lies on another grid than '{like.name}'; it was resampled by their affines.")
        if mask.any() and not np.isfinite(data[mask]).any():
            raise MrtransError(f"The ROI does not overlap '{volume.name}'.")
        return data

    acquired = onto(target)
    assert acquired is not None
    return lesion_report(
        like.data,
        acquired,
        mask,
        std=onto(std),
        source=onto(source),
        samples=None if samples is None else read_samples(samples, like),
        ring=ring,
    )
