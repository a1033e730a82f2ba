"""Samplers on distributions whose denoiser is known exactly, so that only the sampler can err."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from napari_mrtrans.models import DDPM, NCSN, Direct
from napari_mrtrans.models.sampler_plan import SAMPLERS, plan
from napari_mrtrans.models.samplers import (
    Predict,
    dpm_solver_pp_2m,
    euler,
    heun,
    log_sigmas,
    ncsnv2_step,
)


def gaussian(s: float) -> Predict:
    """Denoiser of N(0, s²): E[clean | y] = s² / (s² + σ²) y."""
    return lambda y, sigma: y * s**2 / (s**2 + sigma[:, None] ** 2)


def two_modes(centre: float, s: float) -> Predict:
    """Denoiser of an equal mixture of N(±centre, s²)."""

    def predict(y: Tensor, sigma: Tensor) -> Tensor:
        v = s**2 + sigma[:, None] ** 2
        right = torch.sigmoid(2 * centre * y / v)
        shrink = s**2 / v
        return right * (centre + shrink * (y - centre)) + (1 - right) * (-centre + shrink * (y + centre))

    return predict


def std_ratio(
    sampler: str, steps: int, s: float, levels: list[float] | None = None, predict: Predict | None = None
) -> float:
    """Sampled over true standard deviation.

    Every sampler is linear in its start and in each noise it adds when the data are Gaussian. So each source of
    randomness gets a coordinate of its own, and the length of the result is the exact standard deviation.
    """
    sigmas = levels or log_sigmas(steps)
    start = torch.zeros((1, len(sigmas) + 1), dtype=torch.float64)
    start[0, 0] = sigmas[0]

    def noise(step: int) -> Tensor:
        return torch.eye(len(sigmas) + 1, dtype=torch.float64)[step + 1 : step + 2]

    return float(SAMPLERS[sampler](predict or gaussian(s), start, sigmas, noise=noise).norm()) / s


class KnownVariance:
    """Denoiser of N(0, s²) that also knows the best variance of the step from its level to the next one."""

    def __init__(self, s: float, sigmas: list[float]) -> None:
        self.s, self.following = s, dict(pairwise(sigmas))

    def __call__(self, y: Tensor, sigma: Tensor) -> Tensor:
        return gaussian(self.s)(y, sigma)

    def with_variance(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        level = float(sigma[0])
        nearest = min(self.following, key=lambda known: abs(known - level), default=level)
        t2, s2 = nearest**2, self.following.get(nearest, 1.0) ** 2
        low, high = s2 * (t2 - s2) / t2, (1 + s2) * (t2 - s2) / (1 + t2)
        best = low + (1 - s2 / t2) ** 2 * self.s**2 * t2 / (self.s**2 + t2)
        v = 2 * (math.log(best) - math.log(low)) / (math.log(high) - math.log(low)) - 1
        return self(y, sigma), torch.full_like(y, v)


def test_levels_are_uniform_in_log_sigma() -> None:
    levels = log_sigmas(9, 0.002, 20.0)
    steps = [math.log(a / b) for a, b in pairwise(levels)]
    assert levels[0] == 20.0
    assert levels[-1] == pytest.approx(0.002)
    assert max(steps) - min(steps) < 1e-9


# The ratios of an independent study of the same schedule (±0.02 covers its Monte-Carlo noise and ours).
@pytest.mark.parametrize(
    ("steps", "s", "expected"),
    [
        (10, 0.01, 0.96),
        (10, 0.03, 1.02),
        (10, 0.1, 1.03),
        (10, 0.3, 1.05),
        (20, 0.03, 1.01),
        (20, 0.1, 1.01),
        (20, 0.3, 1.02),
    ],
)
def test_dpm_solver_keeps_the_spread(steps: int, s: float, expected: float) -> None:
    assert std_ratio("dpm++2m", steps, s) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("s", [0.03, 0.1, 0.3])
def test_euler_loses_spread_at_few_steps(s: float) -> None:
    assert std_ratio("euler", 10, s) < 0.85 * std_ratio("dpm++2m", 10, s)


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"langevin", "langevin-ncsnv2"}))
def test_samplers_converge_to_the_true_spread(sampler: str) -> None:
    assert std_ratio(sampler, 2000, 0.1) == pytest.approx(1.0, abs=0.01)


# The same study; the denoising at σ_min = 0.01 shrinks a spread of 0.01 by 1/√2 whatever the sampler.
@pytest.mark.parametrize(("s", "expected"), [(0.01, 0.71), (0.03, 0.96), (0.1, 1.0), (0.3, 1.01)])
def test_ancestral_steps_with_the_right_variance_keep_the_spread_at_20_levels(s: float, expected: float) -> None:
    levels = log_sigmas(20, 0.01, 40.0)
    ratio = std_ratio("ancestral", 20, s, levels, KnownVariance(s, levels))
    assert ratio == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("s", "expected"), [(0.01, 0.74), (0.03, 0.99), (0.1, 1.03), (0.3, 1.04)])
def test_langevin_with_one_step_a_level_is_nearly_unbiased(s: float, expected: float) -> None:
    levels = log_sigmas(1000, 0.01, 50.0)
    assert std_ratio("langevin", 1000, s, levels) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("s", [0.03, 0.1, 0.3])
def test_langevin_by_the_published_rule_overstates_the_spread(s: float) -> None:
    """The study, with κ = 0.016 where the rule's optimum is 0.0175: 1.39 to 1.47."""
    levels = log_sigmas(1000, 0.01, 50.0)
    assert 1.3 < std_ratio("langevin-ncsnv2", 1000, s, levels) < 1.5


