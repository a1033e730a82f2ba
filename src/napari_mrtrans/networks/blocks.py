"""What the U-Net is built of: blocks on feature maps (batch, channels, H, W), and the embedding of a noise level."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoidal_embedding(values: Tensor, dim: int) -> Tensor:
    """Cosines and sines of ``values`` (batch,) at ``dim // 2`` geometric frequencies: (batch, dim), in [-1, 1].

    The frequencies go from 1 to 1 / 10,000 radians.
    """
    half = dim // 2
    exponents = torch.arange(half, device=values.device, dtype=torch.float32) / half
    angles = values.float()[:, None] * torch.exp(-math.log(10_000.0) * exponents)[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


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

    (batch, c_in, H, W) to (batch, c_out, H, W); a new one is its skip connection alone.

    Args:
        c_in: Channels that come in.
        c_out: Channels that go out.
        embedding: Length of the embedding (batch, embedding); 0 = none is taken.
        groups: Of the group normalisation.
        dropout: Before the second convolution, in [0, 1].
        scale_shift: FiLM (Perez et al. 2018, arXiv 1709.07871) instead of addition.
        latent: Length of a latent vector (batch, latent) that takes group normalisation's place by conditional instance
            normalisation; 0 = none.
        latent_form: See :class:`ConditionalInstanceNorm`.
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
        self.conv2 = zeroed(nn.Conv2d(c_out, c_out, 3, padding=1))
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
    """Single- or multi-head self-attention over all pixels of (batch, channels, H, W), with a residual connection.

    ``groups`` and ``heads`` divide ``channels``.
    """

    def __init__(self, channels: int, *, groups: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"heads: {heads} do not divide {channels} channels")
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

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
        self.last = zeroed(nn.Conv2d(width, out, 1))

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.first(x)
        if self.project is not None and embedding is not None:
            scale, shift = self.project(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
            h = torch.addcmul(shift, h, 1 + scale)
        out: Tensor = self.last(F.silu(self.second(F.silu(h))))
        return out


class Level(nn.Module):
    """A residual block and, where the U-Net's level has it, attention: (batch, c_in, H, W) to (batch, c_out, H, W)."""

    def __init__(self, block: ResBlock, attention: Attention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor | None, latent: Tensor | None = None) -> Tensor:
        x = self.block(x, embedding, latent)
        return x if self.attention is None else self.attention(x)


def zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution, its weights and bias 0: a residual branch that ends in it starts at the identity."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
