"""One number that says how well a network does on held-out slices; the less, the better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..asked.settings import Preview
from ..checkpoints.card import SamplerDefaults
from ..devices import bf16_is_fast
from ..metrics.uncertainty import crps
from ..models import Batch, Model
from ..models.base import contrast_index
from ..models.sigma import SigmaModel
from ..training.validation import FixedSlice, draw

#: Draws of the noise level for each slice of a denoiser's loss, the same every time.
DRAWS = 2
#: Samples for the CRPS of a generator, each of another antithetic pair, for it is of independent ones.
SAMPLES = range(0, 8, 2)


@dataclass(frozen=True)
class HeldOut:
    """Held-out slices, and what is asked of a network there.

    A deterministic model: the geometric mean over slices of the RMSE in the head. A denoiser: its loss, at noise levels
    and with noise that never change, so that small differences show. Any other model: the CRPS of a few samples.

    Attributes:
        slices: At least one.
        device: Where the network is.
        sampler: Of models that sample.
        seed: Of noise levels and noise.
    """

    slices: Sequence[FixedSlice]
    device: torch.device
    sampler: SamplerDefaults
    seed: int = 0

    @torch.no_grad()
    def error(self, model: Model) -> float:
        """Of a network, in evaluation mode while it is asked."""
        was_training = model.training
        model.eval()
        try:
            with autocast(self.device):
                return self._error(model)
        finally:
            model.train(was_training)

    def _error(self, model: Model) -> float:
        if isinstance(model, SigmaModel):
            return sum(self._loss(model, number) for number in range(len(self.slices))) / len(self.slices)
        if model.deterministic:
            return math.exp(
                sum(0.5 * math.log(self._square(model, one) + 1e-12) for one in self.slices) / len(self.slices)
            )
        return sum(self._crps(model, one) for one in self.slices) / len(self.slices)

    def _loss(self, model: Model, number: int) -> float:
        generator = torch.Generator().manual_seed((self.seed << 20) + number)
        return float(model.loss(as_batch(self.slices[number], DRAWS, self.device), generator))

    def _square(self, model: Model, one: FixedSlice) -> float:
        answer = draw(model, one, range(1), self.device, self.sampler)[0, 0]
        target, inside = (torch.from_numpy(image).to(self.device) for image in (one.target, head_of(one.source[0])))
        return float((answer - target)[inside].float().square().mean())

    def _crps(self, model: Model, one: FixedSlice) -> float:
        samples = draw(model, one, SAMPLES, self.device, self.sampler)[:, 0].float().cpu().numpy()
        return crps(samples, one.target, head_of(one.source[0]))

    @torch.no_grad()
    def answer(self, model: Model) -> NDArray[np.float32]:
        """What a network makes of the middle slice, (row, column); the mean of two samples, if it samples."""
        was_training = model.training
        model.eval()
        with autocast(self.device):
            samples = draw(model, self._middle, range(1 if model.deterministic else 2), self.device, self.sampler)
        model.train(was_training)
        return np.asarray(samples.float().mean(0)[0].cpu())

    def preview(self, before: NDArray[np.float32], now: NDArray[np.float32]) -> Preview:
        """Two answers to the middle one of the slices, beside it."""
        one = self._middle
        return Preview(one.pair, one.source[0], before, now, one.target)

    @property
    def _middle(self) -> FixedSlice:
        return self.slices[len(self.slices) // 2]


def head_of(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a slice (row, column) shows the head: what the air cannot reach, for dark fluid may be 0."""
    from scipy.ndimage import binary_fill_holes

    return np.asarray(binary_fill_holes(image > 0))


def as_batch(one: FixedSlice, count: int, device: torch.device) -> Batch:
    """A slice ``count`` times."""

    def repeated(image: Tensor) -> Tensor:
        return image[None].repeat(count, 1, 1, 1).to(device)

    first, second = (torch.full((count,), contrast_index(contrast), device=device) for contrast in one.pair)
    return Batch(repeated(torch.from_numpy(one.source)), repeated(torch.from_numpy(one.target)[None]), first, second)


def autocast(device: torch.device) -> Any:
    """The number format that networks run in here, as the engine has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_fast(device))
