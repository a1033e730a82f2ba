"""From what samples differ by to how far their mean may be off: the correction of a checkpoint's spread.

What the spread of the samples of a voxel says of its error is mended in three ways, each fitted to acquired targets:

- a voxel's standard deviation of n samples is itself a matter of chance, so their variance is averaged over its
  surroundings (``blur_mm``);
- what all samples get wrong together is a floor, and a spread that is too narrow or too wide gets a factor:
  sqrt(floor² + (factor · std)²);
- errors are larger at some intensities (fluid, fat, the rim of the head) than the samples know: two curves over the
  intensities of the answer and of the source say by how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import MrtransError

#: Two-sided 90 % of a normal distribution lie within this many standard deviations.
Z90 = 1.6448536
#: Width (standard deviation) of the Gaussian surroundings that variances are averaged over.
BLUR_MM = 1.5
#: Points of a curve, evenly from intensity 0 to 1.
KNOTS = 9
#: Voxels that tell no difference: a point of a curve that rests on as many goes half its way.
SHRINK = 300
#: Curves never say more than this, or less than its inverse.
MOST = 2.0
#: Rounds of fitting one curve after the other.
ROUNDS = 3


Curve = Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=100)]


@dataclass(frozen=True)
class Voxels:
    """Some voxels of answered scans whose target is known; arrays of one dimension and one length, in [0, 1].

    Attributes:
        std: Population standard deviation of the samples.
        error: Truth minus mean.
        smooth: ``std`` by :func:`smoothed`.
        answer: The mean.
        source: The image that was transformed.
    """

    std: NDArray[np.floating]
    error: NDArray[np.floating]
    smooth: NDArray[np.floating]
    answer: NDArray[np.floating]
    source: NDArray[np.floating]

    @classmethod
    def of_slice(
        cls,
        std: NDArray[np.floating],
        mean: NDArray[np.floating],
        source: NDArray[np.floating],
        target: NDArray[np.floating],
        heads: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        spacing: tuple[float, float],
    ) -> Voxels:
        """Those of an answered slice (row, column); ``heads``: of the source, and where it has a target as well."""
        head, both = heads
        images = (std, target - mean, smoothed(std, head, spacing), mean, source)
        return cls(*(image[both] for image in images))

    @classmethod
    def joined(cls, parts: Iterable[Voxels]) -> Voxels:
        """All of them."""
        parts = list(parts)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in NAMES))

    @classmethod
    def read(cls, kept: Mapping[str, Sequence[float]]) -> Voxels:
        """What :meth:`lists` gave."""
        return cls(*(np.asarray(kept[name], dtype=np.float64) for name in NAMES))

    def lists(self, rng: np.random.Generator, most: int, times: float = 1.0) -> dict[str, list[float]]:
        """``most`` of them, for a JSON file; ``std`` is ``times`` as wide, as that of more or fewer samples would be.

        An averaged variance does not depend on the number of samples: that of antithetic pairs has no bias.
        """
        picked = rng.permutation(len(self.std))[:most]
        images = {name: getattr(self, name)[picked].astype(float) for name in NAMES}
        images["std"] *= times
        return {name: np.round(values, 4).tolist() for name, values in images.items()} if picked.size else {}


NAMES = tuple(field.name for field in fields(Voxels))


class SpreadCorrection(BaseModel):
    """std -> sqrt(floor² + (factor · std)²) · by_answer(answer) · by_source(source).

    Attributes:
        floor: What all samples get wrong together.
        factor: Mends a spread that is too narrow or too wide.
        blur_mm: Surroundings that the variance is averaged over first; 0 = none.
        by_answer: Curve over the answer's intensity, at evenly spaced points from 0 to 1; none = 1 everywhere.
        by_source: The same over the source's.
        computed: Fitted to images computed from other contrasts: what it is worth for acquired ones is not known.
    """

    model_config = ConfigDict(extra="forbid")

    floor: float = Field(ge=0)
    factor: float = Field(ge=0)
    blur_mm: float = Field(default=0.0, ge=0)
    by_answer: Curve = []
    by_source: Curve = []
    computed: bool = False

    def __call__(
        self,
        std: NDArray[np.floating],
        answer: NDArray[np.floating],
        source: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """Voxel by voxel, of a ``std`` that is averaged over its surroundings already; all of one shape, in [0, 1]."""
        return (np.hypot(self.floor, self.factor * std) * self.curves(answer, source)).astype(np.float32)

    def curves(self, answer: NDArray[np.floating], source: NDArray[np.floating]) -> NDArray[np.floating] | float:
        """By how much errors at these intensities are larger than elsewhere."""
        return _at(self.by_answer, answer) * _at(self.by_source, source)

    def of(self, voxels: Voxels) -> NDArray[np.float32]:
        """The corrected standard deviation of some voxels."""
        return self(self._std(voxels), voxels.answer, voxels.source)

    def image(
        self,
        std: NDArray[np.floating],
        answer: NDArray[np.floating],
        source: NDArray[np.floating],
        inside: NDArray[np.bool_],
        spacing: tuple[float, float],
    ) -> NDArray[np.float32]:
        """The corrected standard deviation of a slice, 0 outside the head; (row, column), ``spacing`` in mm."""
        std = smoothed(std, inside, spacing, self.blur_mm)
        return np.where(inside, self(std, answer, source), 0).astype(np.float32)

    @classmethod
    def fit(cls, std: NDArray[np.floating], error: NDArray[np.floating]) -> SpreadCorrection:
        """Floor and factor: maximum likelihood of normal errors, then scaled so that 90 % of them lie in the central
        90 % interval.

        Args:
            std: Population standard deviation of the samples in voxels of validation subjects, any shape.
            error: Truth minus mean, same shape.

        Raises:
            MrtransError: every error is 0, which no spread fits.
        """
        from scipy.optimize import minimize

        s2, e2 = (np.square(np.asarray(a, dtype=np.float64).ravel()) for a in (std, error))
        if not e2.any():
            raise MrtransError("No answer differs from its target, so no spread fits the errors; give other targets.")
        if not s2.any():
            return cls(floor=float(np.quantile(np.sqrt(e2), 0.9) / Z90), factor=1.0).scaled(1.0)  # to four digits

        def likelihood(logs: NDArray[np.floating]) -> float:
            variance = np.exp(logs[0]) + np.exp(logs[1]) * s2
            return float(np.mean(np.log(variance) + e2 / variance))

        start = np.log([0.5 * e2.mean() + 1e-12, 0.5 * e2.mean() / max(s2.mean(), 1e-12) + 1e-12])
        floor, factor = np.exp(minimize(likelihood, start, method="Nelder-Mead").x / 2)
        scale = np.quantile(np.sqrt(e2 / (floor**2 + factor**2 * s2)), 0.9) / Z90
        return cls(floor=floor, factor=factor).scaled(scale)

    @classmethod
    def shaped(cls, voxels: Voxels) -> SpreadCorrection:
        """With curves: at each intensity they hold as large a share of the errors as everywhere else."""
        found = cls.fit(voxels.smooth, voxels.error).model_copy(update={"blur_mm": BLUR_MM})
        for name, image in (("by_answer", voxels.answer), ("by_source", voxels.source)) * ROUNDS:
            without = found.model_copy(update={name: []})
            curve = _needed_at(image, np.abs(voxels.error) / np.maximum(without.of(voxels), 1e-6))
            found = found.model_copy(update={name: [float(f"{value:.4g}") for value in curve]})
        return found

    @classmethod
    def refitted(cls, parts: Iterable[tuple[SpreadCorrection, Voxels]]) -> list[SpreadCorrection]:
        """Each with its own curves, but with one floor and one factor, fitted anew to the voxels of all."""
        parts = list(parts)
        pairs = [(own._std(voxels), voxels.error / own.curves(voxels.answer, voxels.source)) for own, voxels in parts]
        plain = cls.fit(*(np.concatenate(values) for values in zip(*pairs, strict=True)))
        fitted = {"floor": plain.floor, "factor": plain.factor, "computed": False}
        return [own.model_copy(update=fitted) for own, _ in parts]

    def not_narrower(self, voxels: Voxels) -> SpreadCorrection:
        """The same, or scaled until it leaves the ``std`` of these as wide as they are on average."""
        return self.scaled(max(1.0, float(np.mean(voxels.std)) / max(float(self.of(voxels).mean()), 1e-12)))

    def scaled(self, by: float) -> SpreadCorrection:
        """The same, ``by`` times as wide."""
        widths = {"floor": float(f"{self.floor * by:.4g}"), "factor": float(f"{self.factor * by:.4g}")}
        return self.model_copy(update=widths)

    def _std(self, voxels: Voxels) -> NDArray[np.floating]:
        return voxels.smooth if self.blur_mm else voxels.std


def smoothed(
    std: NDArray[np.floating], inside: NDArray[np.bool_], spacing: tuple[float, float], width_mm: float = BLUR_MM
) -> NDArray[np.floating]:
    """Root of the variance averaged over Gaussian surroundings of a slice (row, column) within the head."""
    from scipy.ndimage import gaussian_filter

    widths = [width_mm / size for size in spacing]
    weight = gaussian_filter(inside.astype(np.float64), widths)
    variance = gaussian_filter(np.where(inside, np.square(std, dtype=np.float64), 0), widths)
    return np.where(inside, np.sqrt(variance / np.where(inside, weight, 1)), std)


def _at(curve: list[float], image: NDArray[np.floating]) -> NDArray[np.floating] | float:
    return np.interp(image, np.linspace(0, 1, len(curve)), curve) if curve else 1.0


def _needed_at(image: NDArray[np.floating], ratio: NDArray[np.floating]) -> NDArray[np.float64]:
    """At each point of a curve the 0.9 quantile of ``ratio`` over that of all, drawn towards 1 where few voxels are."""
    usual = float(np.quantile(ratio, 0.9))
    out = np.ones(KNOTS)
    for i, knot in enumerate(np.linspace(0, 1, KNOTS)):
        near = ratio[np.abs(image - knot) < 0.7 / (KNOTS - 1)]
        if near.size and usual > 0:
            share = near.size / (near.size + SHRINK)
            out[i] = max(float(np.quantile(near, 0.9)) / usual, 1 / MOST) ** share
    return np.clip(out, 1 / MOST, MOST)
