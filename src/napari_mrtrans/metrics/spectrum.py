"""How the power of the samples' deviations compares with that of the errors, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError

#: Bands of in-plane wavelength in mm, (shortest, longest): coarse, middle and fine.
BANDS = ((16.0, np.inf), (4.0, 16.0), (0.0, 4.0))
#: The head's edge is faded over this many mm before the Fourier transform, lest its step spills over all frequencies.
FADE = 8.0


def band_power(
    images: NDArray, mask: NDArray[np.bool_], axis: int, spacing: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Power of 3-D images in each of :data:`BANDS`, summed over their slices and images; shape (3,).

    Args:
        images: (n, i, j, k); 0 counts outside the mask.
        mask: (i, j, k), the head.
        axis: Array axis across the slices, 0 to 2.
        spacing: Of the array's axes, in mm.
    """
    from scipy.fft import fft2
    from scipy.ndimage import distance_transform_edt

    sizes = [spacing[a] for a in range(3) if a != axis]
    planes = np.moveaxis(mask, axis, 0)
    shape = planes.shape[1:]
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, shape, sizes), indexing="ij"))
    # of each frequency the number of its band; a wavelength on a border belongs to the finer one
    band = np.digitize(frequency, [1 / BANDS[0][0], 1 / BANDS[1][0]]).ravel()
    power = np.zeros(len(BANDS))
    for index, inside in enumerate(planes):
        if not inside.any():
            continue
        depth = distance_transform_edt(np.pad(inside, 1), sampling=sizes)[1:-1, 1:-1]
        fade = (np.sin(np.pi / 2 * np.clip(depth / FADE, 0, 1)) ** 2).astype(np.float32)
        for image in np.moveaxis(images, axis + 1, 1)[:, index]:
            spectrum = np.square(np.abs(fft2(np.where(inside, image, 0) * fade))).ravel()
            power += np.bincount(band, spectrum, len(BANDS))
    return power / np.prod(shape)  # so that all bands together are the sum of squares (Parseval)


def band_ratios(
    samples: NDArray,
    truth: NDArray,
    mask: NDArray[np.bool_],
    axis: int,
    spacing: tuple[float, float, float],
    strata: Sequence[str] = (),
) -> list[float]:
    """Power of (sample - mean) over that of (truth - mean) in each of :data:`BANDS`; 1 = as wide as the errors.

    Below 1, samples are too much alike there; above, too different. The mean is of the samples given, and varies with
    them: by V / n for n draws of variance V, by the sum of (n_s / n)² V_s / n_s where fixed shares n_s of them were
    drawn from several models of variances V_s. That is added to the power of the deviations and taken from that of the
    error, so that samples of the truth's own distribution give 1 for every n. NaN where the truth has no error in a
    band.

    Args:
        samples: (n, i, j, k), n at least 2, independent: of antithetic pairs one each.
        truth: (i, j, k).
        mask: As ``truth``, the head.
        axis: Array axis across the slices, 0 to 2.
        spacing: Of the array's axes, in mm.
        strata: Who drew each sample, of a pool; default: one model all.

    Raises:
        MrtransError: fewer than 2 samples, or of one of the models.
    """
    n = len(samples)
    drawn_by = np.asarray(strata or [""] * n)
    fewest = min((int((drawn_by == who).sum()) for who in {*drawn_by.tolist()}), default=0)
    if fewest < 2:
        raise MrtransError(f"Powers of deviations need at least 2 independent samples; got {fewest}.")

    def power(some: NDArray) -> NDArray[np.float64]:
        """Summed squares about their mean."""
        mean = some.mean(axis=0, dtype=np.float32)
        return np.sum([band_power((drawn - mean)[None], mask, axis, spacing) for drawn in some], axis=0)

    error = band_power((truth - samples.mean(axis=0, dtype=np.float32))[None], mask, axis, spacing)
    parts = [samples[drawn_by == who] for who in dict.fromkeys(drawn_by.tolist())]
    of_mean = np.sum([power(part) / (len(part) - 1) * len(part) for part in parts], axis=0) / n**2
    spread, error = power(samples) / n + of_mean, error - of_mean
    ratios = np.divide(spread, error, out=np.full(len(BANDS), np.nan), where=error > 0)
    return [float(ratio) for ratio in ratios]
