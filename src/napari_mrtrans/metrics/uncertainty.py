"""Whether the spread of samples tells where the answer errs, and what the samples are worth as a whole.

Maps are of any shape and one unit; all are looked at inside a mask, but for what is masked of a masked array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.masked import is_masked, unmarked, unmasked


def rank_correlation(score: NDArray, error: NDArray, mask: NDArray[np.bool_] | None = None) -> float:
    """Spearman's rank correlation of a map with the size of the error, in [-1, 1]; NaN where one of them is constant.

    Args:
        score: What claims to know, say the standard deviation.
        error: Absolute or signed; its magnitude counts.
        mask: The voxels that count; None = all.

    Raises:
        MrtransError: shapes differ, fewer than 2 voxels, or a value inside the mask is NaN or infinite.
    """
    from scipy.stats import rankdata

    values, wrong = _inside(score, error, np.ones(np.shape(error), dtype=bool) if mask is None else mask)
    first, second = rankdata(values), rankdata(np.abs(wrong))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def rank_of_intensity(answer: NDArray, source: NDArray, error: NDArray, mask: NDArray[np.bool_] | None = None) -> float:
    """What a spread has to beat: the rank correlation of the error's size with plain intensity, of the answer or of the
    source, whichever is the closer relation, either sign; NaN where both are constant. Arguments and errors as of
    :func:`rank_correlation`.
    """
    found = [abs(rank_correlation(image, error, mask)) for image in (answer, source)]
    return max((rank for rank in found if np.isfinite(rank)), default=float("nan"))


def sparsification_error(score: NDArray, error: NDArray, mask: NDArray[np.bool_]) -> float:
    """Area under the sparsification error curve (AUSE; Ilg et al. 2018): 0 = as the errors themselves, 1 = at random.

    The voxels of the largest score are taken away one after the other, and the root mean square error of those that are
    left is averaged over the fraction taken away. The oracle takes away the largest errors. Given is
    (area - oracle's) / (area of a random order - oracle's); above 1, the score is worse than chance. Voxels of one
    score go together. NaN where all errors are of one size.

    Args and Raises: as :func:`rank_correlation`.
    """
    values, wrong = _inside(score, error, mask)
    squares = np.square(wrong)
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    tied = np.bincount(group, squares) / counts  # of a random order among equals
    mine, best = _area(np.repeat(tied, counts)), _area(np.sort(squares))
    chance = float(np.sqrt(squares.mean()))
    return (mine - best) / (chance - best) if chance > best * (1 + 1e-9) else float("nan")


def _area(squares: NDArray[np.float64]) -> float:
    """Mean root mean square of the first 1, 2, … of squared errors, ascending by the score."""
    return float(np.sqrt(np.cumsum(squares) / np.arange(1, len(squares) + 1)).mean())


def crps(samples: NDArray, truth: NDArray, mask: NDArray[np.bool_], strata: Sequence[Hashable] | None = None) -> float:
    """Continuous ranked probability score, mean over voxels, in the images' unit; less is better.

    E|X - y| - E|X - X'| / 2, the second mean over pairs of different samples ("fair": Ferro 2014), so that it does not
    depend on how many there are. Of a point forecast it is the mean absolute error.

    Args:
        samples: (n, ...), n at least 2, independent: of antithetic pairs one each.
        truth: (...).
        mask: (...), the voxels that count.
        strata: By what each sample was drawn, where several draw so many each; default: all by one. X and X' come from
            the same of them by chance, and different samples do so less often than that.

    Raises:
        MrtransError: fewer than 2 samples of one, or as :func:`rank_correlation`.
    """
    n = len(samples)
    strata = [0] * n if strata is None else strata
    counts = Counter(strata)
    if (fewest := min(counts.values(), default=0)) < 2:
        raise MrtransError(f"The CRPS needs at least 2 independent samples of each that draws some; got {fewest}.")
    total = 0.0
    mask = unmarked(mask) & ~is_masked(truth) & ~np.atleast_1d(is_masked(samples)).any(axis=0)
    for drawn in samples:
        a, b = _inside(drawn, truth, mask)
        total += float(np.abs(a - b).mean()) / n
    inside = unmasked(samples)[:, mask]
    alike = {who: _apart(inside[[other == who for other in strata]]) for who in counts}
    across = _apart(inside) - sum(alike.values()) if len(counts) > 1 else 0.0
    apart = across + sum(alike[who] * count / (count - 1) for who, count in counts.items())
    return total - apart / n**2


def _apart(samples: NDArray) -> float:
    """Sum over pairs of samples (n, voxels) of their mean distance."""
    n = len(samples)
    weights = 2 * np.arange(n) - n + 1  # Σ_{i<j} |x_i - x_j| = Σ_i (2i - n + 1) x_(i)
    return float(np.tensordot(weights, np.sort(samples, axis=0).mean(axis=1, dtype=np.float64), 1))


def gradient(image: NDArray, axis: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> NDArray[np.float64]:
    """Magnitude of the in-plane gradient of a 3-D image, central differences, per mm.

    Args:
        image: 3-D.
        axis: Across the slices.
        spacing: Of the array's axes, in mm.
    """
    plane = [a for a in range(3) if a != axis]
    parts = np.gradient(image.astype(np.float64), *(spacing[a] for a in plane), axis=plane)
    return np.asarray(np.hypot(*parts))


def _inside(a: NDArray, b: NDArray, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The voxels of both."""
    if not a.shape == b.shape == mask.shape:
        raise MrtransError(f"Maps {a.shape} and {b.shape} and their mask {mask.shape} have different shapes.")
    chosen = unmarked(mask) & ~is_masked(a) & ~is_masked(b)
    first, second = (unmasked(image)[chosen].astype(np.float64) for image in (a, b))
    if len(first) < 2:
        raise MrtransError(f"The mask holds {len(first)} voxels; at least 2 are needed.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise MrtransError("A map holds NaN or infinite voxels inside the mask; leave them out of the mask.")
    return first, second
