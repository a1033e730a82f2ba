"""Samplers in σ-space: one short function for each algorithm, one signature.

    sample_x(predict, y, sigmas, *, noise=None, callback=None) -> Tensor

``predict(y, sigma)`` is the denoiser D(y; σ) ≈ E[clean | y] with ``sigma`` of shape (batch,); ``y`` is the start, noise
of standard deviation ``sigmas[0]``; ``sigmas`` descends and does not contain the final 0: every sampler ends with the
denoised image at ``sigmas[-1]``. ``noise(k)`` gives the unit noise of step ``k``, shaped as ``y``, to those samplers
that add any: a function rather than a generator, because a sample must not depend on what else is in its batch.
``callback(done, total)`` is called before every network evaluation and may raise to stop.

One engine serves all diffusion models: a variance-preserving network (DDPM) is wrapped into D as well, its image being
that of σ-space divided by sqrt(1 + σ²).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[int, int], None]
Noise = Callable[[int], Tensor]


class Sampler(Protocol):
    """The signature that all samplers share."""

    def __call__(
        self,
        predict: Predict,
        y: Tensor,
        sigmas: Sequence[float],
        *,
        noise: Noise | None = None,
        callback: Callback | None = None,
    ) -> Tensor: ...


def log_sigmas(steps: int, sigma_min: float = 0.002, sigma_max: float = 20.0) -> list[float]:
    """``steps`` noise levels from ``sigma_max`` down to ``sigma_min``, uniform in log σ.

    This spacing, rather than uniform in time, is what keeps the spread of narrow distributions at 10 to 20 evaluations.
    """
    if steps == 1:
        return [sigma_max]
    ratio = (sigma_min / sigma_max) ** (1 / (steps - 1))
    return [sigma_max * ratio**i for i in range(steps)]


def dpm_solver_pp_2m(
    predict: Predict,
    y: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, Algorithm 2) in variance-exploding coordinates.

    With λ = -ln σ, h = λ_{i+1} - λ_i and r = h_{i-1} / h:
    D' = (1 + 1/2r) D_i - (1/2r) D_{i-1};  y ← (σ_{i+1} / σ_i) y - (e^{-h} - 1) D'.
    One evaluation for each level; deterministic.
    """
    total = len(sigmas)
    previous: Tensor | None = None
    for i, sigma in enumerate(sigmas):
        denoised = _evaluate(predict, y, sigma, callback, i, total)
        if i + 1 == total:
            return denoised
        ratio = sigmas[i + 1] / sigma
        slope = denoised
        if previous is not None:
            # r = h_{i-1} / h, both steps in λ.
            r = _log_step(sigmas[i - 1], sigma) / _log_step(sigma, sigmas[i + 1])
            slope = (1 + 0.5 / r) * denoised - (0.5 / r) * previous
        y = ratio * y + (1 - ratio) * slope
        previous = denoised
    return y


