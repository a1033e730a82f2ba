"""flow: one σ-space denoiser, the fast probabilistic default beside the paper's five models.

Preconditioned denoiser of Karras et al. 2022 (EDM, arXiv 2206.00364, Table 1), equivalent to flow matching up to a
change of variables (σ = (1 - t) / t):

    D(y; σ) = c_skip(σ) y + c_out(σ) F(c_in(σ) y, ¼ ln σ),
    c_skip = σ_d² / (σ² + σ_d²),  c_out = σ σ_d / sqrt(σ² + σ_d²),  c_in = 1 / sqrt(σ² + σ_d²),
    L = E || F - (y0 - c_skip y) / c_out ||²   (EDM Eq. 8 with weight 1 / c_out²),

with the training σ either log-normal (EDM) or log-logistic (what a uniform flow-matching time gives).

With a ``mean_network``, the denoised variable is not the image but r = (y - μ(x)) / s, where μ is a frozen Direct
network and s scales r to a standard deviation of σ_d (regression plus generative residual: Mardani et al. 2023, arXiv
2309.15214). μ and its last feature map are computed once for each slice and shared by all samples and all steps, so the
network that runs hundreds of times can be small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .base import Batch, Model, Solve, to_signed, to_unit, unet


@dataclass
class Condition:
    """What is computed once for a slice: images in [-1, 1], each (batch, channels, H, W)."""

    source: Tensor
    mean: Tensor | None
    features: Tensor | None
    source_contrast: Tensor
    target_contrast: Tensor

    def repeat(self, n: int) -> Condition:
        """Each slice ``n`` times in a row."""

        def rep(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.repeat_interleave(n, dim=0)

        source = self.source.repeat_interleave(n, dim=0)
        first, second = (c.repeat_interleave(n) for c in (self.source_contrast, self.target_contrast))
        return Condition(source, rep(self.mean), rep(self.features), first, second)


class Flow(Model):
    """σ-space denoiser.

    Args:
        network: The denoiser's U-Net options.
        mean_network: U-Net options of the frozen Direct network; None = denoise the image itself.
        residual_std: Standard deviation of (y - μ(x)) in [-1, 1] units over training brains (``residual`` only).
        sigma_data: σ_d.
        sigma_distribution: ``lognormal`` or ``logistic``, of ln σ in training.
        sigma_location: Its mean.
        sigma_scale: Its standard deviation (lognormal) or scale (logistic).
        conditional: Tell the network the contrast pair.
    """

    def __init__(
        self,
        *,
        network: dict[str, Any],
        mean_network: dict[str, Any] | None = None,
        residual_std: float = 0.1,
        sigma_data: float = 0.5,
        sigma_distribution: str = "lognormal",
        sigma_location: float = -1.2,
        sigma_scale: float = 1.2,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        self.sigma_data = sigma_data
        self.distribution = (sigma_distribution, sigma_location, sigma_scale)
        self.scale = residual_std / sigma_data if mean_network else 1.0
        self.mean_net = None
        context = 0
        if mean_network:
            self.mean_net = unet(mean_network, conditional=conditional, in_channels=1, out_channels=1, time=False)
            self.mean_net.requires_grad_(False)
            context = self.mean_net.feature_channels
        channels = 3 if mean_network else 2
        self.net = unet(network, conditional=conditional, in_channels=channels, context_channels=context, time=True)

    @property
    def multiple(self) -> int:
        return max(self.net.multiple, self.mean_net.multiple if self.mean_net else 1)

    def condition(self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor) -> Condition:
        """Everything the denoiser is told about slices ``source`` (batch, 1, H, W) in [0, 1]."""
        x = to_signed(source)
        if self.mean_net is None:
            return Condition(x, None, None, source_contrast, target_contrast)
        with torch.no_grad():
            self.mean_net.eval()
            mean, features = self.mean_net.with_features(x, None, source_contrast, target_contrast)
        return Condition(x, mean.float(), features, source_contrast, target_contrast)

    def denoise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """D(y; σ): (batch, 1, H, W) of noisy variables and (batch,) noise levels to the expected clean variable."""
        s = sigma.reshape(-1, 1, 1, 1).to(y.dtype)
        root = (s.square() + self.sigma_data**2).sqrt()
        raw = self._raw(y / root, sigma, condition)
        return (self.sigma_data**2 / root.square()) * y + (s * self.sigma_data / root) * raw.float()

    def _raw(self, scaled: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        parts = [scaled, condition.source] + ([condition.mean] if condition.mean is not None else [])
        return self.net(
            torch.cat(parts, dim=1),
            0.25 * sigma.log(),
            condition.source_contrast,
            condition.target_contrast,
            context=condition.features,
        )

    def encode(self, target: Tensor, condition: Condition) -> Tensor:
        """Target in [0, 1] to the variable that is denoised."""
        y = to_signed(target)
        return y if condition.mean is None else (y - condition.mean) / self.scale

    def decode(self, y: Tensor, condition: Condition) -> Tensor:
        """The denoised variable to an image in [0, 1], not clamped."""
        return to_unit(y if condition.mean is None else condition.mean + self.scale * y)

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve
    ) -> Tensor:
        condition = self.condition(source, source_contrast, target_contrast).repeat(noise.shape[1])
        clean = solve(lambda y, sigma: self.denoise(y, sigma, condition), noise.flatten(0, 1)[:, None])
        return self.decode(clean, condition).reshape(noise.shape)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        condition = self.condition(batch.source, batch.source_contrast, batch.target_contrast)
        clean = self.encode(batch.target, condition)
        sigma = self._draw_sigma(len(clean), generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        s = sigma.reshape(-1, 1, 1, 1)
        noisy = clean + s * noise
        root = (s.square() + self.sigma_data**2).sqrt()
        wanted = (clean - noisy * (self.sigma_data / root).square()) * root / (s * self.sigma_data)
        return (self._raw(noisy / root, sigma, condition).float() - wanted).square().mean()

    def _draw_sigma(self, n: int, generator: torch.Generator) -> Tensor:
        kind, location, scale = self.distribution
        if kind == "lognormal":
            return (location + scale * torch.randn(n, generator=generator)).exp()
        uniform = torch.rand(n, generator=generator).clamp(1e-4, 1 - 1e-4)
        return (location + scale * torch.logit(uniform)).exp()
