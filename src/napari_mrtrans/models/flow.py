"""flow: one σ-space denoiser, the fast probabilistic default beside the paper's five models.

Preconditioned denoiser of Karras et al. 2022 (EDM, arXiv 2206.00364, Table 1), equivalent to flow matching up to a
change of variables (σ = (1 - t) / t):

    D(y; σ) = c_skip(σ) y + c_out(σ) F(c_in(σ) y, ¼ ln σ),
    c_skip = σ_d² / (σ² + σ_d²),  c_out = σ σ_d / sqrt(σ² + σ_d²),  c_in = 1 / sqrt(σ² + σ_d²),
    L = E || F - (y0 - c_skip y) / c_out ||²   (EDM Eq. 8 with weight 1 / c_out²),

with the training σ either log-normal (EDM) or log-logistic (what a uniform flow-matching time gives).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from .base import Batch, noise_like, normal, uniform
from .families import FAMILIES
from .residual import Condition
from .sigma import SigmaModel, wide


class Flow(SigmaModel):
    """σ-space denoiser.

    Args:
        network: The denoiser's U-Net options.
        mean_network: U-Net options of the frozen Direct network; None = denoise the image itself.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        sigma_data: σ_d.
        sigma_distribution: ``lognormal`` or ``logistic``, of ln σ in training.
        sigma_location: Its mean.
        sigma_scale: Its standard deviation (lognormal) or scale (logistic).
        conditional: Tell the network the contrast pair.
    """

    reference = FAMILIES["flow"].reference

    def __init__(
        self,
        *,
        sigma_distribution: Literal["lognormal", "logistic"] = "lognormal",
        sigma_location: float = -1.2,
        sigma_scale: float = 1.2,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.distribution = (sigma_distribution, sigma_location, sigma_scale)

    def denoise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        raw, s, root = self.preconditioned(y, sigma, condition)
        return (self.sigma_data / root).square() * y + (s * self.sigma_data / root) * raw

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        condition, clean = self.conditioned(batch)
        sigma = self._draw_sigma(len(clean), generator).to(clean.device)
        noise = noise_like(clean, generator)
        noisy = clean + wide(sigma) * noise
        raw, s, root = self.preconditioned(noisy, sigma, condition)
        wanted = (clean - noisy * (self.sigma_data / root).square()) * root / (s * self.sigma_data)
        return (raw - wanted).square().mean()

    def _draw_sigma(self, n: int, generator: torch.Generator) -> Tensor:
        kind, location, scale = self.distribution
        if kind == "lognormal":
            return (location + scale * normal((n,), generator)).exp()
        quantile = uniform((n,), generator).clamp(1e-4, 1 - 1e-4)
        return (location + scale * torch.logit(quantile)).exp()
