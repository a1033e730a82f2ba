"""Schedule, learned variance and variational bound of ddpm against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from napari_mrtrans.models import DDPM
from napari_mrtrans.models.ddpm import BIN, _discretised, _gaussian, beta_schedule


def ddpm(**options: object) -> DDPM:
    return DDPM(network="tiny", conditional=False, **options).eval()


def test_linear_schedule_spans_the_known_noise_levels() -> None:
    model = ddpm()
    assert model.betas[[0, -1]] == pytest.approx([1e-4, 0.02])
    assert model.sigmas[[0, -1]] == pytest.approx([0.0100, 157.4], rel=1e-3)


def test_cosine_schedule_follows_its_formula() -> None:
    cumulative = np.cumprod(1 - beta_schedule("cosine", 100))

    def expected(t: int) -> float:
        return math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2

    assert cumulative[49] == pytest.approx(expected(50))
    with pytest.raises(ValueError, match="neither linear nor cosine"):
        beta_schedule("sigmoid", 10)


def test_own_levels_are_those_of_the_time_steps() -> None:
    model = ddpm()
    assert len(model.own_levels(1000)) == 1000
    assert model.own_levels(1) == [pytest.approx(float(model.sigmas[-1]))]
    assert model.own_levels(10) == pytest.approx([float(model.sigmas[t]) for t in range(900, -1, -100)])


def test_time_of_a_level_is_its_index_and_lies_between_for_others() -> None:
    model = ddpm()
    times = torch.tensor([0, 17, 500, 999])
    found = model.time_of(torch.from_numpy(model.sigmas[times.numpy()]))
    torch.testing.assert_close(found, times.float(), atol=1e-3, rtol=0)
    between = model.time_of(torch.tensor([math.sqrt(model.sigmas[4] * model.sigmas[5])]))
    assert float(between) == pytest.approx(4.5, abs=1e-3)


@pytest.mark.parametrize("t", [1, 2, 500, 999])
@pytest.mark.parametrize("v", [-1.0, 0.3, 1.0])
def test_bound_is_the_divergence_of_the_reverse_step_from_the_posterior(t: int, v: float) -> None:
    """With y_{t-1} | y_t, y_0 from Bayes' rule on the two Gaussian densities of the forward process."""
    model = ddpm()
    beta, cumulative, before = model.betas[t], model.alphas_cumprod[t], model.alphas_cumprod[t - 1]
    clean, noisy, predicted = 0.3, -0.7, 0.2
    precision = (1 - beta) / beta + 1 / (1 - before)
    mean = (math.sqrt(1 - beta) * noisy / beta + math.sqrt(before) * clean / (1 - before)) / precision
    denoised = (noisy - math.sqrt(1 - cumulative) * predicted) / math.sqrt(cumulative)
    guess = (math.sqrt(1 - beta) * noisy / beta + math.sqrt(before) * denoised / (1 - before)) / precision
    log_variance = (v + 1) / 2 * math.log(beta) + (1 - v) / 2 * math.log(1 / precision)
    true, ours = (
        Normal(*torch.tensor(parameters, dtype=torch.float64))
        for parameters in ((mean, precision**-0.5), (guess, math.exp(log_variance / 2)))
    )
    expected = float(kl_divergence(true, ours)) / math.log(2)
    values = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (clean, noisy, predicted, v))
    assert float(model.vlb(*values, torch.tensor([t]))) == pytest.approx(expected, rel=1e-6)


def test_first_term_is_a_likelihood() -> None:
    grey = (torch.arange(256, dtype=torch.float64) * BIN - 1)[:, None]
    mean = torch.tensor([[0.2, -0.98, 0.5]], dtype=torch.float64)
    log_variance = torch.tensor([[-6.0, -4.0, -9.0]], dtype=torch.float64)
    total = _discretised(grey, mean, log_variance).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    inner = slice(40, 200)
    exact, smooth = (f(grey[inner], mean[:, :1], log_variance[:, :1]) for f in (_discretised, _gaussian))
    likely = exact > -10
    torch.testing.assert_close(smooth[likely], exact[likely], atol=0.02, rtol=0.01)


def test_the_mean_does_not_learn_from_the_bound() -> None:
    """Hybrid loss: its gradient with respect to ε̂ is that of the simple loss alone."""
    gradients = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        model = ddpm(vlb_weight=weight)
        b = batch()
        model.loss(b, torch.Generator().manual_seed(0)).backward()
        gradients.append(model.net.head.weight.grad)
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert not gradients[0][1].any()
    assert gradients[1][1].any()


def batch():
    from napari_mrtrans.models import Batch

    index = torch.zeros(2, dtype=torch.int64)
    return Batch(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16), index, index + 1)


@pytest.mark.parametrize("stability", ["clamped", "paper"])
def test_clamping_is_a_choice(stability: str) -> None:
    model = ddpm(stability=stability)
    b = batch()
    condition = model.condition(b.source, b.source_contrast, b.target_contrast)
    with torch.no_grad():
        denoised, _ = model.denoise_with_variance(5 * torch.ones(2, 1, 16, 16), torch.full((2,), 0.01), condition)
    assert (float(denoised.max()) <= 1) == (stability == "clamped")