def heun(
    predict: Predict,
    y: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's second-order method for dy/dσ = (y - D(y; σ)) / σ (EDM, arXiv 2206.00364, Algorithm 1).

    Two evaluations for each level but the last; deterministic.
    """
    total = 2 * len(sigmas) - 1
    for i, sigma in enumerate(sigmas):
        denoised = _evaluate(predict, y, sigma, callback, 2 * i, total)
        if i + 1 == len(sigmas):
            return denoised
        following = sigmas[i + 1]
        slope = (y - denoised) / sigma
        guess = y + (following - sigma) * slope
        corrected = (guess - _evaluate(predict, guess, following, callback, 2 * i + 1, total)) / following
        y = y + (following - sigma) * 0.5 * (slope + corrected)
    return y


def euler(
    predict: Predict,
    y: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Euler's method for the same equation: one evaluation for each level; deterministic.

    On the levels of a DDPM's own time steps this is DDIM with η = 0 (Song et al. 2021, arXiv 2010.02502, Eq. 12). Below
    50 levels it loses much of the spread.
    """
    total = len(sigmas)
    for i, sigma in enumerate(sigmas):
        denoised = _evaluate(predict, y, sigma, callback, i, total)
        if i + 1 == total:
            return denoised
        y = y + (sigmas[i + 1] - sigma) * (y - denoised) / sigma
    return y


def ancestral(
    predict: Predict,
    y: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The reverse chain (paper Eq. 10), on any levels: y_s = mean of q(y_s | y_t, D) + standard deviation · ε.

    In σ-space the posterior of level s < t is (σ_s²/σ_t²) y + (1 - σ_s²/σ_t²) D with variance
    σ_s² (σ_t² - σ_s²) / σ_t². A denoiser with a ``with_variance(y, sigma) -> (D, v)`` (learned range, Nichol & Dhariwal
    2021, arXiv 2102.09672, Eq. 15) interpolates, in the log, between that (v = -1) and the step's forward variance
    (1 + σ_s²) (σ_t² - σ_s²) / (1 + σ_t²) (v = 1). On the 1000 levels of its training this is the reference sampler.
    """
    assert noise is not None, "the ancestral sampler adds noise"
    learned = getattr(predict, "with_variance", None)
    total = len(sigmas)
    for i, sigma in enumerate(sigmas):
        fraction: Tensor | float = 0.0
        if learned is None:
            denoised = _evaluate(predict, y, sigma, callback, i, total)
        else:
            if callback is not None:
                callback(i, total)
            denoised, v = learned(y, _levels(sigma, y))
            fraction = (v + 1) / 2
        if i + 1 == total:
            return denoised
        s2, t2 = sigmas[i + 1] ** 2, sigma**2
        ratio = s2 / t2
        low = math.log(s2 * (1 - ratio))
        high = math.log((1 + s2) * (t2 - s2) / (1 + t2))
        log_variance = torch.as_tensor(low + fraction * (high - low))
        y = ratio * y + (1 - ratio) * denoised + (0.5 * log_variance).exp() * noise(i)
    return y


def annealed_langevin(
    predict: Predict,
    y: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Annealed Langevin dynamics (paper Eq. 7), one step a level: y ← y + γ_t s(y) + sqrt(2 γ_t) ε, γ_t = κ σ_t².

    s = (D - y) / σ². κ is :func:`stationary_step` of the levels' ratio. Ends with the denoising y + σ² s = D of NCSNv2
    (Song & Ermon 2020, arXiv 2006.09011).
    """
    return _langevin(predict, y, sigmas, stationary_step(sigmas[0] / sigmas[1]) if len(sigmas) > 1 else 1.0,
                     noise, callback)  # fmt: skip


def annealed_langevin_ncsnv2(
    predict: Predict,
    y: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The same with κ by NCSNv2's published rule (:func:`ncsnv2_step`); with one step a level it overstates the std."""
    return _langevin(predict, y, sigmas, ncsnv2_step(sigmas[0] / sigmas[1]) if len(sigmas) > 1 else 1.0,
                     noise, callback)  # fmt: skip


def stationary_step(ratio: float) -> float:
    """κ* = sqrt(γ² - 1) for levels of ratio γ: the least biased step size when each level gets one step.

    One step maps the ratio r of the variance to its wanted value to (1 - κ)² γ² r + 2κ; the fixed point, about
    1 + κ/2 + (γ² - 1) / 2κ, is smallest there.
    """
    return math.sqrt(ratio**2 - 1)


def ncsnv2_step(ratio: float, steps: int = 1) -> float:
    """κ by technique 4 of NCSNv2 (arXiv 2006.09011): (1-κ)^{2T} (γ² - 2/(2-κ)) + 2/(2-κ) as near to 1 as can be.

    ``ratio`` is γ and ``steps`` T, the steps at each level; the published step size is κ σ_min².
    """
    from scipy.optimize import minimize_scalar

    def off(log_kappa: float) -> float:
        kappa = math.exp(log_kappa)
        limit = 2 / (2 - kappa)
        return abs((1 - kappa) ** (2 * steps) * (ratio**2 - limit) + limit - 1)

    grid = [math.log(1e-5) + i * (math.log(0.9) - math.log(1e-5)) / 400 for i in range(401)]
    best = min(range(401), key=lambda i: off(grid[i]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, 400)]
    return math.exp(float(minimize_scalar(off, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x))


def _langevin(
    predict: Predict, y: Tensor, sigmas: Sequence[float], kappa: float, noise: Noise | None, callback: Callback | None
) -> Tensor:
    assert noise is not None, "Langevin dynamics adds noise"
    total = len(sigmas) + 1
    for i, sigma in enumerate(sigmas):
        denoised = _evaluate(predict, y, sigma, callback, i, total)
        y = y + kappa * (denoised - y) + math.sqrt(2 * kappa) * sigma * noise(i)
    return _evaluate(predict, y, sigmas[-1], callback, total - 1, total)


def _log_step(sigma: float, following: float) -> float:
    return math.log(sigma / following)


def _levels(sigma: float, y: Tensor) -> Tensor:
    return torch.full((len(y),), sigma, device=y.device, dtype=torch.float32)


def _evaluate(predict: Predict, y: Tensor, sigma: float, callback: Callback | None, done: int, total: int) -> Tensor:
    if callback is not None:
        callback(done, total)
    return predict(y, _levels(sigma, y))
