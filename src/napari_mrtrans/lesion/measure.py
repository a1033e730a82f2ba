"""Is a lesion where the target has it, and as bright? Correlation, contrast and spread inside a region of interest.

The figure is the paper's: the Pearson correlation between prediction and target over the voxels of expert masks, pooled
over lesions (0.67 to 0.75 for its five models). Contrast and spread against the surround stand beside it, because a
correlation is blind to how far a lesion stands out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.masks import inside as inside_of
from .interval import correlation_interval, written

#: Fewer voxels always correlate by ±1.
MIN_VOXELS = 3
#: A range below this fraction of the largest magnitude is rounding, not contrast.
CONSTANT = 1e-6

TOO_SMALL = f"ROI needs at least {MIN_VOXELS} voxels."
NOT_COMPUTED = "Nothing was computed where the ROI is. Transform those slices first."
NO_CONTRAST = "Intensity is constant in this ROI; correlation undefined."


@dataclass(frozen=True)
class Lesion:
    """One connected component (26 neighbours) of a region of interest.

    Attributes:
        n_voxels: Its size.
        centre: Mean voxel index.
        r: Pearson correlation, or None below 3 voxels or where an image is constant.
        p: Two-sided, as if voxels were independent; they are not, so it is too small.
        interval: 95 % interval of r, from blocks of its voxels (:func:`~.interval.correlation_interval`).
    """

    n_voxels: int
    centre: tuple[float, ...]
    r: float | None
    p: float | None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class LesionReport:
    """Agreement of a prediction with its target inside a region of interest; r and p are None without a target.

    Attributes:
        r: Pearson correlation over all voxels of the region.
        p: Two-sided, as if voxels were independent; they are not, so it is too small.
        n_voxels: Voxels of the region that are finite in every image.
        n_blank: Those of them where the prediction is exactly 0: outside the head.
        components: The connected components, largest first.
        contrast: Contrast-to-noise ratio (mean inside - mean of the ring) / standard deviation of the ring of "source",
            "prediction" and "target"; positive = brighter than its surround. None without a ring that varies.
        std_inside: Mean of the ensemble's standard deviation inside.
        std_ring: The same in the ring.
        sample_r: The correlation of each single sample; their spread tells how sure ``r`` is.
        voxels: (n_voxels, 3) voxel indices.
        values: (n_voxels, 2) prediction and target there; NaN without a target.
        lesion: (n_voxels,) index into ``components``.
        interval: 95 % interval of r, from drawing lesions anew (:func:`~.interval.correlation_interval`).
    """

    r: float | None
    p: float | None
    n_voxels: int
    n_blank: int
    components: tuple[Lesion, ...]
    contrast: dict[str, float | None]
    std_inside: float | None
    std_ring: float | None
    sample_r: tuple[float | None, ...]
    voxels: NDArray[np.intp] = field(repr=False, compare=False)
    values: NDArray[np.float64] = field(repr=False, compare=False)
    lesion: NDArray[np.intp] = field(repr=False, compare=False)
    interval: tuple[float, float] | None = None

    @property
    def r_range(self) -> tuple[float, float] | None:
        """Mean and standard deviation (divisor n) of ``sample_r``, or None without samples."""
        known = [r for r in self.sample_r if r is not None]
        return (float(np.mean(known)), float(np.std(known))) if known else None

    def lines(self) -> list[str]:
        """The pooled figures in words."""
        lesions = "1 lesion" if len(self.components) == 1 else f"{len(self.components)} lesions"
        where = f"{self.n_voxels} voxels of {lesions}"
        lines = [f"{where}, no reference" if self.r is None else f"r = {written(self.r, self.interval)} over {where}"]
        if self.interval:
            lines.append("In brackets: 95 % interval (bootstrap over lesions, or over blocks of few)")
        if self.r_range:
            mean, spread = self.r_range
            lines.append(f"Samples: r = {mean:.3f} ± {spread:.3f} over {len(self.sample_r)}")
        told = [f"{name} {_signed(value)}" for name, value in self.contrast.items()]
        lines.append(f"Contrast to noise: {', '.join(told)}")
        if self.std_inside is not None:
            ring = "" if self.std_ring is None else f", {self.std_ring:.4f} around it"
            lines.append(f"Mean std: {self.std_inside:.4f} inside{ring}")
        if self.n_blank:
            lines.append(f"{self.n_blank} of these voxels are 0 in the prediction: outside the head")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """All figures, as JSON knows them."""
        return {
            "r": self.r,
            "p": self.p,
            "interval": self.interval,
            "n_voxels": self.n_voxels,
            "n_blank": self.n_blank,
            "components": [vars(lesion) for lesion in self.components],
            "contrast": self.contrast,
            "std_inside": self.std_inside,
            "std_ring": self.std_ring,
            "sample_r": list(self.sample_r),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A table: the pooled figures, then one row for each component; what a row lacks is None."""
        mean, spread = self.r_range or (None, None)
        centre = tuple(self.voxels.mean(axis=0).tolist())
        pooled = {
            **_row("all", self, centre),
            **{f"contrast_{name}": self.contrast.get(name) for name in ("source", "prediction", "target")},
            "std_inside": self.std_inside,
            "std_ring": self.std_ring,
            "sample_r_mean": mean,
            "sample_r_std": spread,
        }
        nothing = dict.fromkeys(pooled)
        single = (
            nothing | _row(number, lesion, lesion.centre) for number, lesion in enumerate(self.components, start=1)
        )
        return [pooled, *single]

    def csv(self) -> str:
        """:meth:`rows` as comma-separated values with a line of headings."""
        rows = self.rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def lesion_report(
    prediction: NDArray,
    target: NDArray | None,
    roi: NDArray,
    *,
    std: NDArray | None = None,
    samples: Iterable[NDArray] | None = None,
    source: NDArray | None = None,
    ring: float = 3.0,
) -> LesionReport:
    """Compare a prediction with its target inside a region of interest; all arrays on one grid.

    Without a target, contrast and spread tell whether the lesion is still there, and no correlation is had.

    Voxels that are not finite in one of prediction, target, std and source are left out. The ring is all voxels within
    ``ring`` of the region (Euclidean, in voxels) that belong to no part of it and are finite and not blank (exactly 0,
    as around a skull-stripped head) in every image.

    Args:
        prediction: Any shape and unit: the ensemble's mean; of some slices or a region, ``ensemble.computed()``.
        target: The acquired image, any unit; None = there is none.
        roi: See :func:`~..scan.masks.inside`.
        std: The ensemble's standard deviation.
        samples: Single samples, each shaped as ``prediction``; looked at one by one.
        source: The image that was transformed.
        ring: Width of the surround.

    Raises:
        MrtransError: shapes differ, fewer than 3 voxels, or one of the images is constant in the region.
    """
    from scipy.ndimage import distance_transform_edt, label

    drawn = inside_of(np.asarray(roi))
    images = {"source": source, "prediction": prediction, "target": target, "std": std}
    given = {name: np.asarray(image) for name, image in images.items() if image is not None}
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
        raise MrtransError("The ROI does not overlap the images.")
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
    )


