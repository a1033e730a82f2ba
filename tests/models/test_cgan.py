"""Latent normalisation, gradient penalty and the generator's use of its latent vector."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from helpers import TINY
from napari_mrtrans.models import CGAN, Batch
from napari_mrtrans.models.cgan import (
    WIDTHS,
    gradient_penalty,
    noise_at_widths,
    two_sample_crps,
    two_sample_regulariser,
)
from napari_mrtrans.networks.blocks import ConditionalInstanceNorm
from napari_mrtrans.networks.critic import Critic

PAIR = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)


def cgan(**options: object) -> CGAN:
    torch.manual_seed(0)
    model = CGAN(network=TINY, critic_width=8, critic_grid=1, **options)
    nn.init.normal_(model.net.head.weight, std=0.1)
    for parameter in model.net.parameters():
        if parameter.dim() == 4 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((2, 3, 1, 16, 16), generator=generator)
    return Batch(images[0], images[1], *PAIR)


@pytest.mark.parametrize("form", ["elu", "affine"])
def test_normalisation_scales_and_shifts_by_the_latent_vector(form) -> None:
    torch.manual_seed(0)
    norm = ConditionalInstanceNorm(4, 5, form)
    h, z = torch.randn(3, 4, 8, 8), torch.randn(3, 5)
    out = norm(h, z)
    raw = norm.project(z)
    gamma, beta = raw[:, :4], raw[:, 4:]
    gamma, beta = (nn.functional.elu(gamma), nn.functional.elu(beta)) if form == "elu" else (1 + gamma, beta)
    torch.testing.assert_close(out.mean((2, 3)), beta, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(out.std((2, 3), correction=0), gamma.abs(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(norm(7 * h + 3, z), out, atol=1e-4, rtol=1e-3)


class Linear(nn.Module):
    def __init__(self, source_weight: float, image_weight: float) -> None:
        super().__init__()
        self.weights = source_weight, image_weight

    def forward(self, source: Tensor, image: Tensor, *pair: Tensor) -> Tensor:
        return (self.weights[0] * source + self.weights[1] * image).flatten(1).sum(1)


def test_penalty_of_a_linear_critic_is_known() -> None:
    """Over 64 pixels the gradient of w · image has length 8 w; with the source, 8 sqrt(v² + w²)."""
    x, y = torch.randn(3, 1, 8, 8), torch.randn(3, 1, 8, 8)
    critic = Linear(0.3, 0.4)
    assert float(gradient_penalty(critic, x, y, PAIR)) == pytest.approx((8 * 0.4 - 1) ** 2, rel=1e-5)
    assert float(gradient_penalty(critic, x, y, PAIR, full=True)) == pytest.approx((8 * 0.5 - 1) ** 2, rel=1e-5)


def test_critic_scores_each_sample_on_its_own() -> None:
    torch.manual_seed(0)
    critic = Critic(width=8, grid=2)
    x, y = torch.randn(3, 1, 32, 32), torch.randn(3, 1, 32, 32)
    scores = critic(x, y, *PAIR)
    assert scores.shape == (3,)
    torch.testing.assert_close(critic(x[1:2], y[1:2], PAIR[0][:1], PAIR[1][:1]), scores[1:2], atol=1e-5, rtol=1e-5)
    assert (critic(x, y, PAIR[0] + 3, PAIR[1]) - scores).abs().max() > 1e-5


@pytest.mark.parametrize("form", ["elu", "image"])
def test_samples_differ_by_their_noise_alone(form: str) -> None:
    model, b = cgan(latent_form=form).eval(), batch()
    z = torch.randn(3, 4, model.latent) if form == "elu" else torch.randn(3, 4, 16, 16)
    with torch.no_grad():
        out = model.sample(b.source, *PAIR, z, None)
        alone = model.sample(b.source[2:], PAIR[0][2:], PAIR[1][2:], z[2:, 3:], None)
    assert out.shape == (3, 4, 16, 16)
    assert float(out.std(1).mean()) > 1e-3
    torch.testing.assert_close(out[2:, 3:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(64, 48), (33, 47)])
def test_an_image_of_noise_is_shown_at_several_widths(shape: tuple[int, int]) -> None:
    """All of variance 1 everywhere; each wider one is smoother than a white image by as much as its Gaussian says."""
    z = torch.randn((600, *shape), generator=torch.Generator().manual_seed(0))
    shown = noise_at_widths(z)
    assert shown.shape == (600, len(WIDTHS), *shape)
    torch.testing.assert_close(shown[:, 0], z, atol=1e-5, rtol=0)
    assert shown.std(0).sub(1).abs().max() < 0.2  # of 600: 0.03 each
    assert shown.std((0, 2, 3)).sub(1).abs().max() < 0.1
    torch.testing.assert_close(shown[:, -1].std((1, 2)), torch.zeros(600), atol=1e-5, rtol=0)
    alike = (shown[:, 1] * shown[:, 1].roll(4, dims=1)).mean()
    assert float(alike) == pytest.approx(math.exp(-(4**2) / (4 * 2**2)), abs=0.02)


@pytest.mark.parametrize(("samples", "form"), [(1, "elu"), (2, "elu"), (2, "image")])
def test_each_side_learns_alone(samples: int, form: str) -> None:
    model, b = cgan(critic_samples=samples, latent_form=form), batch()
    critic = model.make_critic()
    model.critic_loss(critic, b, torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is None for p in model.parameters())
    assert any(bool(p.grad.any()) for p in critic.parameters() if p.grad is not None)
    critic.requires_grad_(False)
    model.loss(b, torch.Generator().manual_seed(0), critic).backward()
    assert bool(model.net.head.weight.grad.any())


class Difference(nn.Module):
    """How far two images are apart."""

    def forward(self, source: Tensor, images: Tensor, *pair: Tensor) -> Tensor:
        return (images[:, 0] - images[:, 1]).abs().mean((1, 2))


def test_a_critic_of_two_samples_sees_that_they_are_too_alike() -> None:
    """L of a critic that measures distance is what two samples lack of the distance of a sample and the target."""
    model, b = cgan(critic_samples=2), batch()
    x, fake = model._fake(b, torch.Generator().manual_seed(0))
    assert fake.shape == (3, 2, 16, 16)
    within, target = Difference()(x, fake), 2 * b.target - 1
    across = torch.stack([Difference()(x, torch.cat([fake[:, [k]], target], 1)) for k in (0, 1)])
    loss = float(model.loss(b, torch.Generator().manual_seed(0), Difference()).detach())
    possible = across.min(0).values.mean() - within.mean(), across.max(0).values.mean() - within.mean()
    assert possible[0] - 1e-6 <= loss <= possible[1] + 1e-6
    collapsed = float(across.mean().detach())
    assert loss < collapsed  # which is what samples that are all the same would get


def test_the_target_stands_in_either_place_beside_a_sample() -> None:
    model, b = cgan(critic_samples=2), batch()
    b = Batch(*(images.repeat(20, 1, 1, 1) for images in (b.source, b.target)), *(p.repeat(20) for p in PAIR))
    fake = torch.zeros(60, 2, 16, 16) + torch.tensor([7.0, 8.0])[:, None, None]
    real = model._real(b, fake, torch.Generator().manual_seed(0))
    first = (real[:, 1] == 8).all(dim=(1, 2))
    assert 15 < int(first.sum()) < 45
    torch.testing.assert_close(real[first, 0], 2 * b.target[first, 0] - 1)
    torch.testing.assert_close(real[~first, 1], 2 * b.target[~first, 0] - 1)
    assert (real[~first, 0] == 7).all()


def test_regulariser_is_least_at_the_mean_and_the_deviation_of_a_gaussian_target() -> None:
    """Samples N(m, s) against targets N(0.3, 0.2)."""
    torch.manual_seed(0)
    target = 0.3 + 0.2 * torch.randn(1, 1, 400, 500)
    noise = torch.randn(1, 2, 400, 500)

    def at(mean: float, std: float) -> float:
        return float(two_sample_regulariser(target, mean + std * noise))

    best = at(0.3, 0.2)
    assert best < min(at(0.3, 0.14), at(0.3, 0.28), at(0.3, 0.0), at(0.2, 0.2), at(0.4, 0.2))


def test_crps_is_least_for_the_distribution_of_the_target_gaussian_or_not() -> None:
    """A target that is far off once in ten: nine tenths N(0, 0.05), one N(0, 0.6)."""
    torch.manual_seed(0)

    def drawn(images: int, share: float, wide: float) -> Tensor:
        noise = torch.randn(1, images, 400, 500)
        return noise * torch.where(torch.rand_like(noise) < share, wide, 0.05)

    target = drawn(1, 0.1, 0.6)
    right, narrow, often, gaussian = (
        float(two_sample_crps(target, drawn(2, share, wide)))
        for share, wide in ((0.1, 0.6), (0.0, 0.6), (0.3, 0.6), (1.0, float(target.std())))
    )
    assert right < min(narrow, often, gaussian)


def test_crps_of_blocks_sees_what_samples_share() -> None:
    """Noise of one pixel beside an offset of the whole image, of equal variance: pixel by pixel they are alike."""
    torch.manual_seed(0)
    target, offset = (torch.randn(400, images, 1, 1).expand(-1, -1, 16, 16) for images in (1, 2))
    grain = torch.randn(400, 2, 16, 16)

    def score(images: Tensor, *scales: int) -> float:
        model = cgan(critic_samples=2, regularisation=1.0, score="crps", scales=scales)
        return float(model._regulariser(target, images))

    assert score(offset, 1) == pytest.approx(score(grain, 1), abs=0.05)
    assert score(offset, 16) < score(grain, 16) - 0.1
    assert score(offset, 1, 16) == pytest.approx((score(offset, 1) + score(offset, 16)) / 2, rel=1e-5)


def test_regularisation_alone_needs_no_critic() -> None:
    model, b = cgan(critic_samples=2, regularisation=10.0, adversarial=False), batch()
    assert model.make_critic() is None
    alone = model.loss(b, torch.Generator().manual_seed(0))
    alone.backward()
    assert bool(model.net.head.weight.grad.any())
    both = cgan(critic_samples=2, regularisation=10.0).loss(b, torch.Generator().manual_seed(0), Difference())
    critic = cgan(critic_samples=2).loss(b, torch.Generator().manual_seed(0), Difference())
    assert float(both.detach()) == pytest.approx(float((alone + critic).detach()), rel=1e-5)


@pytest.mark.parametrize("options", [{"regularisation": 1.0}, {"critic_samples": 2, "adversarial": False}])
def test_a_regularisation_that_cannot_be_is_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="regularisation"):
        cgan(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"scales": [4]},
        {"score": "crps", "scales": []},
        {"score": "crps", "scales": [0]},
        {"score": "energy"},
        {"scales": [2.5]},
        {"scales": 4},
        {"score": "crps", "regularisation": 0.0},
    ],
)
def test_scores_that_cannot_be_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=r"scales:|score:"):
        cgan(**{"critic_samples": 2, "regularisation": 1.0, **options})


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
def test_critic_pools_to_a_sixteenth(unshuffle: int) -> None:
    critic = Critic(width=8, grid=2, images=2, unshuffle=unshuffle)
    maps = []
    critic.body[-2].register_forward_hook(lambda module, given, out: maps.append(given[0].shape))
    assert critic(torch.randn(3, 1, 64, 32), torch.randn(3, 2, 64, 32), *PAIR).shape == (3,)
    assert maps == [(3, 32, 4, 2)]


def test_generator_and_critic_are_as_big_as_meant() -> None:
    with torch.device("meta"):
        generator, critic = CGAN(network="fast"), Critic(width=32, contrasts=0)
    assert sum(p.numel() for p in generator.parameters()) < 4e6
    assert sum(p.numel() for p in critic.parameters()) == pytest.approx(1.8e6, rel=0.35)


def test_a_vector_of_no_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="latent: a vector of 0 numbers tells nothing"):
        cgan(latent=0)
    assert cgan(latent=0, latent_form="image").latent == 0
