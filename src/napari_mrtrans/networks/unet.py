"""The one U-Net behind Direct, the GAN generator, NCSN, DDPM and flow.

Topology of Ho et al. 2020 (arXiv 2006.11239) as widened by Dhariwal & Nichol 2021 (arXiv 2105.05233): residual blocks
with group normalisation and SiLU, self-attention at chosen levels and in the middle, a skip connection from every
encoder block.

Two things are ours: an optional pixel-unshuffle stem (Shi et al. 2016, arXiv 1609.05158), which runs the network
at half resolution for a quarter of the cost, and an embedding of (source, target) contrast, so that one network serves
several transformations.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoidal_embedding(values: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Cosines and sines of ``values`` (batch,) at ``dim // 2`` geometric frequencies: (batch, dim), in [-1, 1]."""
    half = dim // 2
    exponents = torch.arange(half, device=values.device, dtype=torch.float32) / half
    angles = values.float()[:, None] * torch.exp(-math.log(max_period) * exponents)[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


#: Named sizes. ``paper``: widths and attention of improved-diffusion's rule for 128 pixels; ``fast`` is what we ship.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"widths": (128, 128, 256, 384, 512), "blocks": 2, "attention": (3,), "unshuffle": 1, "groups": 32,
              "scale_shift": False},
    "base": {"widths": (64, 128, 192, 256), "blocks": 2, "attention": (3,), "unshuffle": 1, "groups": 32,
             "scale_shift": False},
    "light": {"widths": (64, 64, 128, 128, 256), "blocks": 2, "attention": (3,), "unshuffle": 1, "groups": 32,
              "scale_shift": False},
    "fast": {"widths": (32, 64, 128), "blocks": 1, "unshuffle": 2, "groups": 8},
    "tiny": {"widths": (16, 32, 32), "blocks": 1, "unshuffle": 1, "groups": 8},
}  # fmt: skip


class ConditionalInstanceNorm(nn.Module):
    """Instance normalisation whose scale and shift come from a latent vector (Dumoulin et al. 2017, arXiv 1610.07629).

        CIN(h, z)_c = γ_c(z) (h_c - mean) / sqrt(variance + 1e-6) + β_c(z)

    Args:
        channels: C of h (batch, C, H, W).
        latent: Length of z (batch, latent).
        form: ``elu``: γ = ELU(W z + b) and β likewise (Ray et al. 2022, the paper's cGAN); ``affine``: γ = 1 + W z,
            β = W z.
    """

    def __init__(self, channels: int, latent: int, form: Literal["elu", "affine"] = "elu") -> None:
        super().__init__()
        self.form = form
        self.project = nn.Linear(latent, 2 * channels, bias=form == "elu")

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        gamma, beta = self.project(z)[:, :, None, None].chunk(2, dim=1)
        gamma, beta = (F.elu(gamma), F.elu(beta)) if self.form == "elu" else (1 + gamma, beta)
        return torch.addcmul(beta, gamma, F.instance_norm(h, eps=1e-6))


def _normalise(norm: nn.Module, x: Tensor, latent: Tensor | None) -> Tensor:
    out: Tensor = norm(x, latent) if isinstance(norm, ConditionalInstanceNorm) else norm(x)
    return out


