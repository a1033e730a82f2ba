"""Is a lesion where the target has it, and as bright? Correlation, contrast and spread inside a region of interest.

The figure is the paper's: the Pearson correlation between prediction and target over the voxels of expert masks, pooled
over lesions (0.67 to 0.75 for its five models). Contrast and spread against the surround stand beside it, because a
correlation is blind to how far a lesion stands out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.masked import unmasked
from ..scan.masks import inside as inside_of
from ..wording import plural
from .interval import correlation_interval
from .report import Lesion, LesionReport

#: Fewer voxels always correlate by ±1.
MIN_VOXELS = 3
#: A range below this fraction of the largest magnitude is rounding, not contrast.
CONSTANT = 1e-6
#: Voxels around a region that its contrast is with.
RING = 3

TOO_SMALL = f"ROI needs at least {MIN_VOXELS} voxels."
NO_CONTRAST = "Intensity is constant in this ROI; correlation undefined."


def lesion_report(
    prediction: NDArray,
    target: NDArray | None,
    roi: NDArray,
    *,
    std: NDArray | None = None,
    samples: Iterable[NDArray] | None = None,
    source: NDArray | None = None,
    ring: float = RING,
    std_corrected: bool = False,
) -> LesionReport:
    """Compare a prediction with its target inside a region of interest; all arrays on one grid.

    Without a target, contrast and spread tell whether the lesion is still there, and no correlation is had.

    Voxels that are masked or not finite in one of prediction, target, std and source are left out, and counted. The
    ring is all voxels within ``ring`` of the region (Euclidean, in voxels) that belong to no part of it and are finite
    and not blank (exactly 0, as around a skull-stripped head; the standard deviation may be) in every image.

    Args:
        prediction: Any shape and unit: the ensemble's mean; of some slices or a region, ``ensemble.computed()``.
        target: The acquired image, any unit; None = there is none.
        roi: See :func:`~..scan.masks.inside`.
        std: The ensemble's standard deviation.
        samples: Single samples, each shaped as ``prediction``; looked at one by one.
        source: The image that was transformed.
        ring: Width of the surround.
        std_corrected: ``std`` is the corrected one (``ensemble.calibrated_std``).

    Raises:
        MrtransError: shapes differ, fewer than 3 voxels, or prediction or target is constant in the region, where
            there is a target.
    """
    from scipy.ndimage import distance_transform_edt, label

    drawn = inside_of(roi)
    images = {"source": source, "prediction": prediction, "target": target, "std": std}
    given = {name: unmasked(image) for name, image in images.items() if image is not None}
    for name, image in given.items():
        if image.shape != drawn.shape:
            raise MrtransError(f"The {name} has shape {image.shape}, the ROI {drawn.shape}; they must share one grid.")
    box = box_around(drawn, int(np.ceil(ring)))
    if box is None:
        raise MrtransError(TOO_SMALL)
    drawn = drawn[box]
    given = {name: image[box].astype(np.float64) for name, image in given.items()}
    known = np.logical_and.reduce([np.isfinite(image) for image in given.values()])
    inside = drawn & known
    if not inside.any():
        raise MrtransError("No voxel of the ROI is finite in every image.")
    measured = given["target"][inside] if target is not None else np.full(int(inside.sum()), np.nan)
    values = np.stack([given["prediction"][inside], measured], axis=1)
    r, p = _pearson(*values.T) if target is not None else (None, None)
    if len(values) < MIN_VOXELS:
        raise MrtransError(TOO_SMALL)
    around = known & ~drawn & (distance_transform_edt(~drawn) <= ring)
    for name in given.keys() - {"std"}:
        around &= given[name] != 0
    numbered, count = label(inside, np.ones((3,) * inside.ndim))
    voxels = np.argwhere(inside) + [part.start for part in box]
    owner = numbered[inside] - 1
    sizes = np.bincount(owner, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    interval = None if r is None else correlation_interval(values, voxels, owner)
    alone = (Lesion(len(values), tuple(voxels.mean(axis=0).tolist()), r, p, interval),)
    return LesionReport(
        r=r,
        p=p,
        n_voxels=int(inside.sum()),
        n_blank=int((values[:, 0] == 0).sum()),
        components=alone
        if count == 1
        else tuple(_component(values[owner == index], voxels[owner == index]) for index in order),
        contrast={
            name: _contrast(given[name][inside], given[name][around])
            for name in ("source", "prediction", "target")
            if name in given
        },
        std_inside=float(given["std"][inside].mean()) if std is not None else None,
        std_ring=float(given["std"][around].mean()) if std is not None and around.any() else None,
        sample_r=tuple(
            _sample_r(sample, box, inside, values[:, 1])
            for sample in (() if samples is None or target is None else samples)
        ),
        voxels=voxels,
        values=values,
        lesion=np.argsort(order)[owner],
        interval=interval,
        n_missing=int(drawn.sum() - inside.sum()),
        std_corrected=std_corrected and std is not None,
    )


def check_large_enough(roi: NDArray[np.bool_], name: str) -> None:
    """See that a region, called ``name``, has voxels enough to be measured.

    Raises:
        MrtransError: it has not.
    """
    if (count := int(roi.sum())) < MIN_VOXELS:
        voxels = plural(count, "voxel")
        raise MrtransError(f"The ROI '{name}' marks {voxels} of the prediction; it needs at least {MIN_VOXELS}.")


def nothing_there(name: str, shape: tuple[int, ...], to_image: NDArray[np.float64], roi: NDArray[np.bool_]) -> str:
    """What is said of an image that has no finite value where a region is.

    Args:
        name: Of the image.
        shape: Of the image.
        to_image: 4x4, voxel index of the region to voxel index of the image.
        roi: Not empty.
    """
    at = apply_affine(to_image, np.argwhere(roi))
    if ((at > -0.5) & (at < np.array(shape) - 0.5)).all(axis=1).any():
        return f"'{name}' has no finite value inside the ROI."
    return f"The ROI does not overlap '{name}'."


def box_around(roi: NDArray[np.bool_], margin: int) -> tuple[slice, ...] | None:
    """The bounding box of ``roi`` and ``margin`` voxels more on every side, or None where it is empty."""
    box = []
    for axis, size in enumerate(roi.shape):
        hit = np.flatnonzero(roi.any(axis=tuple(other for other in range(roi.ndim) if other != axis)))
        if not hit.size:
            return None
        box.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, size)))
    return tuple(box)


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    from scipy.stats import pearsonr

    if len(x) < MIN_VOXELS:
        raise MrtransError(TOO_SMALL)
    if any(np.ptp(values) <= CONSTANT * np.abs(values).max() for values in (x, y)):
        raise MrtransError(NO_CONTRAST)
    found = pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)


def _component(values: NDArray[np.float64], voxels: NDArray[np.intp]) -> Lesion:
    centre = tuple(voxels.mean(axis=0).tolist())
    if np.isnan(values[:, 1]).any():
        return Lesion(len(values), centre, None, None)
    try:
        r, p = _pearson(values[:, 0], values[:, 1])
        return Lesion(len(values), centre, r, p, correlation_interval(values, voxels, np.zeros(len(values), np.intp)))
    except MrtransError:
        return Lesion(len(values), centre, None, None)


def _sample_r(
    sample: NDArray, box: tuple[slice, ...], inside: NDArray[np.bool_], target: NDArray[np.float64]
) -> float | None:
    values = np.asarray(unmasked(sample[box]), dtype=np.float64)[inside]
    if not np.isfinite(values).all():
        return None
    try:
        return _pearson(values, target)[0]
    except MrtransError:
        return None


def _contrast(inside: NDArray[np.float64], ring: NDArray[np.float64]) -> float | None:
    """Signed contrast-to-noise ratio, as lesion studies give it: the surround's own variation is the noise."""
    if ring.size < 2 or (spread := float(ring.std())) <= CONSTANT * float(np.abs(ring).max()):
        return None
    return float((inside.mean() - ring.mean()) / spread)
