"""Whether a fast sampler spreads its samples as a slow reference does: all slices together, summed up and judged.

Of every slice there are the statistics of R1 and R2 from the reference and of F from the fast sampler
(:mod:`.slice_spread`). Voxels are binned by the standard deviation of R1, then F is compared with R2: R1 itself would
not do, since the luck that put a voxel into its bin would look like a difference. The same comparison of R1 with R2
tells what chance alone does at this n; there the bins are those of both halves together, which favours neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import uncertainty
from .slice_spread import INTERVALS, RINGS, SliceSpread, pooled

#: Between the bins of standard deviation.
EDGES = (0.005, 0.02, 0.05)
BIN_NAMES = ("< 0.005", "0.005-0.02", "0.02-0.05", "> 0.05")
#: Bins with fewer voxels are reported but not judged; nor is the first, whose spread is too small to matter.
JUDGED_VOXELS = 200
#: Thirds of the rings of spatial frequency.
BANDS = ("low", "middle", "high")
#: The criterion that takes three slices.
RANK = "rank correlation of slices' sigma-hat"
#: Exchanges of R1 and R2 for the noise floor, and the most voxels of a bin they look at.
EXCHANGES, FLOOR_VOXELS = 200, 100_000


@dataclass(frozen=True)
class Bin:
    """Voxels of similar standard deviation in R1; ``itself_*`` is R1 against R2.

    Attributes:
        name: Its limits.
        voxels: How many.
        ratio: Median std ratio F / R2.
        floor: See :func:`noise_floor`; chance takes the ratio down to its inverse as well.
        bias: Median of (mean of F - mean of R2) / std.
        absolute_bias: Median of its absolute value.
        itself_bias: As ``bias``.
        itself_absolute_bias: As ``absolute_bias``.
    """

    name: str
    voxels: int
    ratio: float
    floor: float
    bias: float
    absolute_bias: float
    itself_bias: float
    itself_absolute_bias: float

    @property
    def judged(self) -> bool:
        """Whether the verdict rests on it."""
        return self.name != BIN_NAMES[0] and self.voxels >= JUDGED_VOXELS


@dataclass(frozen=True)
class VolumeSpread:
    """The chosen slices of one volume; ``itself_*`` is R1 against R2.

    Attributes:
        name: Which volume.
        slices: How many.
        sigma_hat: Mean standard deviation of F over their voxels.
        ratio: The same of F over that of R2.
        itself_ratio: As ``ratio``.
        ssim: Mean 2-D structural similarity of F's mean to the target.
        difference: What that exceeds R2's by.
        itself_difference: As ``difference``.
    """

    name: str
    slices: int
    sigma_hat: float
    ratio: float
    itself_ratio: float
    ssim: float
    difference: float
    itself_difference: float


@dataclass(frozen=True)
class Criterion:
    """One condition of the verdict.

    Attributes:
        name: What is measured.
        value: F against R2; NaN if there was too little to measure.
        low: Accepted from here
        high: to here.
        itself: R1 against R2.
    """

    name: str
    value: float
    low: float
    high: float
    itself: float

    @property
    def passed(self) -> bool:
        """NaN does not."""
        return self.low <= self.value <= self.high

    @property
    def decided(self) -> bool:
        """False where the criterion fails and the reference fails it against itself, which only a larger n resolves."""
        return self.passed or self.low <= self.itself <= self.high


def bins(slices: Sequence[SliceSpread], seed: int = 0) -> list[Bin]:
    """Std ratio and bias over all slices (at least one), for each bin of standard deviation; NaN where it is empty.

    ``seed``, at least 0, is of the noise floor.
    """
    std = np.concatenate([s.std for s in slices], axis=1).astype(np.float64)
    bias = np.concatenate([s.bias for s in slices], axis=1)
    owner = np.repeat(np.arange(len(slices)), [s.std.shape[1] for s in slices])
    with np.errstate(divide="ignore", invalid="ignore"):
        fast, itself = std[2] / std[1], np.log(std[0] / std[1])
    by_first, by_both = np.digitize(std[0], EDGES), np.digitize(pooled(std), EDGES)
    rng = np.random.default_rng(seed)
    found = []
    for number, name in enumerate(BIN_NAMES):
        mine, twin = by_first == number, by_both == number
        found.append(
            Bin(
                name=name,
                voxels=int(mine.sum()),
                ratio=_median(fast[mine]),
                floor=noise_floor(itself[twin], owner[twin], rng),
                bias=_median(bias[0, mine]),
                absolute_bias=_median(np.abs(bias[0, mine])),
                itself_bias=_median(bias[1, twin]),
                itself_absolute_bias=_median(np.abs(bias[1, twin])),
            )
        )
    return found


def noise_floor(log_ratio: NDArray[np.float64], owner: NDArray[np.int_], rng: np.random.Generator) -> float:
    """The factor by which chance alone moves the median std ratio: at most this, about 95 times in 100.

    Which half is called R1 is arbitrary in every slice, so the names are exchanged at random, slice by slice; slices
    are drawn independently, voxels of a slice are not.

    Args:
        log_ratio: ln(std of R1 / std of R2), (voxels,).
        owner: Slice of each voxel, (voxels,).
        rng: Of the exchanges.

    Returns:
        At least 1; NaN where every ratio is 0 / 0.
    """
    known = ~np.isnan(log_ratio)
    log_ratio, owner = log_ratio[known], owner[known]
    if not log_ratio.size:
        return float("nan")
    thin = slice(None, None, -(-log_ratio.size // FLOOR_VOXELS))
    log_ratio, owner = log_ratio[thin], owner[thin]
    signs = rng.choice([-1.0, 1.0], (EXCHANGES, int(owner.max()) + 1))
    medians = [abs(float(np.median(log_ratio * sign[owner]))) for sign in signs]
    return float(np.exp(np.quantile(medians, 0.95)))


def volumes(slices: Sequence[SliceSpread]) -> list[VolumeSpread]:
    """σ̂ and structural similarity of each volume, over its slices; in the order in which they come."""
    out = []
    for name in dict.fromkeys(s.volume for s in slices):
        mine = [s for s in slices if s.volume == name]
        std = np.concatenate([s.std for s in mine], axis=1).mean(axis=1, dtype=np.float64)
        ssim = np.mean([s.ssim for s in mine if np.isfinite(s.ssim).all()] or [np.full(3, np.nan)], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios, gains = std / std[1], ssim - ssim[1]
        out.append(
            VolumeSpread(
                name=name,
                slices=len(mine),
                sigma_hat=float(std[2]),
                ratio=float(ratios[2]),
                itself_ratio=float(ratios[0]),
                ssim=float(ssim[2]),
                difference=float(gains[2]),
                itself_difference=float(gains[0]),
            )
        )
    return out


def rank_correlation(sigma_hats: NDArray[np.float64]) -> tuple[float, float]:
    """Spearman's ρ of F with R2, and of R1 with R2, over σ̂ (count, 3) of R1, R2 and F; NaN for fewer than 3."""
    if len(sigma_hats) < 3:
        return float("nan"), float("nan")
    first, second, fast = sigma_hats.T
    return uncertainty.rank_correlation(fast, second), uncertainty.rank_correlation(first, second)


