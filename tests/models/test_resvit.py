from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, special
from torch.nn import functional as F

from helpers import PAIRS
from napari_mrtrans.checkpoints.card import Card, Grid, Intensity, SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.models import Batch, ResViT, build
from napari_mrtrans.models.base import VOCABULARY
from napari_mrtrans.models.resvit import load_vit_npz
from napari_mrtrans.networks.art import ResViTGenerator
from napari_mrtrans.networks.patch import PatchCritic
from napari_mrtrans.scan.intensity import HEADROOM

SMALL = {
    "width": 4,
    "blocks": 3,
    "transformer_blocks": [1, 3],
    "hidden": 16,
    "depth": 2,
    "heads": 2,
    "mlp": 32,
    "grid": [2, 2],
}


def resvit(**options: object) -> ResViT:
    torch.manual_seed(0)
    model = build("resvit", {"network": SMALL, "critic_width": 4, **options})
    assert isinstance(model, ResViT)
    return model


def settled(model: ResViT) -> ResViT:
    """As after some training, in evaluation mode: answers that depend on the input, running statistics that fit."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:
                torch.nn.init.kaiming_normal_(parameter)
        for _ in range(10):
            model.train().generate(*inputs(batch(8)))
    return model.eval()


def batch(n: int = 2, size: int = 32) -> Batch:
    """Smooth images; T1→T2 for all but the last, which is FLAIR→T1."""
    generator = torch.Generator().manual_seed(1)
    source = F.interpolate(torch.rand((n, 1, 4, 4), generator=generator), (size, size), mode="bilinear")
    first, second = torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.int64)
    first[-1], second[-1] = 3, 0
    return Batch(source, 0.9 - 0.8 * source.square(), first, second)


def inputs(b: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return b.source, b.source_contrast, b.target_contrast


def answer(model: ResViT, b: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model.sample(*inputs(b), torch.zeros(len(b.source), 1, *b.source.shape[-2:]), None)


def step(model: ResViT, b: Batch, critic: torch.nn.Module | None, optimisers: list[torch.optim.Optimizer]) -> None:
    """Critic, then model, as the trainer does."""
    generator = torch.Generator().manual_seed(0)
    if critic is not None:
        optimisers[1].zero_grad()
        critic.requires_grad_(True)
        model.critic_loss(critic, b, generator).backward()
        optimisers[1].step()
        critic.requires_grad_(False)
    optimisers[0].zero_grad()
    model.loss(b, generator, critic).backward()
    optimisers[0].step()


def adam(*modules: torch.nn.Module | None, lr: float = 2e-3) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam(module.parameters(), lr, betas=(0.5, 0.999)) for module in modules if module is not None]


@pytest.mark.parametrize(("transformers", "millions"), [(True, 123.1), (False, 11.4)])
def test_the_reference_sizes_have_as_many_parameters_as_the_official_code(transformers: bool, millions: float) -> None:
    with torch.device("meta"):
        model = build("resvit", {"network": {}, "transformers": transformers, "conditional": False})
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert model.multiple == 16
    assert model.deterministic


def test_all_transformers_share_one_encoder() -> None:
    with torch.device("meta"):
        one, two = (ResViTGenerator(in_channels=1, out_channels=1, transformer_blocks=[1, 6][:n]) for n in (1, 2))
    assert not {name for name in two.state_dict() if "layers" in name} ^ {n for n in one.state_dict() if "layers" in n}
    added = sum(p.numel() for p in two.parameters()) - sum(p.numel() for p in one.parameters())
    assert added == sum(p.numel() for p in two.blocks[5].transformer.parameters())
    assert len(two.transformer_modules()) == 2


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (48, 80), (16, 32)])
def test_any_multiple_of_16_goes(size: tuple[int, int], conditional: bool) -> None:
    model = settled(resvit(conditional=conditional))
    b = Batch(torch.rand(2, 1, *size), torch.rand(2, 1, *size), torch.tensor([0, 3]), torch.tensor([1, 0]))
    out = answer(model, b)
    assert out.shape == (2, 1, *size)
    assert out.min() >= 0 and out.max() <= 1


def test_positions_are_taken_as_they_are_on_their_own_grid_and_interpolated_on_others() -> None:
    net = resvit().net.eval()
    module = net.transformer_modules()[0]
    seen: list[torch.Tensor] = []
    module.embed.register_forward_hook(lambda _, args, out: torch.zeros_like(out))
    module.dropout.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for rows, columns in [(2, 2), (3, 5)]:
        module(torch.zeros(1, 16, 4 * rows, 4 * columns), net.transformer)
    torch.testing.assert_close(seen[0], module.positions.flatten(2).transpose(1, 2))
    wider = F.interpolate(module.positions, (3, 5), mode="bicubic")
    torch.testing.assert_close(seen[1], wider.flatten(2).transpose(1, 2))


def test_transformers_carry_content_across_the_slice() -> None:
    """From corner to corner, which is further than this CNN sees."""
    changes = []
    for transformers in (True, False):
        model, b = settled(resvit(transformers=transformers)), batch(2, 96)
        before = answer(model, b)
        b.source[..., :16, :16] += 0.5
        changes.append(float((answer(model, b) - before)[..., -16:, -16:].abs().max()))
    assert changes[0] > 1e-4
    assert changes[1] == 0


def test_the_source_fills_its_contrasts_channel_and_the_targets_channel_is_the_answer() -> None:
    model, b = settled(resvit()), batch(4)
    seen: list[torch.Tensor] = []
    model.net.register_forward_hook(lambda module, args, out: seen.extend([args[0], out]))
    out = answer(model, b)
    for i, (first, second) in enumerate(zip(b.source_contrast, b.target_contrast, strict=True)):
        torch.testing.assert_close(seen[0][i, first], 2 * b.source[i, 0] - 1)
        others = [channel for channel in range(len(VOCABULARY)) if channel != first]
        assert bool((seen[0][i, others] == -1).all())
        torch.testing.assert_close(out[i, 0], (seen[1][i, second] + 1) / 2)


def test_losses_are_least_squares_and_l1_in_signed_units() -> None:
    model, b = resvit(l1_weight=10.0, adversarial_weight=2.0).eval(), batch(3)

    class Mean(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape == (3, len(VOCABULARY), 32, 32)
            return images.mean((1, 2, 3))

    generator = torch.Generator()
    fake = answer(model, b)

    def score(image: torch.Tensor) -> torch.Tensor:
        """The mean over four channels in [-1, 1], two of which are background."""
        return ((2 * b.source - 1) + (2 * image - 1) - 2).mean((1, 2, 3)) / 4

    expected = 10 * (2 * (fake - b.target)).abs().mean() + 2 * (score(fake) - 1).square().mean()
    torch.testing.assert_close(model.loss(b, generator, Mean()), expected)
    expected = 0.5 * 2 * ((score(b.target) - 1).square().mean() + score(fake).square().mean())
    torch.testing.assert_close(model.critic_loss(Mean(), b, generator), expected)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("transformers", [True, False])
def test_one_training_step_moves_both_networks(transformers: bool, conditional: bool) -> None:
    model = resvit(transformers=transformers, conditional=conditional).train()
    critic = model.make_critic()
    assert critic is not None
    critic.train()
    before = [p.detach().clone() for p in model.parameters()]
    first = critic.body[0].weight.detach().clone()
    step(model, batch(), critic, adam(model, critic))
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert not torch.equal(first, critic.body[0].weight)


def test_critic_loss_gives_the_model_no_gradient() -> None:
    model = resvit()
    critic = model.make_critic()
    assert critic is not None
    model.critic_loss(critic, batch(), torch.Generator()).backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in critic.parameters())


def test_a_critics_patch_is_70_pixels() -> None:
    critic = PatchCritic(width=2).eval()
    images = torch.rand(1, 2, 128, 128, requires_grad=True)
    scores = critic(images)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    assert images.grad is not None
    touched = images.grad[0].abs().sum(0).nonzero()
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [70, 70]


def test_phase_two_starts_from_phase_one() -> None:
    first, second = settled(resvit(transformers=False)), resvit()
    initial = {name: value.clone() for name, value in second.state_dict().items()}
    given = {name: value.float() for name, value in first.state_dict().items()}  # as a checkpoint has them
    second.start_from(given)
    for name, value in second.state_dict().items():
        if name in given:
            torch.testing.assert_close(value.float(), given[name])
            assert value.dtype == initial[name].dtype
        else:
            assert "transformer" in name
            torch.testing.assert_close(value, initial[name])
    critic = second.make_critic()
    step(second.train(), batch(), critic, adam(second, critic))
    assert all(torch.isfinite(value).all() for value in second.state_dict().values())


def test_a_whole_network_starts_from_a_whole_network() -> None:
    first, second = settled(resvit()), resvit().eval()
    second.start_from(first.state_dict())
    torch.testing.assert_close(answer(second, batch()), answer(first, batch()))


def test_start_from_refuses_other_networks_and_leaves_the_model_alone() -> None:
    model = resvit()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = settled(resvit()).state_dict()
    with pytest.raises(ValueError, match="not in this network"):
        resvit(transformers=False).start_from(whole)
    with pytest.raises(ValueError, match="has shape"):
        model.start_from(resvit(transformers=False, conditional=False).state_dict())
    with pytest.raises(ValueError, match=r"tensors are missing \(net\.encode\.1\.weight"):
        model.start_from({name: value for name, value in whole.items() if name != "net.encode.1.weight"})
    with pytest.raises(ValueError, match="tensors are missing"):
        model.start_from({name: value for name, value in whole.items() if "positions" not in name})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_overfits_two_slices() -> None:
    """Measured in evaluation mode, so the running statistics are right too."""
    network = {**SMALL, "width": 8, "blocks": 1, "transformer_blocks": [1], "depth": 1, "dropout": 0.0}
    model = resvit(network=network).train()
    critic = model.make_critic()
    b, optimisers, steps = batch(), adam(model, critic, lr=5e-3), 60
    for i in range(steps):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = 5e-3 * (1 - i / steps)
        step(model, b, critic, optimisers)
    error = (answer(model.eval(), b) - b.target).square().mean()
    assert float(-10 * error.log10()) > 30


def test_without_an_adversarial_weight_there_is_no_critic() -> None:
    model, b = resvit(adversarial_weight=0.0).eval(), batch()
    assert model.make_critic() is None
    expected = 100 * (2 * (answer(model, b) - b.target)).abs().mean()
    torch.testing.assert_close(model.loss(b, torch.Generator()), expected)


def test_a_slice_is_answered_alike_alone_and_in_company() -> None:
    model, b = settled(resvit()), batch(4)
    alone = Batch(*(value[2:3] for value in (b.source, b.target, b.source_contrast, b.target_contrast)))
    torch.testing.assert_close(answer(model, b)[2:3], answer(model, alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("transformers", [True, False])
def test_a_checkpoint_restores_the_model(transformers: bool, tmp_path: Path) -> None:
    options = {"network": SMALL, "transformers": transformers, "pretrained_vit": "gone.npz" if transformers else None}
    model = settled(resvit(**options))
    card = Card(
        name="tiny",
        model="resvit",
        options=options,
        pairs=PAIRS,
        grid=Grid(),
        intensity=Intensity(headroom=HEADROOM),
        sampler=SamplerDefaults(),
    )
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "tiny.safetensors", model, card))
    assert checkpoint.deterministic
    model.start_from({name: value.half().float() for name, value in model.state_dict().items()})
    torch.testing.assert_close(answer(checkpoint.build(), batch()), answer(model, batch()), atol=1e-5, rtol=0)


def vit_arrays(
    hidden: int = 16, heads: int = 2, mlp: int = 32, layers: int = 2, side: int = 3
) -> dict[str, np.ndarray]:
    """A file of Google's naming with random weights; one class token before ``side`` x ``side`` positions."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embedding/kernel": (1, 1, 64, hidden),
        "embedding/bias": (hidden,),
        "Transformer/posembed_input/pos_embedding": (1, 1 + side**2, hidden),
        "Transformer/encoder_norm/scale": (hidden,),
        "Transformer/encoder_norm/bias": (hidden,),
        "head/kernel": (hidden, 5),
    }
    for i in range(layers):
        block, length = f"Transformer/encoderblock_{i}", hidden // heads
        for part in ("query", "key", "value"):
            shapes[f"{block}/MultiHeadDotProductAttention_1/{part}/kernel"] = (hidden, heads, length)
            shapes[f"{block}/MultiHeadDotProductAttention_1/{part}/bias"] = (heads, length)
        shapes[f"{block}/MultiHeadDotProductAttention_1/out/kernel"] = (heads, length, hidden)
        shapes[f"{block}/MultiHeadDotProductAttention_1/out/bias"] = (hidden,)
        shapes[f"{block}/MlpBlock_3/Dense_0/kernel"] = (hidden, mlp)
        shapes[f"{block}/MlpBlock_3/Dense_0/bias"] = (mlp,)
        shapes[f"{block}/MlpBlock_3/Dense_1/kernel"] = (mlp, hidden)
        shapes[f"{block}/MlpBlock_3/Dense_1/bias"] = (hidden,)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes[f"{block}/{norm}/scale"] = shapes[f"{block}/{norm}/bias"] = (hidden,)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def as_google_computes_it(arrays: dict[str, np.ndarray], tokens: np.ndarray, layers: int = 2) -> np.ndarray:
    """The encoder in NumPy, contracted over the arrays' own axes."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * arrays[f"Transformer/{name}/scale"] + arrays[f"Transformer/{name}/bias"]

    x = tokens.astype(np.float64)
    for i in range(layers):
        block = f"Transformer/encoderblock_{i}"
        part = {n.removeprefix(f"{block}/"): value for n, value in arrays.items() if n.startswith(block)}
        h = norm(x, f"encoderblock_{i}/LayerNorm_0")
        attention = "MultiHeadDotProductAttention_1"
        q, k, v = (
            np.einsum("bnd,dhk->bhnk", h, part[f"{attention}/{name}/kernel"])
            + part[f"{attention}/{name}/bias"][None, :, None]
            for name in ("query", "key", "value")
        )
        weights = special.softmax(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1]), axis=-1)
        out = np.einsum("bhnk,hkd->bnd", weights @ v, part[f"{attention}/out/kernel"])
        x = x + out + part[f"{attention}/out/bias"]
        h = norm(x, f"encoderblock_{i}/LayerNorm_2") @ part["MlpBlock_3/Dense_0/kernel"]
        h = h + part["MlpBlock_3/Dense_0/bias"]
        h = h * 0.5 * (1 + special.erf(h / np.sqrt(2)))
        x = x + h @ part["MlpBlock_3/Dense_1/kernel"] + part["MlpBlock_3/Dense_1/bias"]
    return norm(x, "encoder_norm")


def test_vit_weights_come_in_the_right_way_round(tmp_path: Path) -> None:
    arrays = vit_arrays()
    np.savez(tmp_path / "vit.npz", **arrays)
    model = resvit(pretrained_vit=str(tmp_path / "vit.npz")).eval()
    untouched = model.net.encode[1].weight.detach().clone()
    assert model.initialise() is None
    encoder = model.net.transformer
    assert encoder is not None
    tokens = np.random.default_rng(1).standard_normal((2, 4, 16)).astype(np.float32)
    with torch.no_grad():
        found = encoder(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(found, as_google_computes_it(arrays, tokens), atol=1e-4)
    square = arrays["Transformer/posembed_input/pos_embedding"][0, 1:].reshape(3, 3, 16)
    zoomed = ndimage.zoom(square, (2 / 3, 2 / 3, 1), order=1)
    for module in model.net.transformer_modules():
        np.testing.assert_allclose(module.positions.detach().numpy()[0].transpose(1, 2, 0), zoomed, atol=1e-6)
        features = torch.rand(1, 64, 1, 1)
        expected = features.numpy()[0, :, 0, 0] @ arrays["embedding/kernel"][0, 0] + arrays["embedding/bias"]
        np.testing.assert_allclose(module.embed(features).detach().numpy()[0, :, 0, 0], expected, atol=1e-5)
    assert torch.equal(untouched, model.net.encode[1].weight)


def test_a_plain_vits_patch_embedding_is_left_out(tmp_path: Path) -> None:
    arrays = vit_arrays()
    arrays["embedding/kernel"] = np.zeros((16, 16, 3, 16), np.float32)
    np.savez(tmp_path / "vit.npz", **arrays)
    model = resvit()
    before = model.net.transformer_modules()[0].embed.weight.detach().clone()
    load_vit_npz(model, tmp_path / "vit.npz")
    assert torch.equal(before, model.net.transformer_modules()[0].embed.weight)


def test_without_a_file_one_line_says_so() -> None:
    notice = resvit().initialise()
    assert notice is not None and "options.pretrained_vit" in notice and "\n" not in notice
    assert resvit(transformers=False).initialise() is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, "no file"),
        (b"PK\x03\x04 cut off", "damaged"),
        ({"layers": 1}, "has no 'Transformer/encoderblock_1"),
        ({"hidden": 24}, "of shape"),
        ({"heads": 4}, "of shape"),
        ({"mlp": 8}, "of shape"),
    ],
)
def test_a_wrong_vit_file_is_refused_in_one_line(change: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / "vit.npz"
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif isinstance(change, dict):
        np.savez(path, **vit_arrays(**change))
    model = resvit(pretrained_vit=str(path))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RecipeError, match=says) as caught:
        model.initialise()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "options",
    [
        {"network": {"hidden": 10, "heads": 4}},
        {"network": {"transformer_blocks": [10]}},
        {"network": {"transformer_blocks": []}},
        {"network": {"grid": [8]}},
        {"pretrained_vit": "vit.npz", "transformers": False},
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict) -> None:
    with torch.device("meta"), pytest.raises(ValueError):
        build("resvit", {"network": {}, **options})
