"""Which of several methods is best, and how sure a mean is (paper, "Results"; intervals over subjects besides)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

ALPHA = 0.05
#: With fewer pairs no order of them is rarer than ALPHA: the smallest one-sided p of the signed-rank test is 2^-n.
FEWEST = 5
RESAMPLES = 2000
#: Of fewer subjects a percentile bootstrap is too narrow (of four, four in five such intervals hold the mean).
MANY = 20


def better(first: ArrayLike, second: ArrayLike) -> float:
    """p of the one-sided Wilcoxon signed-rank test that ``first`` is larger than ``second``, subject by subject."""
    from scipy.stats import wilcoxon

    difference = np.subtract(first, second)
    return float(wilcoxon(difference, alternative="greater").pvalue) if difference.any() else 1.0


def best(values: Mapping[str, Sequence[float]], *, smaller: bool = False) -> set[str]:
    """Methods that no other is significantly better than (p < 0.05, uncorrected, as the paper); several may be.

    Args:
        values: Of each method, the same subjects in the same order.
        smaller: Smaller values are better.

    Returns:
        Empty where nothing can be told: fewer than :data:`FEWEST` subjects or fewer than two methods.
    """
    if len(values) < 2 or len(next(iter(values.values()))) < FEWEST:
        return set()
    sign = -1 if smaller else 1
    signed = {name: sign * np.asarray(mine) for name, mine in values.items()}
    beaten = {name for name in signed if any(better(signed[o], signed[name]) < ALPHA for o in signed if o != name)}
    return set(signed) - beaten


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean over subjects: Student's t, from :data:`MANY` on bootstrap percentiles; None for a
    single one."""
    from scipy.stats import bootstrap, t

    if len(values) < 2:
        return None
    if len(values) < MANY:
        wide = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
        return float(np.mean(values) - wide), float(np.mean(values) + wide)
    rng = np.random.default_rng(0)
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=rng).confidence_interval
    return float(found.low), float(found.high)
