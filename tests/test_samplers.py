"""Samplers on distributions whose denoiser is known exactly, so that only the sampler can err."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from napari_mrtrans.samplers import SAMPLERS, Predict, dpm_solver_pp_2m, euler, heun, log_sigmas


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


def std_ratio(sampler: str, steps: int, s: float) -> float:
    """Sampled over true standard deviation; every sampler here is linear for a Gaussian, so one number is exact."""
    sigmas = log_sigmas(steps)
    out = SAMPLERS[sampler](gaussian(s), torch.full((1, 1), sigmas[0], dtype=torch.float64), sigmas)
    return float(out) / s


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


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_all_samplers_converge_to_the_true_spread(sampler: str) -> None:
    assert std_ratio(sampler, 2000, 0.1) == pytest.approx(1.0, abs=0.01)


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
