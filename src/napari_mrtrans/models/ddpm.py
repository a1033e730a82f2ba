"""ddpm: denoising diffusion with learned variance (paper, "Denoising diffusion probabilistic models", Eqs. 8-10).

    y_t = sqrt(ᾱ_t) y_0 + sqrt(1 - ᾱ_t) ε                                    (Eq. 8)
    L_simple = E || ε - ε̂(y_t, x, t) ||²                                     (Eq. 9)
    L = L_simple + λ L_vlb,  λ = 0.001 of a sum over T terms                 (Nichol & Dhariwal 2021, arXiv 2102.09672)

One randomly drawn term of L_vlb is the KL divergence, in bits, of the true posterior from the network's reverse step,
whose log variance is interpolated by the second output channel v; its mean is detached, so that it learns from L_simple
alone. Time is counted from 0: ``t`` = 0 is the paper's t = 1. In σ-space, σ_t = sqrt((1 - ᾱ_t) / ᾱ_t).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .base import Batch, integers, noise_like
from .families import FAMILIES
from .residual import Condition
from .sigma import Denoiser, Prediction, SigmaModel, Weighting, wide

#: Width of an 8-bit grey level in [-1, 1], the bin of the discretised likelihood.
BIN = 2 / 255


class DDPM(SigmaModel):
    """Denoising diffusion model.

    Args:
        network: U-Net options; it gets two output channels, ε̂ and v.
        mean_network: U-Net options of a frozen Direct network; None (the paper) = denoise the image itself.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        sigma_data: Standard deviation of the targets in [-1, 1] units, for ``preconditioned``.
        steps: T.
        schedule: ``linear`` β from 1e-4 to 0.02 (at T = 1000), or ``cosine``.
        vlb_weight: λ T; 1 = the reference.
        first_term: Likelihood of the last reverse step: ``discretised`` in 8-bit bins (reference) or ``gaussian``.
        prediction: What the first channel gives: ``noise`` (reference), ε̂ told t; or ``preconditioned``, F told σ (as
            :mod:`.ncsn`).
        weighting: Of L_simple: ``noise`` (reference) or ``even`` over σ; see :meth:`.SigmaModel.weighted`.
        stability: ``clamped`` limits the denoised image and v to [-1, 1] when sampling; ``paper`` does not, which
            leaves the isolated outlier pixels that the paper repairs.
        conditional: Tell the network the contrast pair.
    """

    reference = FAMILIES["ddpm"].reference
    stream = 3

    def __init__(
        self,
        *,
        steps: int = 1000,
        schedule: Literal["linear", "cosine"] = "linear",
        vlb_weight: float = 1.0,
        first_term: Literal["discretised", "gaussian"] = "discretised",
        prediction: Prediction = "noise",
        weighting: Weighting = "noise",
        stability: Literal["clamped", "paper"] = "clamped",
        **shared: Any,
    ) -> None:
        super().__init__(out_channels=2, **shared)
        self.predicts_noise = prediction == "noise"
        self.weighting = weighting
        self.steps = steps
        self.reference = (self.reference[0], steps)
        self.vlb_weight = vlb_weight
        self.discretised = first_term == "discretised"
        self.clamps = stability == "clamped"
        self.betas = beta_schedule(schedule, steps)
        self.alphas_cumprod = np.cumprod(1 - self.betas)
        self.sigmas = np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)
        self.log_sigmas = np.log(self.sigmas).tolist()

    def own_levels(self, steps: int) -> list[float]:
        """σ of ``steps`` time steps (at most T), T / steps apart, the cleanest included; one alone is the noisiest."""
        steps = min(steps, self.steps)
        if steps == 1:
            return [float(self.sigmas[-1])]
        times = [round(i * self.steps / steps) for i in reversed(range(steps))]
        return [float(self.sigmas[t]) for t in times]

    def denoiser(self, condition: Condition) -> Denoiser:
        return _WithVariance(self, condition)

    def denoise(self, y: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return self.denoise_with_variance(y, sigma, condition)[0]

    def denoise_with_variance(self, y: Tensor, sigma: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """D(y; σ) and v in [-1, 1] at the (fractional) time step whose σ this is, both (batch, 1, H, W)."""
        s = wide(sigma).to(y.dtype)
        predicted, v = self._predict(y, sigma, condition)
        clean = y - s * predicted
        return (self.clamp(clean, condition), v.clamp(-1, 1)) if self.clamps else (clean, v)

    def time_of(self, sigma: Tensor) -> Tensor:
        """Time step of each noise level, interpolated in ln σ: (batch,) float in [0, T - 1]."""
        known = torch.tensor(self.log_sigmas, dtype=torch.float32, device=sigma.device)
        wanted = sigma.float().log()
        above = torch.searchsorted(known, wanted).clamp(1, self.steps - 1)
        low, high = known[above - 1], known[above]
        return above - 1 + ((wanted - low) / (high - low)).clamp(0, 1)

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        condition, clean = self.conditioned(batch)
        t = integers(self.steps, len(clean), generator)
        noise = noise_like(clean, generator)
        cumulative = self._at(self.alphas_cumprod, t, clean)
        noisy = cumulative.sqrt() * clean + (1 - cumulative).sqrt() * noise
        sigma = self._at(self.sigmas, t, clean)
        predicted, v = self._predict(clean + sigma * noise, sigma.flatten(), condition, t.to(clean.device).float())
        simple = self.weighted(predicted - noise, sigma, self.weighting)
        return simple + self.vlb_weight * self.vlb(clean, noisy, predicted.detach(), v, t).mean()

    def vlb(self, clean: Tensor, noisy: Tensor, predicted: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """The t-th term of the variational bound in bits for each pixel, shaped as ``clean``.

        Args:
            clean: y_0.
            noisy: y_t.
            predicted: ε̂.
            v: Interpolates the log variance.
            t: (batch,) int64, from 0.
        """
        before = np.append(1.0, self.alphas_cumprod[:-1])
        posterior = self.betas * (1 - before) / (1 - self.alphas_cumprod)
        posterior[0] = posterior[1]  # it is 0 there, and its logarithm infinite
        beta, cumulative, previous = (self._at(a, t, clean) for a in (self.betas, self.alphas_cumprod, before))
        low, high = self._at(np.log(posterior), t, clean), beta.log()
        log_variance = low + (v + 1) / 2 * (high - low)
        denoised = (noisy - (1 - cumulative).sqrt() * predicted) / cumulative.sqrt()
        true_mean, mean = (
            previous.sqrt() * beta / (1 - cumulative) * start
            + (1 - beta).sqrt() * (1 - previous) / (1 - cumulative) * noisy
            for start in (clean, denoised)
        )
        squared = (true_mean - mean).square()
        divergence = 0.5 * (-1 + log_variance - low + (low - log_variance).exp() + squared * (-log_variance).exp())
        likelihood = _discretised if self.discretised else _gaussian
        first = -likelihood(clean, mean, log_variance)
        return torch.where(wide(t).to(clean.device) == 0, first, divergence) / math.log(2)

    def _predict(
        self, y: Tensor, sigma: Tensor, condition: Condition, time: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """ε̂ and v of y = y_0 + σ ε, shaped as ``y``; ``time`` if it is known already."""
        if self.predicts_noise:
            scaled = y / (1 + wide(sigma).square()).sqrt()
            predicted, v = self.run(scaled, self.time_of(sigma) if time is None else time, condition).chunk(2, dim=1)
            return predicted, v
        out, s, root = self.preconditioned(y, sigma, condition)
        raw, v = out.chunk(2, dim=1)
        return self.noise_of(raw, y, s, root), v

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Also takes the weights of a network without the variance's channel, which then starts at v = 0."""
        own = self.state_dict()
        last = [name for name in own if name.startswith(("net.head.", "net.curve.last."))]
        widened = {
            name: torch.cat([state[name], torch.zeros_like(state[name])])
            for name in last
            if name in state and 2 * len(state[name]) == len(own[name])
        }
        super().start_from({**state, **widened})

    @staticmethod
    def _at(values: np.ndarray, t: Tensor, like: Tensor) -> Tensor:
        return wide(torch.from_numpy(values)[t]).to(like)


