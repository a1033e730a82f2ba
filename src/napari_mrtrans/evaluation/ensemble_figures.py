"""What a method's answer tells about its own errors: the figures of :class:`.Row` that are not similarities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.pool import drawn_by, members_of
from ..metrics.coverage import calibration_error, coverage, pit
from ..metrics.spectrum import band_ratios
from ..metrics.uncertainty import crps, gradient, rank_correlation, rank_of_intensity, sparsification_error
from ..transformation.statistics import effect_of_n, normality
from .row import COUNTS

#: Most head voxels that the coverage and the test of normality look at.
PIT_VOXELS, NORMALITY_VOXELS = 200_000, 20_000


@dataclass(frozen=True)
class Answer:
    """One method's answer and what it is held against; arrays in [0, 1] of one shape, 0 outside the head.

    Attributes:
        prediction: The mean of the samples, or the only answer.
        samples: (n, ...), or None.
        source: The image that was transformed.
        truth: The acquired target.
        inside: The head of both.
        axis: Across the slices.
        spacing: Of the array's axes, in mm.
        antithetic: Samples come in pairs of opposite noise.
        calibrated: The corrected standard deviation, or None.
        drawn_by: What drew each sample (:func:`strata`); default: one model all.
    """

    prediction: NDArray
    samples: NDArray[np.float32] | None
    source: NDArray
    truth: NDArray
    inside: NDArray[np.bool_]
    axis: int
    spacing: tuple[float, float, float]
    antithetic: bool = True
    calibrated: NDArray[np.float32] | None = None
    drawn_by: Sequence[str] = ()

    @property
    def independent(self) -> NDArray[np.float32] | None:
        """Of the samples those that know nothing of each other."""
        if self.samples is None:
            return None
        return self.samples[::2] if self.antithetic else self.samples

    @property
    def drawers(self) -> Sequence[str]:
        """Who drew each of the samples."""
        return self.drawn_by or [""] * (0 if self.samples is None else len(self.samples))


def strata(checkpoint: Checkpoint, n: int, antithetic: bool) -> list[str]:
    """What each of ``n`` samples was drawn by, so many each in place of as many as chance would have.

    The name of the model and, where two independent ones of either are there of every model, the side of the slice
    (:func:`~napari_mrtrans.models.drawing.mirrored`).
    """
    from ..models.drawing import mirrored

    names = drawn_by(checkpoint, n)
    both = {member.name for member in members_of(checkpoint) if member.card.sampler.mirror}
    sides = [f"{name}, mirrored" if name in both and mirrored(k) else name for k, name in enumerate(names)]
    independent = Counter(sides[::2] if antithetic else sides)
    expected = {*names, *(f"{name}, mirrored" for name in both)}
    return sides if min(independent[one] for one in expected) > 1 else names


def one_of_each(samples: NDArray, axis: int, antithetic: bool) -> NDArray:
    """A volume of single samples, the independent ones in turn from slice to slice: of a pool, those of all members."""
    apart = samples[::2] if antithetic else samples
    planes = np.moveaxis(apart, axis + 1, 1)
    chosen = planes[np.arange(planes.shape[1]) % len(apart), np.arange(planes.shape[1])]
    return np.moveaxis(chosen, 0, axis)


def of_errors(answer: Answer) -> dict[str, Any]:
    """What the errors are, and how well plain maps tell where they are."""
    error = answer.prediction - answer.truth
    steep = gradient(answer.prediction, answer.axis, answer.spacing)
    return {
        "mae": float(np.abs(error[answer.inside]).mean()),
        "rank_intensity": known(rank_of_intensity(answer.prediction, answer.source, error, answer.inside)),
        "rank_gradient": known(abs(rank_correlation(steep, error, answer.inside))),
    }


def of_samples(answer: Answer, seed: int) -> dict[str, Any]:
    """What the samples tell beyond their mean; nothing without them. Figures that they are too few for are None.

    Args:
        answer: Of which the samples are.
        seed: Of the voxels and draws.
    """
    samples, independent = answer.samples, answer.independent
    if samples is None or independent is None:
        return {}
    lacking = too_few_for(answer.drawers, answer.antithetic)
    strata = answer.drawers[::2] if answer.antithetic else answer.drawers
    rng, inside, truth = np.random.default_rng(seed), answer.inside, answer.truth
    error, std, shown = answer.prediction - truth, samples.std(axis=0), answer.calibrated
    some = rng.permutation(np.flatnonzero(inside))[:PIT_VOXELS]
    flat = independent.reshape(len(independent), -1)
    covered = None if "coverage" in lacking else coverage(pit(flat[:, some], truth.ravel()[some], rng))
    few = flat[:, some[:NORMALITY_VOXELS]]
    normal = np.nan if "normal voxels" in lacking else normality(few, np.ones(few.shape[1], dtype=bool))
    means = effect_of_n(independent, truth, inside, COUNTS)
    sparse = None if "sparsification error" in lacking else sparsification_error(std, error, inside)
    bands = None
    if "power in bands" not in lacking:
        bands = band_ratios(independent, truth, inside, answer.axis, answer.spacing, strata)
    return {
        "coverage": covered,
        "calibration_error": None if covered is None else calibration_error(covered),
        "normal_share": known(normal),
        "psnr_of_n": [mean.psnr for mean in means],
        "ssim_of_n": [mean.ssim for mean in means],
        **{f"kappa{k + 1}_of_n": [known(mean.cumulants[k]) for mean in means] for k in range(4)},
        "rank_std": known(rank_correlation(std, error, inside)),
        "rank_calibrated": None if shown is None else known(rank_correlation(shown, error, inside)),
        "sparsification": None if sparse is None else known(sparse),
        "crps": None if "CRPS" in lacking else crps(independent, truth, inside, strata),
        "band_ratios": None if bands is None else [known(ratio) for ratio in bands],
    }


def too_few_for(drawers: Sequence[str], antithetic: bool) -> list[str]:
    """The figures, in the report's words, that :func:`of_samples` does not give of so few samples.

    Args:
        drawers: The name of the model that drew each sample; at least one.
        antithetic: Samples come in pairs of opposite noise.
    """
    independent = drawers[::2] if antithetic else drawers
    lacking = []
    if len(drawers) < 2:
        lacking += ["mean std / RMSE", "std ~ |error|", "sparsification error"]
    if len(independent) < 2:  # one rank among two places is uniform whatever the model: it would call all calibrated
        lacking += ["coverage", "calibration error", "κ2 to κ4"]
    if len(independent) < 3:
        lacking.append("normal voxels")
    if min(Counter(independent).values()) < 2:
        lacking += ["CRPS", "power in bands"]
    return lacking


def known(value: float) -> float | None:
    """The value, None where it is NaN, which JSON does not know."""
    return float(value) if np.isfinite(value) else None
