"""What ncsn, ddpm and flow share: a denoiser in σ-space, on images or on residuals (:mod:`.residual`)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from .base import Solve
from .residual import Condition, ResidualModel

#: What the network of a noise-predicting family gives: ε̂ itself, or F of :meth:`SigmaModel.preconditioned`.
Prediction = Literal["noise", "preconditioned"]
#: How the squared errors of different σ weigh against one another: those of ε̂ (the paper), or those of F, alike.
Weighting = Literal["noise", "even"]


class SigmaModel(ResidualModel):
    """A denoiser D(y; σ) ≈ E[y0 | y0 + σ ε = y, x].

    Args:
        network: The denoiser's U-Net options (or the name of a preset).
        mean_network: U-Net options of the frozen Direct network; None = denoise the image itself.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        sigma_data: σ_d, standard deviation of the denoised variable.
        out_channels: Of the denoiser.
        conditional: Tell the network the contrast pair.
    """

    def __init__(
        self,
        *,
        sigma_data: float = 0.5,
        out_channels: int = 1,
        **shared: Any,
    ) -> None:
        fixed = {"in_channels": 1, "out_channels": out_channels, "time": True}
        super().__init__(spread=sigma_data, fixed=fixed, **shared)
        self.sigma_data = sigma_data

    def clamp(self, y: Tensor, condition: Condition) -> Tensor:
        """``y`` limited to what decodes to [0, 1]."""
        if condition.mean is None:
            return y.clamp(-1, 1)
        return torch.minimum(torch.maximum(y, (-1 - condition.mean) / self.scale), (1 - condition.mean) / self.scale)

    def with_stem(self, condition: Condition) -> Condition:
        """The same for many runs of the network, which need not convolve it each time."""
        if self.net.curve is not None:
            return condition
        stem = self.net.stem_of(torch.cat(condition.images, dim=1), condition.features)
        return replace(condition, features=None, stem=stem)

    def run(self, scaled: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """The network on a ``scaled`` noisy variable (batch, 1, H, W), told ``time`` (batch,): float32."""
        images = [scaled] if condition.stem is not None else [scaled, *condition.images]
        out: Tensor = self.net(
            torch.cat(images, dim=1), time, *condition.pair, context=condition.features, constant=condition.stem
        )
        return out.float()

    def preconditioned(self, y: Tensor, sigma: Tensor, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """F(y / sqrt(σ² + σ_d²), ¼ ln σ), σ and sqrt(σ² + σ_d²) (Karras et al. 2022, arXiv 2206.00364, Table 1)."""
        s = wide(sigma).to(y.dtype)
        root = (s.square() + self.sigma_data**2).sqrt()
        return self.run(y / root, 0.25 * sigma.log(), condition), s, root

    def noise_of(self, raw: Tensor, y: Tensor, s: Tensor, root: Tensor) -> Tensor:
        """ε̂ = (y - D) / σ that :meth:`preconditioned`'s F = ``raw`` stands for."""
        return (s * y / root - self.sigma_data * raw) / root

    def weighted(self, error: Tensor, sigma: Tensor, weighting: Weighting) -> Tensor:
        """Mean squared ``error`` of ε̂ (batch, 1, H, W).

        ``even`` undoes that an error of F counts (σ_d² / (σ² + σ_d²)) times in ε̂, almost nothing at large σ, where the
        brightness of the whole brain is decided: what is left is the loss of :mod:`.flow` at these σ.
        """
        if weighting == "noise":
            return error.square().mean()
        return (error.square() * (1 + (wide(sigma) / self.sigma_data).square())).mean()

    @abstractmethod
    def denoise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """D(y; σ): (batch, 1, H, W) of noisy variables and (batch,) noise levels to the expected clean variable."""

    def denoiser(self, condition: Condition) -> Denoiser:
        """What samplers call."""
        return Denoiser(self, condition)

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve,
        others: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        condition = self.condition(source, source_contrast, target_contrast, others)
        condition = self.with_stem(condition).repeat(noise.shape[1])
        clean = solve(self.denoiser(condition), noise.flatten(0, 1)[:, None])
        return self.decode(clean, condition).reshape(noise.shape)


class Denoiser:
    """D(y; σ) of a model under a condition."""

    def __init__(self, model: SigmaModel, condition: Condition) -> None:
        self.model, self.condition = model, condition

    def __call__(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.model.denoise(y, sigma, self.condition)


def wide(values: Tensor) -> Tensor:
    """(batch,) to (batch, 1, 1, 1)."""
    return values.reshape(-1, 1, 1, 1)
