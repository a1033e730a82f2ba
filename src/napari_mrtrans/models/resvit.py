"""resvit: residual vision transformer with an adversarial loss (paper, "Residual vision transformation (ResViT)").

After Dalmaz, Yurt & Çukur 2022 (arXiv 2106.16031): a generator g with ART blocks in its bottleneck
(:mod:`napari_mrtrans.networks.art`) against a 70 x 70 PatchGAN d, least-squares loss (Mao et al. 2017, arXiv
1611.04076), images in [-1, 1]:

    L(g) = λ_adv E ( d(x, g(x)) - 1 )² + λ_1 E | g(x) - y |
    L(d) = λ_adv / 2 ( E ( d(x, y) - 1 )² + E d(x, g(x))² )

Several pairs go through one network as in its unified synthesis model: an input channel for each contrast, all but the
source's at background (-1), and an output channel for each contrast, of which the target's is used. The critic sees
source and image in the channels of their contrasts too, which tells it the pair. The unified model's reconstruction of
its own source is left out.

Training has two phases: the CNN alone (``transformers=False``), then the whole network from the CNN's weights with a
fresh critic. Where we differ from the official code: 8 x 8 tokens at 128 pixels (it cannot be built there).
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import RecipeError
from ..networks.art import ResViTGenerator, TransformerLayer
from ..networks.patch import PatchCritic
from ..paths import typed
from ..scan.neighbours import planes
from .base import VOCABULARY, Batch, Model, Solve, of_all_planes, to_signed, to_unit


class ResViT(Model):
    """Generator g(x); its critic exists in training only.

    Args:
        network: Sizes of the generator, see :class:`~napari_mrtrans.networks.art.ResViTGenerator`; {} = the paper's.
        transformers: False: phase 1, the CNN alone.
        l1_weight: λ_1.
        adversarial_weight: λ_adv; 0 = no critic.
        critic_width: Channels of the critic's first layer.
        pretrained_vit: File of ViT weights that :meth:`initialise` reads; see :func:`load_vit_npz`.
        neighbours_mm: Distance of the slices that the generator sees beside each slice; 0 = it sees the slice alone.
        conditional: Serve several pairs, a channel (of each of these slices) for each contrast.
    """

    deterministic = True
    critic_steps = 1

    def __init__(
        self,
        *,
        network: dict[str, Any],
        transformers: bool = True,
        l1_weight: float = 100.0,
        adversarial_weight: float = 1.0,
        critic_width: int = 64,
        pretrained_vit: str | None = None,
        neighbours_mm: float = 0.0,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        if pretrained_vit is not None and not transformers:
            raise ValueError("pretrained_vit needs transformers: true")
        self.conditional = conditional
        self.neighbours_mm = neighbours_mm
        self.l1_weight = l1_weight
        self.adversarial_weight = adversarial_weight
        self.critic_width = critic_width
        self.smallest_crop = 32 if adversarial_weight else 1  # what the critic's strides leave a pixel of
        self.pretrained_vit = pretrained_vit
        channels = len(VOCABULARY) if conditional else 1
        seen = channels * planes(neighbours_mm)
        self.net = ResViTGenerator(in_channels=seen, out_channels=channels, transformers=transformers, **network)

    @property
    def multiple(self) -> int:
        return self.net.multiple

    def generate(self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor) -> Tensor:
        """g(x): source (batch, planes, H, W) in [0, 1] to the target (batch, 1, H, W) in [-1, 1]."""
        if not self.conditional:
            return self.net(to_signed(source)).float()
        out: Tensor = self.net(to_signed(_placed(source, source_contrast))).float()
        return out.take_along_dim(target_contrast[:, None, None, None], dim=1)

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve,
        others: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        del noise, solve
        return of_all_planes(to_unit(self.generate(source, source_contrast, target_contrast)), others)

    def of_contrast(self, index: int) -> list[tuple[Tensor, tuple[int | slice, ...]]]:
        # Its output channel alone: other pairs are shown its input channel too, as background.
        return [(parameter, (index,)) for parameter in self.net.head.parameters()] if self.conditional else []

    def make_critic(self) -> PatchCritic | None:
        if not self.adversarial_weight:
            return None
        return PatchCritic(in_channels=len(VOCABULARY) if self.conditional else 2, width=self.critic_width)

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        """L(g)."""
        del generator  # nothing but dropout is random here
        fake = self.generate(batch.source, batch.source_contrast, batch.target_contrast)
        loss = self.l1_weight * (fake - to_signed(batch.target)).abs().mean()
        if self.adversarial_weight:
            assert critic is not None
            score = critic(self._shown(batch, to_unit(fake))).float()
            loss = loss + self.adversarial_weight * (score - 1).square().mean()
        return loss

    def critic_loss(self, critic: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """L(d); real and generated images apart, since the critic normalises over its batch."""
        del generator
        with torch.no_grad():
            fake = self.generate(batch.source, batch.source_contrast, batch.target_contrast)
        on_real = critic(self._shown(batch, batch.target)).float()
        on_fake = critic(self._shown(batch, to_unit(fake))).float()
        return 0.5 * self.adversarial_weight * ((on_real - 1).square().mean() + on_fake.square().mean())

    def _shown(self, batch: Batch, image: Tensor) -> Tensor:
        """What the critic sees of the source slice and ``image`` (batch, 1, H, W), both in [0, 1]."""
        source = batch.source[:, :1]
        if not self.conditional:
            return to_signed(torch.cat([source, image], dim=1))
        return to_signed(_placed(source, batch.source_contrast) + _placed(image, batch.target_contrast))

    def initialise(self) -> str | None:
        """Read ``pretrained_vit`` into a new network; the answer is a notice for the user, if any.

        Apart from the constructor, since a checkpoint is opened without that file. Comes before :meth:`start_from`.

        Raises:
            RecipeError: the file is missing or does not fit.
        """
        if self.pretrained_vit is not None:
            load_vit_npz(self, self.pretrained_vit)
        elif self.net.transformer is not None:
            return (
                "ResViT's transformer starts from random weights; give options.pretrained_vit the path of "
                "R50+ViT-B_16.npz (ImageNet-21k) to start from those of the original."
            )
        return None

    @torch.no_grad()
    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take over the weights of a phase-1 or a whole network; after phase 1 the transformers stay as they are.

        Raises:
            ValueError: another network's weights.
        """
        own = self.state_dict()
        if extra := sorted(state.keys() - own.keys()):
            raise ValueError(f"{len(extra)} tensors are not in this network ({extra[0]}, …)")
        for name, value in state.items():
            if value.shape != own[name].shape:
                raise ValueError(f"tensor {name} has shape {tuple(value.shape)}, expected {tuple(own[name].shape)}")
        missing = own.keys() - state.keys()
        transformers = {name for name in own if "transformer" in name.split(".")}
        if missing and missing != transformers:
            first = min(missing - transformers, default=min(missing))
            raise ValueError(f"{len(missing)} tensors are missing ({first}, …): neither the whole network nor its CNN")
        for name, value in state.items():
            own[name].copy_(value)


