from __future__ import annotations

import math

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from helpers import TINY, tiny_model
from napari_mrtrans.models import CGAN, Batch, Direct, Flow, Model, build
from napari_mrtrans.models.families import FAMILIES, family_of
from napari_mrtrans.models.samplers import dpm_solver_pp_2m, log_sigmas
from napari_mrtrans.networks.unet import PRESETS
from napari_mrtrans.training.ema import ema_rule


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


def residual_cgan() -> CGAN:
    model = build("cgan", {"network": TINY, "mean_network": TINY, "critic_grid": 1})
    assert isinstance(model, CGAN)
    return model.eval()


def solve(predict, noise):
    sigmas = log_sigmas(4)
    return dpm_solver_pp_2m(predict, noise * sigmas[0], sigmas)


@pytest.mark.parametrize(
    ("family", "options", "told"),
    [
        ("cgan", {}, True),
        ("cgan", {"adversarial": False, "regularisation": 1.0, "critic_samples": 2}, False),
        ("resvit", {}, True),
        ("resvit", {"adversarial_weight": 0.0}, False),
        ("flow", {}, False),
    ],
)
def test_a_family_tells_by_the_options_whether_a_model_has_a_critic(
    family: str, options: dict[str, object], told: bool
) -> None:
    model, whole = tiny_model(family, **options)
    assert family_of(family).has_critic(whole) == told
    assert (model.make_critic() is not None) == told


def test_no_two_families_that_sample_start_from_the_same_noise() -> None:
    models = [tiny_model(name)[0] for name, family in FAMILIES.items() if not family.deterministic]
    assert len(models) > 3
    assert len({model.stream for model in models}) == len(models)


@pytest.mark.parametrize(("family", "options"), [("flow", {}), ("ncsn", {}), ("ddpm", {}), ("ddpm", {"steps": 40})])
def test_the_reference_is_known_without_the_model(family: str, options: dict[str, int]) -> None:
    name, steps = build(family, {"network": TINY, **options}).reference
    assert family_of(family).reference_of(options) == {"sampler": name, "steps": steps}