def box_around(roi: NDArray[np.bool_], margin: int) -> tuple[slice, ...] | None:
    """The bounding box of ``roi`` and ``margin`` voxels more on every side, or None where it is empty."""
    box = []
    for axis, size in enumerate(roi.shape):
        hit = np.flatnonzero(roi.any(axis=tuple(other for other in range(roi.ndim) if other != axis)))
        if not hit.size:
            return None
        box.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, size)))
    return tuple(box)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _row(name: int | str, of: Lesion | LesionReport, centre: tuple[float, ...]) -> dict[str, Any]:
    low, high = of.interval or (None, None)
    where = " ".join(f"{x:.1f}" for x in centre)
    return {"lesion": name, "n_voxels": of.n_voxels, "r": of.r, "r_low": low, "r_high": high, "centre": where}


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
    values = np.asarray(sample[box], dtype=np.float64)[inside]
    try:
        return _pearson(values, target)[0]
    except MrtransError:
        return None


def _contrast(inside: NDArray[np.float64], ring: NDArray[np.float64]) -> float | None:
    """Signed contrast-to-noise ratio, as lesion studies give it: the surround's own variation is the noise."""
    if ring.size < 2 or (spread := float(ring.std())) <= CONSTANT * float(np.abs(ring).max()):
        return None
    return float((inside.mean() - ring.mean()) / spread)