@pytest.mark.parametrize(
    ("sigma_max", "levels", "steps", "published"),
    [(50, 232, 5, 6.2e-6), (90, 500, 5, 3.3e-6), (190, 1086, 3, 1.8e-6), (348, 2311, 3, 9e-7)],
    ids=["CIFAR-10", "CelebA", "bedroom", "FFHQ"],
)
def test_step_size_rule_gives_the_published_values(sigma_max: float, levels: int, steps: int, published: float) -> None:
    ratio = (sigma_max / 0.01) ** (1 / (levels - 1))
    assert ncsnv2_step(ratio, steps) * 0.01**2 == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize(("steps", "s", "expected"), [(10, 0.03, 0.38), (20, 0.1, 0.55), (50, 0.3, 0.93)])
def test_ddim_loses_spread_on_its_own_time_grid(steps: int, s: float, expected: float) -> None:
    levels = ddpm().own_levels(steps)
    assert std_ratio("ddim", steps, s, levels) == pytest.approx(expected, abs=0.03)


def ddpm() -> DDPM:
    return DDPM(network="tiny", conditional=False)


def test_the_reference_sampler_runs_on_the_levels_of_training() -> None:
    sampler, levels = plan(ddpm(), "reference", 7, 0.01, 40)
    assert sampler is SAMPLERS["ancestral"]
    assert levels == pytest.approx(sorted(ddpm().sigmas, reverse=True))
    sampler, levels = plan(NCSN(network="tiny"), "reference", 7, 0.002, 20)
    assert sampler is SAMPLERS["langevin"]
    assert (len(levels), levels[0], levels[-1]) == (1000, 50.0, pytest.approx(0.01))


def test_models_of_one_pass_have_no_reference_and_need_none() -> None:
    assert plan(Direct(network="tiny"), "reference", 7, 0.002, 20)[0] in SAMPLERS.values()