class ResBlock(nn.Module):
    """Norm-SiLU-conv twice; the embedding is added (or scales and shifts: FiLM) before the second convolution.

    The norm is group normalisation or, with a ``latent`` length, conditional instance normalisation.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        embedding: int,
        *,
        groups: int,
        dropout: float,
        scale_shift: bool,
        latent: int = 0,
        latent_form: Literal["elu", "affine"] = "elu",
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift

        def norm(channels: int) -> nn.Module:
            if latent:
                return ConditionalInstanceNorm(channels, latent, latent_form)
            return nn.GroupNorm(groups, channels)

        self.norm1 = norm(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.project = nn.Linear(embedding, c_out * (2 if scale_shift else 1)) if embedding else None
        self.norm2 = norm(c_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None, latent: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(_normalise(self.norm1, x, latent)))
        if self.project is None or embedding is None:
            h = F.silu(_normalise(self.norm2, h, latent))
        elif self.scale_shift:
            scale, shift = self.project(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
            h = F.silu(torch.addcmul(shift, _normalise(self.norm2, h, latent), 1 + scale))
        else:
            h = F.silu(_normalise(self.norm2, h + self.project(F.silu(embedding))[:, :, None, None], latent))
        return self.skip(x) + self.conv2(self.dropout(h))


class Attention(nn.Module):
    """Single- or multi-head self-attention over all pixels, with a residual connection."""

    def __init__(self, channels: int, *, groups: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))


class Curve(nn.Module):
    """A function of each pixel alone, told the embedding: (batch, C, H, W) to (batch, out, H, W), 0 at the start.

    At full resolution it carries the fine structure that source and target share, as a look-up table would, past the
    half-resolution stem.
    """

    def __init__(self, channels: int, width: int, out: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 1)
        self.project = nn.Linear(embedding, 2 * width) if embedding else None
        self.second = nn.Conv2d(width, width, 1)
        self.last = _zero(nn.Conv2d(width, out, 1))

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.first(x)
        if self.project is not None and embedding is not None:
            scale, shift = self.project(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
            h = torch.addcmul(shift, h, 1 + scale)
        out: Tensor = self.last(F.silu(self.second(F.silu(h))))
        return out


class _Level(nn.Module):
    """A residual block and, where the level has it, attention."""

    def __init__(self, block: ResBlock, attention: Attention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor | None, latent: Tensor | None = None) -> Tensor:
        x = self.block(x, embedding, latent)
        return x if self.attention is None else self.attention(x)


class UNet(nn.Module):
    """Image-to-image U-Net, optionally told a noise level and a contrast pair.

    Args:
        in_channels: Image channels, e.g. 1 (source) or 2 (noisy target, source).
        out_channels: 1, or 2 when a variance is predicted too.
        widths: Channels at each level; each next level has half the resolution.
        blocks: Residual blocks at each level on the way down; one more on the way up.
        attention: Levels with self-attention (0 = finest); the middle always has it.
        unshuffle: 1 = full resolution (the paper's setting); 2 = half-resolution stem.
        groups: Groups of every normalisation.
        heads: Attention heads.
        dropout: Before the second convolution of each residual block.
        scale_shift: FiLM conditioning instead of addition.
        time: Whether :meth:`forward` takes a noise-level input.
        contrasts: Size of the contrast vocabulary; 0 = the network serves one pair and is not told.
        context_channels: Channels of a feature map, at the stem's resolution, taken besides the image.
        latent: Length of a latent vector that every residual block but the first takes through conditional instance
            normalisation; 0 = none, group normalisation throughout.
        latent_form: See :class:`ConditionalInstanceNorm`.
        curve: Width of a :class:`Curve` from the image to the output; 0 = none.

    Height and width of the input must be multiples of :attr:`multiple`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int = 1,
        widths: tuple[int, ...] = (32, 64, 128),
        blocks: int = 1,
        attention: tuple[int, ...] = (),
        unshuffle: int = 2,
        groups: int = 8,
        heads: int = 1,
        dropout: float = 0.0,
        scale_shift: bool = True,
        time: bool = True,
        contrasts: int = 4,
        context_channels: int = 0,
        latent: int = 0,
        latent_form: Literal["elu", "affine"] = "elu",
        curve: int = 0,
    ) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.multiple = unshuffle * 2 ** (len(widths) - 1)
        base = widths[0]
        size = 4 * base if time or contrasts else 0
        self.time_channels = base
        self.time = nn.Sequential(nn.Linear(base, size), nn.SiLU(), nn.Linear(size, size)) if time else None
        self.source = nn.Embedding(contrasts, size) if contrasts else None
        self.target = nn.Embedding(contrasts, size) if contrasts else None

        def level(c_in: int, c_out: int, index: int, z: int = latent) -> _Level:
            block = ResBlock(
                c_in,
                c_out,
                size,
                groups=groups,
                dropout=dropout,
                scale_shift=scale_shift,
                latent=z,
                latent_form=latent_form,
            )
            return _Level(block, Attention(c_out, groups=groups, heads=heads) if index in attention else None)

        self.curve = Curve(in_channels, curve, out_channels, size) if curve else None
        self.stem = nn.Conv2d(in_channels * unshuffle**2 + context_channels, base, 3, padding=1)
        self.down = nn.ModuleList()
        skips, channels = [base], base
        for index, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(level(channels, width, index, latent if len(self.down) else 0))
                channels = width
                skips.append(channels)
            if index < len(widths) - 1:
                self.down.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                skips.append(channels)
        self.middle = nn.ModuleList([level(channels, channels, -1), level(channels, channels, -1)])
        self.middle_attention = Attention(channels, groups=groups, heads=heads)
        self.up = nn.ModuleList()
        for index in reversed(range(len(widths))):
            for _ in range(blocks + 1):
                self.up.append(level(channels + skips.pop(), widths[index], index))
                channels = widths[index]
            if index:
                self.up.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.feature_channels = channels
        self.norm = nn.GroupNorm(groups, channels)
        self.head = _zero(nn.Conv2d(channels, out_channels * unshuffle**2, 3, padding=1))

    def forward(
        self,
        image: Tensor,
        time: Tensor | None = None,
        source: Tensor | None = None,
        target: Tensor | None = None,
        *,
        context: Tensor | None = None,
        latent: Tensor | None = None,
        constant: Tensor | None = None,
    ) -> Tensor:
        """(batch, in_channels, H, W) to (batch, out_channels, H, W).

        ``time`` is (batch,) float, ``source`` and ``target`` are (batch,) int64 contrast indices, ``latent`` is
        (batch, latent). With what :meth:`stem_of` gave as ``constant``, ``image`` has the first channels only.
        """
        return self.with_features(image, time, source, target, context=context, latent=latent, constant=constant)[0]

    def stem_of(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """The stem's share of an image's last channels ``images`` (batch, channels, H, W) and of the ``context``.

        What stays the same from step to step, and from sample to sample, need not be convolved again in each. Not for
        networks with a curve.
        """
        h = self._stem_input(images, context)
        return F.conv2d(h, self.stem.weight[:, -h.shape[1] :], self.stem.bias, padding=1)

    def _stem_input(self, image: Tensor, context: Tensor | None) -> Tensor:
        h = F.pixel_unshuffle(image, self.unshuffle) if self.unshuffle > 1 else image
        return h if context is None else torch.cat([h, context], dim=1)

    def with_features(
        self,
        image: Tensor,
        time: Tensor | None = None,
        source: Tensor | None = None,
        target: Tensor | None = None,
        *,
        context: Tensor | None = None,
        latent: Tensor | None = None,
        constant: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and the last feature map (batch, feature_channels, H / unshuffle, W / unshuffle)."""
        embedding = self._embed(time, source, target)
        h = self._stem_input(image, context)
        if constant is None:
            h = self.stem(h)
        else:
            h = F.conv2d(h, self.stem.weight[:, : h.shape[1]], None, padding=1) + constant
        skips = [h]
        for stage in self.down:
            h = stage(h, embedding, latent) if isinstance(stage, _Level) else stage(h)
            skips.append(h)
        h = self.middle[1](self.middle_attention(self.middle[0](h, embedding, latent)), embedding, latent)
        for stage in self.up:
            if isinstance(stage, _Level):
                h = stage(torch.cat([h, skips.pop()], dim=1), embedding, latent)
            else:
                h = stage(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = F.silu(self.norm(h))
        out = self.head(h)
        out = F.pixel_shuffle(out, self.unshuffle) if self.unshuffle > 1 else out
        return (out if self.curve is None else out + self.curve(image, embedding)), h

    def _embed(self, time: Tensor | None, source: Tensor | None, target: Tensor | None) -> Tensor | None:
        parts = []
        if self.time is not None:
            assert time is not None, "this network needs a noise level"
            parts.append(self.time(sinusoidal_embedding(time, self.time_channels)))
        if self.source is not None and self.target is not None:
            assert source is not None and target is not None, "this network needs the contrast pair"
            parts += [self.source(source), self.target(target)]
        return torch.stack(parts).sum(0) if parts else None


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    """Start a residual branch at the identity."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
