"""The noise that samples start from: a function of seed and sample alone, the same on every device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..scan.framing import Box


def unit_noise(shape: tuple[int, ...], seed: int, sample: int, *step: int) -> NDArray[np.float32]:
    """Standard normal noise of one sample, the same for all slices and devices.

    (rows, columns) that it starts from or, with a ``step`` from 1, that a stochastic sampler adds there; or its latent
    vector (length,). An odd sample's is the negative of that of the sample before it (antithetic variates, Hammersley &
    Morton 1956): each of the two is a sample like any other, and what is odd in the noise cancels in their mean, above
    all the brightness of the whole brain.
    """
    noise = np.random.default_rng([seed, sample - sample % 2, *step]).standard_normal(shape, dtype=np.float32)
    return -noise if sample % 2 else noise


def framed_noise(
    shape: tuple[int, int], seed: int, samples: Sequence[int], boxes: Sequence[Box], *step: int
) -> NDArray[np.float32]:
    """The part of each sample's noise on a grid of ``shape`` in each slice's box: (slices, samples, rows, columns)."""
    sheets = [unit_noise(shape, seed, sample, *step) for sample in samples]
    return np.stack([[sheet[box] for sheet in sheets] for box in boxes])
