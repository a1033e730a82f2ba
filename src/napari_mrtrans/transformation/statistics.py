"""What an ensemble's samples say beyond mean and standard deviation: outliers, cumulants, normality, effect of n.

Paper, "Evaluation of mean and standard deviation images" and "Evaluation metrics and statistical measures".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..metrics.similarity import WINDOW, psnr, ssim


class Repaired(NamedTuple):
    """A slice without its outliers: mean and standard deviation (H, W), and where they were replaced."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    flagged: NDArray[np.bool_]


def repair_outliers(
    mean: NDArray[np.floating],
    std: NDArray[np.floating],
    samples: NDArray[np.floating],
    mask: NDArray[np.bool_],
    *,
    threshold: float = 6.0,
    min_std: float = 0.05,
) -> Repaired:
    """Replace isolated outliers by robust statistics of the same samples.

    With r = std - (its median over 5² pixels), a pixel is an outlier where r > ``threshold`` · 1.4826 · MAD(r) and
    std > ``min_std``; its mean becomes the samples' median, its std 1.4826 times their median absolute deviation.
    The paper looks for outliers in the std image and replaces them so, but gives no threshold: that is ours. Medians
    run over the head alone, so that the zeros around it make no outliers of its rim.

    Args:
        mean: (H, W), [0, 1].
        std: As ``mean``.
        samples: (n, H, W), as ``mean``.
        mask: (H, W), the head.
        threshold: In robust standard deviations of r.
        min_std: In the units of ``std``.
    """
    from scipy.stats import median_abs_deviation

    around = np.pad(np.where(mask, std, np.nan), 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(around, (5, 5))[mask]
    flagged = np.zeros(mask.shape, dtype=bool)
    if len(windows):
        excess = std[mask] - np.nanmedian(windows, axis=(1, 2))
        flagged[mask] = (excess > threshold * median_abs_deviation(excess, scale="normal")) & (std[mask] > min_std)
    repaired = Repaired(np.array(mean, dtype=np.float64), np.array(std, dtype=np.float64), flagged)
    if flagged.any():
        repaired.mean[flagged] = np.median(samples[:, flagged], axis=0)
        repaired.std[flagged] = median_abs_deviation(samples[:, flagged], axis=0, scale="normal")
    return repaired


def cumulants(samples: NDArray, *, unbiased: bool = False) -> NDArray[np.float64]:
    """The first four cumulants κ1 to κ4 of each pixel's samples (paper, Eq. 17), shape (4, ...).

    Args:
        samples: (n, ...), independent: of antithetic pairs one each, else the odd cumulants vanish.
        unbiased: Fisher's k-statistics; else moments with divisor n, as in the paper:
            mean, m2, m3 and m4 - 3 m2², where m_k is the mean of (sample - mean)^k. Of a single sample κ2 to κ4 are
            NaN: it has no spread.

    Raises:
        MrtransError: fewer than 4 samples for k-statistics.
    """
    from scipy.stats import kstat

    samples = np.asarray(samples, dtype=np.float64)
    if not unbiased:
        mean = samples.mean(axis=0)
        m2, m3, m4 = (((samples - mean) ** order).mean(axis=0) for order in (2, 3, 4))
        found = np.stack([mean, m2, m3, m4 - 3 * m2**2])
        if len(samples) < 2:
            found[1:] = np.nan
        return found
    if len(samples) < 4:
        raise MrtransError(f"Unbiased cumulants need at least 4 samples; got {len(samples)}.")
    return np.stack([kstat(samples, order, axis=0) for order in (1, 2, 3, 4)])


def normality(samples: NDArray, mask: NDArray[np.bool_], alpha: float = 0.05, *, chunk: int = 4096) -> float:
    """Share of head voxels whose samples pass for normal: p of the Shapiro-Wilk test above ``alpha``.

    Of truly normal samples, 1 - ``alpha`` pass. Voxels with a standard deviation up to 1e-6 are left out, as the test
    calls constants normal; NaN where none is left.

    Args:
        samples: (n, ...), n at least 3; independent, so of antithetic pairs one each.
        mask: (...), the head.
        alpha: Level of significance.
        chunk: Voxels at once, which bounds the memory.

    Raises:
        MrtransError: fewer than 3 samples.
    """
    from scipy.stats import shapiro

    if len(samples) < 3:
        raise MrtransError(f"The Shapiro-Wilk test needs at least 3 samples; got {len(samples)}.")
    flat, inside = samples.reshape(len(samples), -1), np.flatnonzero(mask)
    passed = tested = 0
    for first in range(0, len(inside), chunk):
        part = flat[:, inside[first : first + chunk]].astype(np.float64)
        part = part[:, part.std(axis=0) > 1e-6]
        tested += part.shape[1]
        if part.size:
            passed += int((shapiro(part, axis=0).pvalue > alpha).sum())
    return passed / tested if tested else float("nan")


@dataclass(frozen=True)
class EffectOfN:
    """The mean of the first ``n`` samples against the target, and the samples' cumulants.

    Attributes:
        n: Number of samples.
        psnr: In dB, over the head.
        ssim: Over the head; NaN where the volumes are thinner than its window.
        cumulants: κ1 to κ4, mean over the head; of a single sample, κ2 to κ4 are NaN.
    """

    n: int
    psnr: float
    ssim: float
    cumulants: tuple[float, float, float, float]


def effect_of_n(
    samples: NDArray,
    target: NDArray,
    mask: NDArray[np.bool_],
    counts: Sequence[int] = (1, 2, 5, 10, 20, 50),
) -> list[EffectOfN]:
    """How the answer changes with the number of samples, for each of ``counts`` that there are samples for.

    Args:
        samples: (n, ...), [0, 1].
        target: (...), [0, 1].
        mask: (...), the head.
        counts: Numbers of samples, each at least 1.

    Raises:
        MrtransError: shapes differ or the mask is empty.
    """
    thick = target.ndim == 3 and min(target.shape) >= WINDOW
    rows = []
    for n in (count for count in counts if count <= len(samples)):
        mean = samples[:n].mean(axis=0, dtype=np.float64)
        ratio, similarity = psnr(mean, target, mask), ssim(mean, target, mask) if thick else float("nan")
        k1, k2, k3, k4 = cumulants(samples[:n, mask]).mean(axis=1).tolist()
        rows.append(EffectOfN(n, ratio, similarity, (k1, k2, k3, k4)))
    return rows
