"""What was measured in a region of interest: as lines, as JSON and as a table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..wording import plural
from .interval import FEWEST, written


@dataclass(frozen=True)
class Lesion:
    """One connected component (26 neighbours) of a region of interest.

    Attributes:
        n_voxels: Its size.
        centre: Mean voxel index.
        r: Pearson correlation, or None below 3 voxels or where an image is constant.
        p: Two-sided, as if voxels were independent; they are not, so it is too small.
        interval: 95 % interval of r (:func:`~.interval.correlation_interval`).
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
        sample_r: The correlation of each single sample; their spread tells how sure ``r`` is. None of one that is
            constant, or not finite somewhere in the region.
        voxels: (n_voxels, 3) voxel indices.
        values: (n_voxels, 2) prediction and target there; NaN without a target.
        lesion: (n_voxels,) index into ``components``.
        interval: 95 % interval of r (:func:`~.interval.correlation_interval`).
        n_missing: Voxels of the region that are left out, for they are not finite in some image: not computed, or not
            scanned.
        std_corrected: The standard deviation is the corrected one.
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
    n_missing: int = 0
    std_corrected: bool = False

    @property
    def r_range(self) -> tuple[float, float] | None:
        """Mean and standard deviation (divisor n) of ``sample_r``, or None without samples."""
        known = [r for r in self.sample_r if r is not None]
        return (float(np.mean(known)), float(np.std(known))) if known else None

    def lines(self, *, missing: bool = True) -> list[str]:
        """The pooled figures in words; without ``missing``, not how many voxels are left out."""
        where = f"{self.n_voxels} voxels of {plural(len(self.components), 'lesion')}"
        lines = [f"{where}, no reference" if self.r is None else f"r = {written(self.r, self.interval)} over {where}"]
        if self.interval:
            lines.append("In brackets: 95 % interval, by how many independent voxels these are worth")
        elif self.r is not None:
            lines.append(f"No interval: these voxels are worth fewer than {FEWEST} independent ones")
        if self.sample_r:
            lines.append(f"Samples: {self._of_samples()}")
        told = [f"{name} {_signed(value)}" for name, value in self.contrast.items()]
        lines.append(f"Contrast to noise: {', '.join(told)}")
        if self.std_inside is not None:
            ring = "" if self.std_ring is None else f", {self.std_ring:.4f} around it"
            what = "Mean corrected std" if self.std_corrected else "Mean std"
            lines.append(f"{what}: {self.std_inside:.4f} inside{ring}")
        if missing and self.n_missing:
            lines.append(left_out(self.n_missing, self.n_missing + self.n_voxels, "are not in every image"))
        if self.n_blank:
            lines.append(f"{self.n_blank} of these voxels are 0 in the prediction: outside the head")
        return lines

    def _of_samples(self) -> str:
        lacking, told = sum(r is None for r in self.sample_r), []
        if self.r_range:
            mean, spread = self.r_range
            told.append(f"r = {mean:.3f} ± {spread:.3f} over {len(self.sample_r) - lacking}")
        if lacking:
            told.append(f"{lacking} of {len(self.sample_r)} {'has' if lacking == 1 else 'have'} no r")
        return "; ".join(told)

    def to_dict(self) -> dict[str, Any]:
        """All figures, as JSON knows them."""
        return {
            "r": self.r,
            "p": self.p,
            "interval": self.interval,
            "n_voxels": self.n_voxels,
            "n_blank": self.n_blank,
            "n_missing": self.n_missing,
            "components": [vars(lesion) for lesion in self.components],
            "contrast": self.contrast,
            "std_inside": self.std_inside,
            "std_ring": self.std_ring,
            "std_corrected": self.std_corrected,
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
            "n_missing": self.n_missing,
            "std_corrected": self.std_corrected,
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


def left_out(missing: int, of: int, why: str) -> str:
    """``216 of 360 voxels were not computed; they are left out``."""
    return f"{missing} of {of} voxels {why}; they are left out"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _row(name: int | str, of: Lesion | LesionReport, centre: tuple[float, ...]) -> dict[str, Any]:
    low, high = of.interval or (None, None)
    where = " ".join(f"{x:.1f}" for x in centre)
    return {"lesion": name, "n_voxels": of.n_voxels, "r": of.r, "r_low": low, "r_high": high, "centre": where}