def spectrum_ratio(slices: Sequence[SliceSpread], parts: int = RINGS) -> NDArray[np.float64]:
    """Power of F and of R1 over that of R2 in equal parts of the frequency axis: (2, parts), low to high.

    ``parts`` divides :data:`~.slice_spread.RINGS`. NaN where a part holds no frequency of these slices.
    """
    total = np.sum([s.power for s in slices], axis=0).reshape(3, parts, -1).sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total[[2, 0]] / total[1])


def criteria(found: Sequence[Bin], of_volumes: Sequence[VolumeSpread], rho: tuple[float, float]) -> list[Criterion]:
    """The conditions under which the fast sampler's spread is accepted, each with its value.

    They need at least one volume; ``rho`` is the rank correlation of the slices (:func:`rank_correlation`).
    """
    judged = [b for b in found if b.judged]
    nothing = float("nan")
    out = [Criterion(f"median std ratio, std {b.name}", b.ratio, 0.9, 1.1, b.floor) for b in judged]
    if not judged:
        out.append(Criterion(f"median std ratio, {JUDGED_VOXELS} voxels", nothing, 0.9, 1.1, nothing))
    bias = _farthest([b.bias for b in judged], 0), _farthest([b.itself_bias for b in judged], 0)
    ratio = _farthest([v.ratio for v in of_volumes], 1), _farthest([v.itself_ratio for v in of_volumes], 1)
    gain = [float(np.mean(g)) for g in zip(*((v.difference, v.itself_difference) for v in of_volumes), strict=True)]
    return [
        *out,
        Criterion("median bias / std, worst bin", bias[0], -0.1, 0.1, bias[1]),
        Criterion("sigma-hat ratio, worst volume", ratio[0], 0.95, 1.05, ratio[1]),
        Criterion(RANK, rho[0], 0.98, 1.0, rho[1]),
        Criterion("SSIM of the mean, difference", gain[0], -0.001, 0.001, gain[1]),
    ]