def _placed(image: Tensor, contrast: Tensor) -> Tensor:
    """(batch, planes, H, W) to (batch, contrasts * planes, H, W), all but ``contrast`` (batch,) 0."""
    return (F.one_hot(contrast, len(VOCABULARY)).to(image.dtype)[:, :, None, None, None] * image[:, None]).flatten(1, 2)


@torch.no_grad()
def load_vit_npz(model: ResViT, path: str | Path) -> None:
    """Copy a ViT's encoder and positions from Google's .npz files (ImageNet-21k R50+ViT-B_16 or ViT-B_16).

    Positions lose the class token and are zoomed bilinearly to the network's grid, each block getting a copy; the patch
    embedding is taken where it fits (R50+ViT-B_16). Nothing is changed unless all fits.

    Raises:
        RecipeError: no such file, no such weights in it, or a network of other sizes.
    """
    path = typed(path)
    if model.net.transformer is None:
        raise RecipeError("pretrained_vit: the network has no transformers; set options.transformers to true.")
    if not path.is_file():
        raise RecipeError(f"pretrained_vit: no file '{path}'; give the path of a ViT's .npz weights, or leave it out.")
    try:
        copies = _copies(model.net, _read_npz(path))
    except _Misfit as error:
        raise RecipeError(
            f"pretrained_vit: '{path}' {error}; give R50+ViT-B_16.npz or ViT-B_16.npz with the default network sizes."
        ) from None
    for parameter, value in copies:
        parameter.copy_(value)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.lib.npyio.NpzFile):
            with file:
                return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        pass
    raise RecipeError(f"pretrained_vit: '{path}' is no .npz file or is damaged; download R50+ViT-B_16.npz again.")


