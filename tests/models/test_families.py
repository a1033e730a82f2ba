from __future__ import annotations

import pytest
import torch

from helpers import TINY, tiny_model
from napari_mrtrans.models import Batch, Direct, Flow, build
from napari_mrtrans.samplers import dpm_solver_pp_2m, log_sigmas


def batch(n: int = 4, size: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((2, n, 1, size, size), generator=generator)
    return Batch(images[0], images[1], torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.int64))


def flow(**options: object) -> Flow:
    model = build("flow", {"network": TINY, **options})
    assert isinstance(model, Flow)
    return model.eval()


def residual_flow() -> Flow:
    return flow(mean_network=TINY, residual_std=0.1)


def solve(predict, noise):
    sigmas = log_sigmas(4)
    return dpm_solver_pp_2m(predict, noise * sigmas[0], sigmas)


def test_direct_loss_is_the_mean_squared_error_in_signed_units() -> None:
    model, _ = tiny_model("direct")
    assert isinstance(model, Direct)
    b = batch()
    predicted = model.predict(b.source, b.source_contrast, b.target_contrast)
    expected = (2 * (predicted - b.target)).square().mean()
    assert float(model.loss(b, torch.Generator()).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_untrained_flow_denoiser_is_the_preconditioners_skip() -> None:
    """With F = 0 (zero-initialised head) D(y; σ) = σ_d² / (σ² + σ_d²) y."""
    model = flow()
    b = batch()
    condition = model.condition(b.source, b.source_contrast, b.target_contrast)
    y, sigma = torch.randn(4, 1, 16, 16), torch.tensor([0.01, 0.5, 2.0, 20.0])
    expected = y * (0.25 / (sigma**2 + 0.25))[:, None, None, None]
    torch.testing.assert_close(model.denoise(y, sigma, condition), expected)


def test_flow_loss_of_the_untrained_network_is_about_the_variance_of_its_target() -> None:
    """Preconditioning makes the network's target unit-variance when the data have standard deviation σ_d."""
    model = flow(sigma_data=0.5)
    generator = torch.Generator().manual_seed(0)
    target = 0.5 + 0.25 * torch.randn((256, 1, 16, 16), generator=generator)
    b = Batch(
        torch.rand(256, 1, 16, 16), target, torch.zeros(256, dtype=torch.int64), torch.ones(256, dtype=torch.int64)
    )
    assert float(model.loss(b, generator).detach()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("distribution", ["lognormal", "logistic"])
def test_training_sigmas_follow_their_distribution(distribution: str) -> None:
    model = flow(sigma_distribution=distribution, sigma_location=-0.5, sigma_scale=0.8)
    logs = model._draw_sigma(50_000, torch.Generator().manual_seed(0)).log()
    assert float(logs.mean()) == pytest.approx(-0.5, abs=0.03)
    spread = 0.8 if distribution == "lognormal" else 0.8 * torch.pi / 3**0.5
    assert float(logs.std()) == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("make", [flow, residual_flow])
def test_encode_and_decode_are_inverse(make) -> None:
    model, b = make(), batch()
    condition = model.condition(b.source, b.source_contrast, b.target_contrast)
    torch.testing.assert_close(model.decode(model.encode(b.target, condition), condition), b.target, atol=1e-5, rtol=0)


def test_residual_flow_trains_only_its_own_network() -> None:
    model = residual_flow().train()
    model.loss(batch(), torch.Generator().manual_seed(0)).backward()
    assert model.mean_net is not None
    assert all(p.grad is None for p in model.mean_net.parameters())
    assert model.net.head.weight.grad is not None
    assert bool(model.net.head.weight.grad.any())


def test_samples_of_a_slice_share_its_mean_and_differ_by_their_noise() -> None:
    model, b = residual_flow(), batch(2)
    noise = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        out = model.sample(b.source, b.source_contrast, b.target_contrast, noise, solve)
        alone = model.sample(b.source[1:], b.source_contrast[1:], b.target_contrast[1:], noise[1:, 2:], solve)
    assert out.shape == (2, 3, 16, 16)
    assert (out[0, 0] - out[0, 1]).abs().max() > 1e-3
    torch.testing.assert_close(out[1:, 2:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["direct", "flow"])
def test_a_training_step_lowers_the_loss(family: str) -> None:
    torch.manual_seed(0)
    model, b = build(family, {"network": TINY}), batch()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)

    def loss() -> torch.Tensor:
        return model.loss(b, torch.Generator().manual_seed(7))

    first = float(loss().detach())
    for _ in range(20):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert float(loss().detach()) < 0.9 * first
