"""Quality features of a source slice: noise, spectrum, bias, symmetry and shape in a few numbers.

In the manner of the no-reference image-quality metrics of structural MR (MRIQC: Esteban et al. 2017,
doi:10.1371/journal.pone.0184661). :mod:`napari_mrtrans.ood.score` compares them with those of the training scans.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Slices with less head than this share of the largest slice are too small to tell anything.
MIN_AREA = 0.25

_QUANTILES = (0.02, 0.1, 0.25, 0.75, 0.9, 0.98)
_SCALES = (1, 2, 4, 8)

#: What the numbers of :func:`features` are, in their order.
NAMES: tuple[str, ...] = (
    *(f"intensity quantile {q:g}" for q in _QUANTILES),
    "median Laplacian",
    "std of Laplacian",
    *(f"band of {s} pixels" for s in _SCALES),
    "row gradient",
    "column gradient",
    "row difference",
    "column difference",
    "middle frequencies, peak",
    "middle frequencies, sum",
    "high frequencies, peak",
    "high frequencies, sum",
    "area",
    "elongation",
    "tilt",
    "left-right overlap",
    "left-right correlation",
    "left-right difference",
    *(f"trend {term}" for term in ("row", "column", "row²", "column²", "row·column")),
    "share of variance in the trend",
)


def features(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """The quality features of one slice, shape (``len(NAMES)``,).

    Args:
        image: (row, column) on the model's grid, normalised to [0, 1], 0 outside the head; columns run left to right.
    """
    from scipy import ndimage

    head = image > 0
    if head.sum() < 50:
        return np.full(len(NAMES), np.nan)
    inner = ndimage.binary_erosion(head, iterations=2)
    inner = inner if inner.sum() >= 50 else head
    values = image[head].astype(np.float64)
    laplacian = ndimage.laplace(image)
    blurred = {s: ndimage.gaussian_filter(image, s) for s in (*_SCALES, 2 * _SCALES[-1])}
    return np.array(
        [
            *np.quantile(values, _QUANTILES),
            _log(np.median(np.abs(laplacian[inner])), 1e-3),
            _log(laplacian[inner].std(), 1e-3),
            *(_log((blurred[s] - blurred[2 * s])[inner].std()) for s in _SCALES),
            *(_log(np.abs(ndimage.sobel(blurred[1], axis)[inner]).mean()) for axis in (0, 1)),
            *(_log(np.abs(np.diff(image, axis=axis)).mean()) for axis in (0, 1)),
            *_spectrum((image - values.mean()) * inner),
            *_shape(head),
            *_symmetry(image, head),
            *_trend(values, head),
        ]
    )


def _log(value: float, floor: float = 1e-4) -> float:
    return float(np.log(floor + value))


def _spectrum(image: NDArray[np.floating]) -> list[float]:
    """Peak over median and share of the amplitude, in a middle and a high ring of frequencies (cycles per pixel).

    Regular patterns (radio-frequency spikes, ghosts) are peaks; noise and blur change the share.
    """
    amplitude = np.abs(np.fft.fft2(image))
    radius = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None])
    out = []
    for ring in ((radius > 0.08) & (radius <= 0.25), radius > 0.25):
        part = amplitude[ring]
        out += [_log(part.max() / (np.median(part) + 1e-12)), _log(part.sum() / (amplitude.sum() + 1e-12))]
    return out


def _shape(head: NDArray[np.bool_]) -> list[float]:
    """Log area, log ratio of the axes, and correlation of rows with columns (0 for an upright head)."""
    covariance = np.cov(np.stack(np.nonzero(head)))
    small, large = np.maximum(np.linalg.eigvalsh(covariance), 1e-6)
    tilt = covariance[0, 1] / np.sqrt(max(covariance[0, 0] * covariance[1, 1], 1e-12))
    return [_log(head.sum()), 0.5 * float(np.log(large / small)), float(tilt)]


def _symmetry(image: NDArray[np.floating], head: NDArray[np.bool_]) -> list[float]:
    """Overlap, correlation and difference of brightness of the two sides of the head's middle column."""
    middle = round(float(np.nonzero(head)[1].mean()))
    width = max(1, min(middle, head.shape[1] - middle))
    left, right = slice(middle - width, middle), slice(middle, middle + width)
    heads = head[:, left], head[:, right][:, ::-1]
    images = image[:, left], image[:, right][:, ::-1]
    both = heads[0] & heads[1]
    overlap = both.sum() / max(1, (heads[0] | heads[1]).sum())
    first, second = (side[both] for side in images)
    varied = both.sum() > 50 and first.std() > 0 and second.std() > 0
    correlation = float(np.corrcoef(first, second)[0, 1]) if varied else 0.0
    medians = [
        float(np.median(side[inside])) if inside.any() else 0.0 for side, inside in zip(images, heads, strict=True)
    ]
    return [float(overlap), correlation, _log(abs(medians[0] - medians[1]), 1e-3)]


def _trend(values: NDArray[np.float64], head: NDArray[np.bool_]) -> list[float]:
    """A second-order polynomial of the position fitted to the intensities, and the share of variance it explains."""
    rows, columns = ((c - c.mean()) / size for c, size in zip(np.nonzero(head), head.shape, strict=True))
    terms = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], axis=1)
    fit = np.linalg.lstsq(terms, values, rcond=None)[0]
    total = float(np.square(values - values.mean()).sum())
    left = float(np.square(values - terms @ fit).sum())
    return [*map(float, fit[1:]), 1 - left / total if total > 0 else 0.0]