def summary(slices: Sequence[SliceSpread], seed: int = 0) -> dict[str, Any]:
    """All of it, ready for JSON (None = not measured); ``itself`` is R1 against R2.

    There is at least one slice; ``seed``, at least 0, is of the noise floor.
    """
    found, of_volumes = bins(slices, seed), volumes(slices)
    hats = np.array([s.std.mean(axis=1, dtype=np.float64) for s in slices])
    rows = [np.average(hats[[s.volume == v.name for s in slices]], axis=0,
                       weights=[s.std.shape[1] for s in slices if s.volume == v.name]) for v in of_volumes]  # fmt: skip
    rho = rank_correlation(hats)
    conditions = criteria(found, of_volumes, rho)
    coverage = np.average([s.coverage for s in slices], axis=0, weights=[s.std.shape[1] for s in slices])
    spectra = {"rings": spectrum_ratio(slices), "bands": spectrum_ratio(slices, len(BANDS))}
    return _plain(
        {
            "accepted": all(c.passed for c in conditions),
            "criteria": [{**asdict(c), "passed": c.passed, "decided": c.decided} for c in conditions],
            "bins": [{**asdict(b), "judged": b.judged} for b in found],
            "volumes": [asdict(v) for v in of_volumes],
            "rank_correlation": {
                "slices": dict(zip(("value", "itself"), rho, strict=True)),
                "volumes": dict(zip(("value", "itself"), rank_correlation(np.array(rows)), strict=True)),
            },
            "coverage": [
                {"nominal": width, "value": of_fast, "itself": of_second}
                for width, of_fast, of_second in zip(INTERVALS, *coverage, strict=True)
            ],
            "spectrum": {key: dict(zip(("value", "itself"), a, strict=True)) for key, a in spectra.items()},
            "slices": [
                {
                    "volume": s.volume,
                    "index": s.index,
                    "voxels": s.std.shape[1],
                    **dict(zip(("sigma_hat_r1", "sigma_hat_r2", "sigma_hat"), hat, strict=True)),
                }
                for s, hat in zip(slices, hats, strict=True)
            ],
        }
    )


def _median(values: NDArray[np.floating]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def _farthest(values: Sequence[float], centre: float) -> float:
    """The value farthest from ``centre``; NaN if any is unknown."""
    return max(values, key=lambda v: float("inf") if np.isnan(v) else abs(v - centre), default=float("nan"))


def _plain(value: Any) -> Any:
    """Without numpy and without NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return value
