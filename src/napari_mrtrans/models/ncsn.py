"""ncsn: noise-conditional score network, variance exploding (paper, "Noise conditional score network", Eqs. 5-7).

    y_t = y_0 + σ_t ε                                                       (Eq. 5, β_t = σ_t²)
    L = E_t (σ_t² / 2) || s(y_t, x, t) + (y_t - y_0) / σ_t² ||²              (Eq. 6)

With s = -ε̂ / σ_t the loss is ½ || ε̂ - ε ||²: noise prediction, t uniform over geometric levels. The network F is told
¼ ln σ and sees y / sqrt(σ² + σ_d²), since a raw σ of 50 would drown the source's channel. Either ε̂ = F (``noise``), or
    ε̂ = (σ y - σ_d sqrt(σ² + σ_d²) F) / (σ² + σ_d²)                          (``preconditioned``),
which has the noise that is plain to see taken out, so that a small network need not spend itself on copying it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .base import Batch, integers, noise_like
from .families import FAMILIES
from .residual import Condition
from .samplers import log_sigmas
from .sigma import Prediction, SigmaModel, Weighting, wide


class NCSN(SigmaModel):
    """Score network.

    Args:
        network: U-Net options.
        mean_network: U-Net options of a frozen Direct network; None (the paper) = denoise the image itself.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        sigma_data: Standard deviation of the targets in [-1, 1] units.
        sigma_max: σ of the noisiest level.
        sigma_min: σ of the cleanest level.
        levels: T, geometric between them.
        prediction: What the network gives: ``noise`` (NCSNv2 in its noise-prediction form) or ``preconditioned``.
        weighting: ``noise`` (Eq. 6) or ``even`` over σ; see :meth:`.SigmaModel.weighted`.
        clamp: Limit the denoised image to [-1, 1] when sampling.
        conditional: Tell the network the contrast pair.
    """

    reference = FAMILIES["ncsn"].reference
    stream = 2

    def __init__(
        self,
        *,
        sigma_max: float = 50.0,
        sigma_min: float = 0.01,
        levels: int = 1000,
        prediction: Prediction = "noise",
        weighting: Weighting = "noise",
        clamp: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"sigma_min ({sigma_min:g}) must be above 0 and below sigma_max ({sigma_max:g}).")
        if levels < 2:
            raise ValueError("levels: 2 or more.")
        self.range = (sigma_min, sigma_max)
        self.levels = levels
        self.predicts_noise = prediction == "noise"
        self.weighting = weighting
        self.clamps = clamp

    def own_levels(self, steps: int) -> list[float]:
        """``steps`` geometric levels over the range of training."""
        return log_sigmas(steps, *self.range)

    def denoise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        clean = y - wide(sigma).to(y.dtype) * self._noise(y, sigma, condition)
        return self.clamp(clean, condition) if self.clamps else clean

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        condition, clean = self.conditioned(batch)
        levels = torch.tensor(self.own_levels(self.levels))
        sigma = levels[integers(self.levels, len(clean), generator)].to(clean.device)
        noise = noise_like(clean, generator)
        error = self._noise(clean + wide(sigma) * noise, sigma, condition) - noise
        return 0.5 * self.weighted(error, sigma, self.weighting)

    def _noise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """ε̂(y; σ)."""
        raw, s, root = self.preconditioned(y, sigma, condition)
        return raw if self.predicts_noise else self.noise_of(raw, y, s, root)
