"""What ncsn, ddpm and flow share: a denoiser in σ-space, on images or on residuals around a Direct network's mean.

With a ``mean_network``, the denoised variable is not the image y0 but r = (y0 - μ(x)) / s, where μ is a frozen Direct
network and s scales r to a standard deviation of ``spread`` (regression plus generative residual: Mardani et al. 2023,
arXiv 2309.15214). μ and its last feature map are computed once for each slice and shared by all samples and all steps,
so the network that runs hundreds of times can be small.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..networks.unet import UNet
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


class SigmaModel(Model):
    """A denoiser D(y; σ) ≈ E[y0 | y0 + σ ε = y, x].

    Args:
        network: The denoiser's U-Net options (or the name of a preset).
        mean_network: U-Net options of the frozen Direct network; None = denoise the image itself.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        spread: Standard deviation of the denoised variable.
        out_channels: Of the denoiser.
        conditional: Tell the network the contrast pair.
    """

    def __init__(
        self,
        *,
        network: dict[str, Any] | str,
        mean_network: dict[str, Any] | str | None,
        residual_std: float,
        spread: float,
        out_channels: int = 1,
        conditional: bool,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        self.spread = spread
        self.scale = residual_std / spread if mean_network else 1.0
        self.mean_net: UNet | None = None
        context = 0
        if mean_network:
            self.mean_net = unet(mean_network, conditional=conditional, in_channels=1, out_channels=1, time=False)
            self.mean_net.requires_grad_(False)
            context = self.mean_net.feature_channels
        channels = 3 if mean_network else 2
        self.net = unet(
            network,
            conditional=conditional,
            in_channels=channels,
            out_channels=out_channels,
            context_channels=context,
            time=True,
        )

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

    def encode(self, target: Tensor, condition: Condition) -> Tensor:
        """Target in [0, 1] to the variable that is denoised."""
        y = to_signed(target)
        return y if condition.mean is None else (y - condition.mean) / self.scale

    def decode(self, y: Tensor, condition: Condition) -> Tensor:
        """The denoised variable to an image in [0, 1], not clamped."""
        return to_unit(y if condition.mean is None else condition.mean + self.scale * y)

    def clamp(self, y: Tensor, condition: Condition) -> Tensor:
        """``y`` limited to what decodes to [0, 1]."""
        if condition.mean is None:
            return y.clamp(-1, 1)
        return torch.minimum(torch.maximum(y, (-1 - condition.mean) / self.scale), (1 - condition.mean) / self.scale)

    def run(self, scaled: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """The network on a ``scaled`` noisy variable (batch, 1, H, W), told ``time`` (batch,): float32."""
        parts = [scaled, condition.source] + ([condition.mean] if condition.mean is not None else [])
        out: Tensor = self.net(
            torch.cat(parts, dim=1),
            time,
            condition.source_contrast,
            condition.target_contrast,
            context=condition.features,
        )
        return out.float()

    @abstractmethod
    def denoise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """D(y; σ): (batch, 1, H, W) of noisy variables and (batch,) noise levels to the expected clean variable."""

    def denoiser(self, condition: Condition) -> Denoiser:
        """What samplers call."""
        return Denoiser(self, condition)

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve
    ) -> Tensor:
        condition = self.condition(source, source_contrast, target_contrast).repeat(noise.shape[1])
        clean = solve(self.denoiser(condition), noise.flatten(0, 1)[:, None])
        return self.decode(clean, condition).reshape(noise.shape)

    def conditioned(self, batch: Batch) -> tuple[Condition, Tensor]:
        """A training batch's condition and its clean variable."""
        condition = self.condition(batch.source, batch.source_contrast, batch.target_contrast)
        return condition, self.encode(batch.target, condition)


class Denoiser:
    """D(y; σ) of a model under a condition."""

    def __init__(self, model: SigmaModel, condition: Condition) -> None:
        self.model, self.condition = model, condition

    def __call__(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.model.denoise(y, sigma, self.condition)


def wide(values: Tensor) -> Tensor:
    """(batch,) to (batch, 1, 1, 1)."""
    return values.reshape(-1, 1, 1, 1)
