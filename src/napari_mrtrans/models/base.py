"""What every model family offers the trainer and the sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from ..contrasts import Contrast
from ..networks.unet import UNet

#: Position in this list is the network's contrast index; the order is part of every checkpoint and never changes.
VOCABULARY: tuple[Contrast, ...] = (Contrast.T1, Contrast.T2, Contrast.PD, Contrast.FLAIR)

#: Solves for the clean variable: (denoiser, unit noise) -> clean; see :mod:`napari_mrtrans.samplers`.
Solve = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor], Tensor]


@dataclass
class Batch:
    """Paired slices in normalised units [0, 1].

    Attributes:
        source: (batch, 1, H, W).
        target: As ``source``.
        source_contrast: (batch,) int64, index into :data:`VOCABULARY`.
        target_contrast: As ``source_contrast``.
        session: (batch,) int64, number of the training session; None where nobody asks.
    """

    source: Tensor
    target: Tensor
    source_contrast: Tensor
    target_contrast: Tensor
    session: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        values = (getattr(self, f.name) for f in fields(self))
        return Batch(*(None if value is None else value.to(device, non_blocking=True) for value in values))


class Model(nn.Module, ABC):
    """One family: its loss and its way from noise to an image. Images cross this interface in [0, 1]."""

    #: One answer, no spread.
    deterministic: bool = False
    #: Contrast pairs are told to the network.
    conditional: bool

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Height and width must be multiples of this."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Scalar training loss; every random number comes from ``generator`` (dropout apart)."""

    @abstractmethod
    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve
    ) -> Tensor:
        """Draw targets for each slice; what depends on the slice alone is computed once for all its samples.

        Args:
            source: (slices, 1, H, W) in [0, 1].
            source_contrast: (slices,) int64.
            target_contrast: As ``source_contrast``.
            noise: (slices, n, H, W), standard normal. Deterministic models use its shape alone, with n = 1.
            solve: The sampler.

        Returns:
            (slices, n, H, W), not clamped.
        """


def unet(options: dict[str, Any], *, conditional: bool, **fixed: Any) -> UNet:
    """Build the shared U-Net from a recipe's ``network`` section."""
    return UNet(**{**options, **fixed}, contrasts=len(VOCABULARY) if conditional else 0)


def to_signed(image: Tensor) -> Tensor:
    """[0, 1] to the [-1, 1] that networks see."""
    return 2.0 * image - 1.0


def to_unit(image: Tensor) -> Tensor:
    """[-1, 1] back to [0, 1]; not clamped."""
    return (image + 1.0) / 2.0


def contrast_index(contrast: Contrast) -> int:
    """Index of a contrast in :data:`VOCABULARY`."""
    return VOCABULARY.index(contrast)