class _Misfit(Exception):
    """What is wrong with a file of weights."""


def _copies(net: ResViTGenerator, arrays: dict[str, np.ndarray]) -> list[tuple[Tensor, Tensor]]:
    """Every parameter that the file has with its new value; flax keeps (in, out), torch (out, in)."""
    assert net.transformer is not None

    def take(name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in arrays:
            raise _Misfit(f"has no '{name}'")
        found = arrays[name]
        if found.shape != shape:
            raise _Misfit(f"has '{name}' of shape {found.shape}, expected {shape}")
        return torch.from_numpy(found.astype(np.float32))

    encoder = net.transformer
    hidden = encoder.norm.normalized_shape[0]
    copies: list[tuple[Tensor, Tensor]] = [
        (encoder.norm.weight, take("Transformer/encoder_norm/scale", (hidden,))),
        (encoder.norm.bias, take("Transformer/encoder_norm/bias", (hidden,))),
    ]
    for index, layer in enumerate(encoder.layers):
        assert isinstance(layer, TransformerLayer)
        block = f"Transformer/encoderblock_{index}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        heads, length, mlp = layer.heads, hidden // layer.heads, layer.mlp1.out_features
        parts = ("query", "key", "value")
        kernels = [take(f"{attention}/{part}/kernel", (hidden, heads, length)).flatten(1).T for part in parts]
        biases = [take(f"{attention}/{part}/bias", (heads, length)).flatten() for part in parts]
        copies += [
            (layer.qkv.weight, torch.cat(kernels)),
            (layer.qkv.bias, torch.cat(biases)),
            (layer.out.weight, take(f"{attention}/out/kernel", (heads, length, hidden)).flatten(0, 1).T),
            (layer.out.bias, take(f"{attention}/out/bias", (hidden,))),
            (layer.mlp1.weight, take(f"{block}/MlpBlock_3/Dense_0/kernel", (hidden, mlp)).T),
            (layer.mlp1.bias, take(f"{block}/MlpBlock_3/Dense_0/bias", (mlp,))),
            (layer.mlp2.weight, take(f"{block}/MlpBlock_3/Dense_1/kernel", (mlp, hidden)).T),
            (layer.mlp2.bias, take(f"{block}/MlpBlock_3/Dense_1/bias", (hidden,))),
        ]
        for norm, name in ((layer.norm1, "LayerNorm_0"), (layer.norm2, "LayerNorm_2")):
            copies.append((norm.weight, take(f"{block}/{name}/scale", (hidden,))))
            copies.append((norm.bias, take(f"{block}/{name}/bias", (hidden,))))
    name = "Transformer/posembed_input/pos_embedding"
    n = arrays[name].size // hidden if name in arrays else 1
    positions = take(name, (1, n, hidden))
    if math.isqrt(n) ** 2 != n:
        positions = positions[:, 1:]  # the class token comes first
    side = math.isqrt(positions.shape[1])
    if side**2 != positions.shape[1] or not side:
        raise _Misfit(f"has positions for {n} tokens, which are no square")
    square = positions.transpose(1, 2).unflatten(2, (side, side))
    for module in net.transformer_modules():
        zoomed = F.interpolate(square, module.positions.shape[-2:], mode="bilinear", align_corners=True)
        copies.append((module.positions, zoomed))
        kernel = arrays.get("embedding/kernel")
        if kernel is not None and kernel.shape == (1, 1, module.embed.in_channels, hidden):
            copies.append((module.embed.weight, torch.from_numpy(kernel.astype(np.float32)).permute(3, 2, 0, 1)))
            assert module.embed.bias is not None
            copies.append((module.embed.bias, take("embedding/bias", (hidden,))))
    return copies