class _WithVariance(Denoiser):
    model: DDPM

    def with_variance(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """D(y; σ) and v."""
        return self.model.denoise_with_variance(y, sigma, self.condition)


def beta_schedule(name: str, steps: int) -> np.ndarray:
    """β_t for t = 1 … ``steps``, float64.

    ``linear``: from 0.1 / steps to 20 / steps (Ho et al. 2020). ``cosine``: ᾱ(t) = cos²((t/T + 0.008) / 1.008 · π/2),
    β at most 0.999 (Nichol & Dhariwal 2021, Eq. 17).

    Raises:
        ValueError: unknown name.
    """
    if name == "linear":
        return np.linspace(0.1 / steps, min(20 / steps, 0.999), steps)
    if name == "cosine":
        cumulative = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - cumulative[1:] / cumulative[:-1], 0.999)
    raise ValueError(f"schedule '{name}' is neither linear nor cosine")


def _gaussian(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of N(mean, exp(log_variance)) at ``y``, of a bin's width: comparable with :func:`_discretised`."""
    squared = (y - mean).square() * (-log_variance).exp()
    return math.log(BIN) - 0.5 * (math.log(2 * math.pi) + log_variance + squared)


def _discretised(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log probability of the 8-bit bin around ``y``; the outermost bins reach to infinity."""
    scale = (-0.5 * log_variance).exp()
    upper = torch.special.ndtr(scale * (y - mean + BIN / 2))
    lower = torch.special.ndtr(scale * (y - mean - BIN / 2))
    upper = torch.where(y > 0.999, torch.ones_like(upper), upper)
    lower = torch.where(y < -0.999, torch.zeros_like(lower), lower)
    return (upper - lower).clamp(min=1e-12).log()