def test_few_step_solver_equals_that_of_diffusers() -> None:
    from diffusers import DPMSolverMultistepScheduler

    theirs = DPMSolverMultistepScheduler(
        1000, 1e-4, 0.02, use_lu_lambdas=True, prediction_type="sample", final_sigmas_type="zero"
    )
    theirs.set_timesteps(12)
    sigmas = [float(sigma) for sigma in theirs.sigmas[:-1]]
    start = torch.randn((5, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predict = two_modes(0.4, 0.1)
    x = start * sigmas[0] / math.sqrt(1 + sigmas[0] ** 2)
    for sigma, t in zip(sigmas, theirs.timesteps, strict=True):
        clean = predict(x * math.sqrt(1 + sigma**2), torch.full((5,), sigma))
        x = theirs.step(clean, t, x).prev_sample
    ours = dpm_solver_pp_2m(predict, start * sigmas[0], sigmas)
    torch.testing.assert_close(ours, x, atol=1e-5, rtol=1e-5)


def test_learned_range_chain_equals_that_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, 1e-4, 0.02, variance_type="learned_range", clip_sample=True)
    model, s = ddpm(), 0.2
    start = torch.randn((6, 1, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fraction = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(6, 1, 1, 1)

    class Clipped:
        def __call__(self, y: Tensor, sigma: Tensor) -> Tensor:
            return self.with_variance(y, sigma)[0]

        def with_variance(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            return gaussian(s)(y[..., 0, 0], sigma.double())[..., None, None].clamp(-1, 1), fraction

    def noise(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        return torch.randn((6, 1, 1, 1), generator=generator, dtype=torch.float64)

    levels = model.own_levels(1000)
    x = start * levels[0] / math.sqrt(1 + levels[0] ** 2)
    for step, t in enumerate(range(999, -1, -1)):
        sigma = float(model.sigmas[t])
        cumulative = 1 / (1 + sigma**2)
        clean = gaussian(s)((x / math.sqrt(cumulative))[..., 0, 0], torch.full((6,), sigma, dtype=torch.float64))
        predicted = (x - math.sqrt(cumulative) * clean[..., None, None]) / math.sqrt(1 - cumulative)
        generator = torch.Generator().manual_seed(step)
        x = theirs.step(torch.cat([predicted, fraction], dim=1), t, x, generator=generator).prev_sample
    ours = SAMPLERS["ancestral"](Clipped(), start * levels[0], levels, noise=noise)
    torch.testing.assert_close(ours, x, atol=1e-5, rtol=1e-5)


def test_second_order_samplers_converge_faster_than_euler() -> None:
    def error(sampler: str, steps: int) -> float:
        return abs(std_ratio(sampler, steps, 0.3) - std_ratio(sampler, 4000, 0.3))

    assert error("euler", 100) / error("euler", 200) == pytest.approx(2, rel=0.2)
    assert error("dpm++2m", 100) / error("dpm++2m", 200) == pytest.approx(4, rel=0.3)
    assert error("heun", 100) / error("heun", 200) == pytest.approx(4, rel=0.3)


def test_both_modes_are_found_and_no_mass_lies_between() -> None:
    sigmas = log_sigmas(10)
    noise = torch.randn((20_000, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = dpm_solver_pp_2m(two_modes(0.4, 0.02), noise * sigmas[0], sigmas)
    assert float((out > 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    assert float((out.abs() < 0.2).double().mean()) < 0.02
    assert float(out.std()) == pytest.approx(math.hypot(0.4, 0.02), rel=0.05)


@pytest.mark.parametrize(("sampler", "calls"), [(dpm_solver_pp_2m, 7), (euler, 7), (heun, 13)])
def test_callback_comes_before_every_evaluation_and_may_stop_it(sampler, calls: int) -> None:
    seen: list[tuple[int, int]] = []
    sampler(gaussian(0.1), torch.ones(1, 1), log_sigmas(7), callback=lambda done, total: seen.append((done, total)))
    assert seen == [(i, calls) for i in range(calls)]

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        sampler(gaussian(0.1), torch.ones(1, 1), log_sigmas(7), callback=stop)