def test_direct_loss_is_the_mean_squared_error_in_signed_units() -> None:
    model, _ = tiny_model("direct")
    assert isinstance(model, Direct)
    b = batch()
    predicted = model.predict(b.source, b.source_contrast, b.target_contrast)
    expected = (2 * (predicted - b.target)).square().mean()
    assert float(model.loss(b, torch.Generator()).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_direct_goes_on_from_a_network_without_a_curve_or_with_other_sessions() -> None:
    first, _ = tiny_model("direct")
    second = build("direct", {"network": {**TINY, "curve": 4}, "sessions": 3})
    second.start_from(first.state_dict())
    b = batch()
    with torch.no_grad():
        given, taken = (
            model.eval().predict(b.source, b.source_contrast, b.target_contrast) for model in (first, second)
        )
    torch.testing.assert_close(taken, given)
    second.start_from(build("direct", {"network": TINY, "sessions": 5}).state_dict())
    with pytest.raises(ValueError, match="Missing key"):
        second.start_from(build("direct", {"network": {**TINY, "widths": [8, 8]}}).state_dict())


@pytest.mark.parametrize(("pivot", "middle"), [("zero", 0.0), ("median", 1 / 3.5)])
def test_session_effects_are_centred_and_bring_gain_and_offset_inside_the_head(pivot: str, middle: float) -> None:
    model = build("direct", {"network": TINY, "sessions": 2, "pivot": pivot})
    assert isinstance(model, Direct)
    assert model.effects is not None
    b = batch(2)
    b.source[:, :, :4] = 0
    b.session = torch.tensor([0, 1])
    with torch.no_grad():
        model.effects[0, 1] = torch.tensor([0.4, 0.2])
        plain = 0.3 + torch.zeros(2, 1, 16, 16)
        out = (model._as_in_session(2 * plain - 1, b) + 1) / 2
    for index, sign in ((0, 1), (1, -1)):
        gain, offset = math.exp(sign * 0.2), sign * 0.1
        torch.testing.assert_close(out[index, :, 4:], (middle + gain * (plain - middle) + offset)[index, :, 4:])
        torch.testing.assert_close(out[index, :, :4], plain[index, :, :4])


def test_effects_average_to_nothing_over_the_counted_sessions() -> None:
    model = build("direct", {"network": TINY, "sessions": 3, "averaged": {"T2": [0, 1], "PD": [2]}})
    assert isinstance(model, Direct)
    assert model.effects is not None
    with torch.no_grad():
        model.effects.normal_(generator=torch.Generator().manual_seed(0))
        centred = model.centred_effects()
    for contrast, sessions in ((0, [0, 1, 2]), (1, [0, 1]), (2, [2])):
        torch.testing.assert_close(centred[sessions, contrast].mean(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(centred[2, 1] - centred[0, 1], model.effects[2, 1] - model.effects[0, 1])


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


@pytest.mark.parametrize(("family", "options"), [("ncsn", {}), ("ddpm", {"vlb_weight": 0.0})])
def test_even_weights_bring_the_error_of_every_sigma_to_that_of_the_flow(family: str, options: dict) -> None:
    """The untrained F = 0 is wrong by a unit variance at every σ, of which ε̂ shows almost nothing where σ is large."""
    target = 0.5 + 0.25 * torch.randn((256, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    index = torch.zeros(256, dtype=torch.int64)
    b = Batch(torch.rand(256, 1, 16, 16), target, index, index + 1)
    losses = {}
    for weighting in ("noise", "even"):
        model = build(
            family,
            {"network": TINY, "prediction": "preconditioned", "weighting": weighting, "sigma_data": 0.5, **options},
        )
        losses[weighting] = float(model.loss(b, torch.Generator().manual_seed(0)).detach())
    assert losses["even"] == pytest.approx(0.5 if family == "ncsn" else 1.0, rel=0.05)
    assert losses["noise"] < 0.7 * losses["even"]


@pytest.mark.parametrize("distribution", ["lognormal", "logistic"])
def test_training_sigmas_follow_their_distribution(distribution: str) -> None:
    model = flow(sigma_distribution=distribution, sigma_location=-0.5, sigma_scale=0.8)
    logs = model._draw_sigma(50_000, torch.Generator().manual_seed(0)).log()
    assert float(logs.mean()) == pytest.approx(-0.5, abs=0.03)
    spread = 0.8 if distribution == "lognormal" else 0.8 * torch.pi / 3**0.5
    assert float(logs.std()) == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("make", [flow, residual_flow, residual_cgan])
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


def test_starting_from_another_residual_model_keeps_the_own_mean() -> None:
    first, second = residual_flow(), residual_flow()
    for network in (first.net, first.mean_net, second.mean_net):
        assert network is not None
        torch.nn.init.normal_(network.head.weight)
    assert second.mean_net is not None
    mean = second.mean_net.head.weight.clone()
    second.start_from(first.state_dict())
    torch.testing.assert_close(second.net.head.weight, first.net.head.weight)
    torch.testing.assert_close(second.mean_net.head.weight, mean)


def test_untrained_residual_gan_answers_with_its_mean_network() -> None:
    model, b = residual_cgan(), batch()
    assert model.mean_net is not None
    torch.nn.init.normal_(model.mean_net.head.weight, std=0.1)
    with torch.no_grad():
        mean = model.condition(b.source, b.source_contrast, b.target_contrast).mean
        out = model.sample(b.source, b.source_contrast, b.target_contrast, torch.randn(4, 2, model.latent), solve)
    assert mean is not None
    assert float(mean.std()) > 0.01
    torch.testing.assert_close(2 * out - 1, mean.expand_as(out))


@pytest.mark.parametrize("family", ["ncsn", "ddpm"])
def test_preconditioned_families_denoise_as_the_flow_whose_weights_they_take(family: str) -> None:
    first, _ = tiny_model("flow")
    second = build(family, {"network": TINY, "prediction": "preconditioned"})
    second.start_from(first.state_dict())
    b = batch()
    noisy, sigma = torch.randn(4, 1, 16, 16), torch.tensor([0.02, 0.3, 1.0, 8.0])
    with torch.no_grad():
        given, taken = (
            model.eval().denoise(noisy, sigma, model.condition(b.source, b.source_contrast, b.target_contrast))  # type: ignore[attr-defined]
            for model in (first, second)
        )
    torch.testing.assert_close(taken, given.clamp(-1, 1), atol=1e-4, rtol=1e-4)


def test_samples_of_a_slice_share_its_mean_and_differ_by_their_noise() -> None:
    model, b = residual_flow(), batch(2)
    noise = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        out = model.sample(b.source, b.source_contrast, b.target_contrast, noise, solve)
        alone = model.sample(b.source[1:], b.source_contrast[1:], b.target_contrast[1:], noise[1:, 2:], solve)
    assert out.shape == (2, 3, 16, 16)
    assert (out[0, 0] - out[0, 1]).abs().max() > 1e-3
    torch.testing.assert_close(out[1:, 2:], alone, atol=1e-5, rtol=1e-5)


def train(
    family: str,
    options: dict,
    b: Batch,
    steps: int,
    lr: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    critic_updates: int = 1,
    ema: float = 0.0,
) -> tuple[Model, list[float]]:
    """``steps`` updates, the critic's too where there is one, the rate falling over the second half; model, losses.

    The model has the averaged weights that the trainer writes, where ``ema`` is not 0.
    """
    torch.manual_seed(0)
    model = build(family, options)
    critic = model.make_critic()
    optimiser = torch.optim.Adam(model.parameters(), lr, betas)
    opponent = torch.optim.Adam(critic.parameters(), lr, betas) if critic is not None else None
    averaged = AveragedModel(model, multi_avg_fn=ema_rule(ema))
    losses = []
    for step in range(steps):
        for group in (*optimiser.param_groups, *(opponent.param_groups if opponent else ())):
            group["lr"] = lr * min(1, 2 * (steps - step) / steps)
        generator = torch.Generator().manual_seed(step)
        for _ in range(critic_updates if critic is not None else 0):
            assert critic is not None
            assert opponent is not None
            opponent.zero_grad()
            model.critic_loss(critic, b, generator).backward()
            opponent.step()
        optimiser.zero_grad()
        loss = model.loss(b, generator, critic)
        loss.backward()
        optimiser.step()
        averaged.update_parameters(model)
        losses.append(float(loss.detach()))
    return averaged.module if ema else model, losses


@pytest.mark.parametrize("family", ["direct", "flow", "ncsn", "ddpm"])
def test_training_lowers_the_loss(family: str) -> None:
    _, losses = train(family, {"network": TINY}, batch(), 60)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


@pytest.mark.parametrize("family", ["direct", "cgan", "ncsn", "ddpm", "flow"])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_family_takes_a_step_at_every_size(family: str, preset: str) -> None:
    options: dict = {"network": preset, "conditional": preset != "paper"}
    if family == "cgan":
        options["critic_grid"] = 1
    model, losses = train(family, options, batch(2, 32), 1)
    assert math.isfinite(losses[0])
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


@pytest.mark.parametrize(
    ("family", "option"),
    [("ddpm", "first_term"), ("ddpm", "prediction"), ("ncsn", "prediction"),
     ("ncsn", "weighting"), ("cgan", "penalty"),
     ("flow", "sigma_distribution")],
)  # fmt: skip
def test_a_misspelt_choice_is_refused(family: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} 'discretized' is none of "):
        build(family, {"network": TINY, option: "discretized"})


def smooth_batch() -> Batch:
    """Two slices of smooth structure."""
    coarse = torch.rand((2, 2, 1, 4, 4), generator=torch.Generator().manual_seed(3)).flatten(0, 1)
    images = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic").clamp(0, 1).reshape(2, 2, 1, 16, 16)
    index = torch.zeros(2, dtype=torch.int64)
    return Batch(images[0], images[1], index, index + 1)


#: Copies of each slice in a batch (one where nothing is random), the model's options, and how it is trained.
LEARN_BY_HEART: dict[str, tuple[int, dict, dict]] = {
    "direct": (1, {}, {"steps": 150, "lr": 5e-3}),
    "flow": (16, {"sigma_location": 0.0, "sigma_scale": 1.6}, {"steps": 300, "lr": 5e-3}),
    "ncsn": (16, {"prediction": "preconditioned"}, {"steps": 400, "lr": 5e-3}),
    "ddpm": (16, {}, {"steps": 600, "lr": 5e-3}),
    "cgan": (
        2,
        {"latent": 16, "latent_form": "affine", "critic_width": 16, "critic_grid": 1},
        {"steps": 400, "lr": 1e-3, "betas": (0.5, 0.9), "critic_updates": 4, "ema": 0.99},
    ),
}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[pytest.mark.nightly] if name in ("ddpm", "cgan", "ncsn") else [])
        for name in LEARN_BY_HEART
    ],
)
def test_two_slices_can_be_learned_by_heart(family: str) -> None:
    """PSNR of the mean of 4 samples above 30 dB.

    A generator goes round its optimum for as long as it plays against a critic: where it stands at the last step
    depends on rounding (27 to 30 dB); its averaged weights, which are what the trainer writes, do not (33 dB).
    """
    copies, options, how = LEARN_BY_HEART[family]
    b = smooth_batch()
    repeated = Batch(
        *(v.repeat_interleave(copies, 0) for v in (b.source, b.target, b.source_contrast, b.target_contrast))
    )
    network = {"widths": [16, 32], "blocks": 1, "unshuffle": 2, "groups": 4}
    model, _ = train(family, {"network": network, "conditional": False, **options}, repeated, **how)
    model.eval()
    levels = log_sigmas(12, 0.01, 20.0)
    size = (model.latent,) if model.latent else (16, 16)
    noise = torch.randn((2, 1 if model.deterministic else 4, *size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = model.sample(
            b.source, b.source_contrast, b.target_contrast, noise,
            lambda predict, start: dpm_solver_pp_2m(predict, start * levels[0], levels),
        )  # fmt: skip
    error = (out.mean(1, keepdim=True) - b.target).square().mean()
    assert -10 * math.log10(float(error)) > 30
