"""A finished slice, and how a run, its caller and a store of slices tell each other things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..ood.signs import UNKNOWN, Signs


@dataclass(frozen=True)
class SliceUpdate:
    """One finished axial slice, in the orientation of ``np.take(volume.data, index, axis=volume.axial_axis)``.

    Attributes:
        index: Along the volume's axial array axis.
        mean: Mean of the samples, (H, W) float32, target's normalised units [0, 1], 0 outside the head.
        std: Population standard deviation, same units; 0 for deterministic models.
        median: Median, or None above 64 samples.
        samples: (n, H, W), or None above 64 samples.
        sigma_hat: Mean std over the slice's head, a robust one where the mean was repaired; NaN for a single
            one, and so for deterministic models.
        voxels: Head voxels in the slice.
        done: Slices finished so far, this one included.
        total: Slices with head in the requested range.
        calibrated_std: ``std`` corrected so that errors fit it, or None where the checkpoint has no correction or there
            is one sample only.
        signs: What speaks against the source slice; all unknown where the slice is small or the checkpoint has no
            calibration.
        repaired: Pixels whose mean was replaced by the median.
        known: (H, W), where a result was asked for, or None = everywhere. Elsewhere the images are 0; σ̂, ``voxels`` and
            ``signs`` are of the whole slice.
        preview: Only the mean means anything yet, and the finished slice may follow; never so in :func:`stream`.
    """

    index: int
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    median: NDArray[np.float32] | None
    samples: NDArray[np.float32] | None
    sigma_hat: float
    voxels: int
    done: int
    total: int
    calibrated_std: NDArray[np.float32] | None = None
    signs: Signs = UNKNOWN
    repaired: int = 0
    known: NDArray[np.bool_] | None = None
    preview: bool = False

    def within(self, known: NDArray[np.bool_]) -> SliceUpdate:
        """The same with images that are 0 but where ``known`` (H, W) is true."""

        def kept(image: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
            return None if image is None else np.where(known, image, np.float32(0))

        return replace(
            self,
            mean=np.where(known, self.mean, np.float32(0)),
            std=np.where(known, self.std, np.float32(0)),
            median=kept(self.median),
            samples=kept(self.samples),
            calibrated_std=kept(self.calibrated_std),
            known=known,
        )


class SliceStore(Protocol):
    """Keeps finished slices for another run."""

    @property
    def makers(self) -> Sequence[Mapping[str, Any]]:
        """What its slices were made on (``made_on`` of a report), the first one first; empty: not known."""

    def keep_to(self, head: str, made_on: Mapping[str, Any]) -> None:
        """Told, before all else, the digest of the head that was found, and what new slices are made on.

        Slices of another head are dropped.
        """

    def read(self) -> Mapping[int, SliceUpdate]:
        """Those that are there, by their index along the volume's axial axis."""

    def write(self, update: SliceUpdate) -> None:
        """Keep one."""


@dataclass(frozen=True)
class Hooks:
    """How a run and its caller tell each other things.

    Attributes:
        cancel: Polled before every network call; when true, the run ends.
        on_step: Told (done, total) network calls of the current batch.
        status: Told one-line notices for the user.
    """

    cancel: Callable[[], bool] | None = None
    on_step: Callable[[int, int], None] | None = None
    status: Callable[[str], None] = lambda line: None
