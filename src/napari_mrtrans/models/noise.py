"""The noise that samples start from: a function of seed, sample, place and family, the same on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..scan.framing import Box

#: Slices this far apart, in mm, share at most one of the sheets of noise that theirs are mixed of, twice as far none.
REACH = 16.0


@dataclass(frozen=True)
class Noise:
    """Standard normal noise of every sample and slice.

    The noise of a slice is mixed of two sheets, of the planes below and above it that lie :data:`REACH` mm apart:
    cos(φ) below + sin(φ) above, φ from 0 to π/2 between the planes. So neighbouring slices of a sample are alike, as a
    volume's should be (correlation cos(π/2 · distance / REACH) between two planes), those farther apart are draws of
    their own, and their statistics, above all σ̂, average out over a volume.

    An odd sample's noise is the negative of that of the sample before it (antithetic variates, Hammersley & Morton
    1956): each of the two is a sample like any other, and what is odd in the noise cancels in their mean, above all the
    brightness of the whole brain. Even samples are the same either way.

    Deterministic samplers of networks that have learned one distribution take one noise to nearly one image (Zhang et
    al. 2023, arXiv 2310.05264). So each family draws from a stream of its own: where samples of two models agree, it is
    not because they started from the same noise.

    Attributes:
        seed: At least 0.
        antithetic: Pairs as above; else all samples are independent, as the paper's.
        stream: :attr:`~.base.Model.stream`; 0 gives what seeds gave before there were streams.
        turned: Slices are mirror images, their columns the other way round, and so are the boxes of noise: the same
            noise stays at the same place in the head, wherever the box of a slice lies.
    """

    seed: int
    antithetic: bool = True
    stream: int = 0
    turned: bool = False

    def of(self, shape: tuple[int, ...], sample: int, position: float, step: int = 0) -> NDArray[np.float32]:
        """(rows, columns) that a sample starts from, or its latent vector (length,).

        Args:
            shape: Of the noise.
            sample: Its number.
            position: Of the slice along the axis across the slices, in mm, at least 0.
            step: From 1: what a stochastic sampler adds there.
        """
        paired = self.antithetic and sample % 2 == 1
        below, rest = divmod(position, REACH)
        angle = np.pi / 2 * rest / REACH
        own = (self.stream,) if self.stream else ()
        first, second = (_sheet(shape, self.seed, sample - paired, int(below) + i, step, *own) for i in (0, 1))
        mixed = np.float32(np.cos(angle)) * first + np.float32(np.sin(angle)) * second
        return -mixed if paired else mixed

    def framed(
        self,
        shape: tuple[int, int],
        samples: Sequence[int],
        boxes: Sequence[Box],
        positions: Sequence[float],
        step: int = 0,
    ) -> NDArray[np.float32]:
        """Each sample's noise on a grid of ``shape``, cut to each slice's box: (slices, samples, rows, columns)."""
        framed = np.stack(
            [
                [self.of(shape, sample, position, step)[box] for sample in samples]
                for box, position in zip(boxes, positions, strict=True)
            ]
        )
        return np.ascontiguousarray(framed[..., ::-1]) if self.turned else framed

    def starts(
        self,
        latent: int,
        shape: tuple[int, int],
        samples: Sequence[int],
        boxes: Sequence[Box],
        positions: Sequence[float],
    ) -> NDArray[np.float32]:
        """What samples start from: (slices, samples, latent), or if ``latent`` is 0 images, as :meth:`framed`."""
        if not latent:
            return self.framed(shape, samples, boxes, positions)
        return np.stack([[self.of((latent,), sample, position) for sample in samples] for position in positions])


@lru_cache(maxsize=64)
def _sheet(shape: tuple[int, ...], *numbers: int) -> NDArray[np.float32]:
    """Noise of seed, sample, plane and step, and of the stream but for the first."""
    sheet = np.random.default_rng(numbers).standard_normal(shape, dtype=np.float32)
    sheet.flags.writeable = False
    return sheet
