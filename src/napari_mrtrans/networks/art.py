"""ResViT's generator: convolutional encoder, bottleneck of aggregated residual transformer (ART) blocks, decoder.

After Dalmaz, Yurt & Çukur 2022 (ResViT, arXiv 2106.16031; encoder, information bottleneck, decoder and parameter
sharing of its methods), and the sizes of its official code. An ART block joins a vision transformer (ViT, Dosovitskiy
et al. 2021, arXiv 2010.11929), which sees the whole slice, and a residual CNN, which sees detail:

    p = P + E(down(f)),   t = up(ViT(p)),   f' = R(C([t, f]))

with features f (batch, 4 width, H/4, W/4), the patch embedding E, tokens p on a grid of H/16 x W/16, the channel
compression C and the residual CNN R. Blocks without a transformer are R alone. All transformers share one ViT's
weights; E and P are each block's own.

Where we differ: the official code divides the slice's side by 256 to get its patch size and so cannot be built for 128
pixels. Here a token is one pixel at 1/16 of the resolution whatever the size of the slice, positions P are learned for
a grid of 8 x 8 (128 pixels), and other grids interpolate them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normal_weights(module: nn.Module) -> None:
    """For :meth:`torch.nn.Module.apply`: weights N(0, 0.02²), truncated in linear layers, gains N(1, 0.02²).

    Without memory (on the meta device) nothing is drawn, for that loads PyTorch's compiler.
    """
    if any(weight.is_meta for weight in module.parameters(recurse=False)):
        return
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _normed(conv: nn.Module, channels: int) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def _halve(c_in: int, c_out: int) -> list[nn.Module]:
    return _normed(nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False), c_out)


def _double(c_in: int, c_out: int) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1, bias=False)
    return _normed(conv, c_out)


class TransformerLayer(nn.Module):
    """One pre-normalised layer of a ViT encoder, tokens (batch, n, hidden) to the same.

    Dropout is in the perceptron only (torch's own layer also drops attention, which the reference does not).
    """

    def __init__(self, hidden: int, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden, eps=1e-6)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-6)
        self.mlp1 = nn.Linear(hidden, mlp)
        self.mlp2 = nn.Linear(mlp, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, n, hidden = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, n, hidden)
        x = x + self.out(attended)
        inner = self.dropout(F.gelu(self.mlp1(self.norm2(x))))
        out: Tensor = x + self.dropout(self.mlp2(inner))
        return out


class TransformerEncoder(nn.Module):
    """The ViT encoder that all ART blocks share: ``depth`` layers and a final normalisation."""

    def __init__(self, *, hidden: int, depth: int, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(hidden, heads, mlp, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens)
        out: Tensor = self.norm(tokens)
        return out


class ChannelCompression(nn.Module):
    """Residual block that brings the concatenated features back to ``c_out`` channels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
        self.body = nn.Sequential(
            *_normed(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), c_out),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.body(x))


class TransformerModule(nn.Module):
    """What one ART block adds around the shared encoder: its way to tokens and back.

    Args:
        channels: Of the feature map; 2 and 4 times as many on the way down.
        hidden: Length of a token.
        grid: Rows and columns of tokens that positions are learned for.
        dropout: On the embedded tokens.
    """

    def __init__(self, *, channels: int, hidden: int, grid: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.down = nn.Sequential(*_halve(channels, 2 * channels), *_halve(2 * channels, 4 * channels))
        self.embed = nn.Conv2d(4 * channels, hidden, 1)
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, hidden, *grid), std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Sequential(*_double(hidden, 2 * channels), *_double(2 * channels, channels))
        self.compress = ChannelCompression(2 * channels, channels)

    def forward(self, x: Tensor, encoder: nn.Module) -> Tensor:
        """(batch, channels, h, w) to the same, h and w multiples of 4."""
        embedded = self.embed(self.down(x))
        rows, columns = embedded.shape[-2:]
        positions: Tensor = self.positions
        if positions.shape[-2:] != (rows, columns):
            positions = F.interpolate(positions, (rows, columns), mode="bicubic", align_corners=False)
        tokens = self.dropout((embedded + positions).flatten(2).transpose(1, 2))
        encoded = encoder(tokens).transpose(1, 2).unflatten(2, (rows, columns))
        out: Tensor = self.compress(torch.cat([self.up(encoded), x], dim=1))
        return out


class ARTBlock(nn.Module):
    """Aggregated residual transformer block; ``transformer`` None: the residual CNN alone."""

    def __init__(self, channels: int, transformer: TransformerModule | None = None) -> None:
        super().__init__()
        self.transformer = transformer
        self.residual = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normed(nn.Conv2d(channels, channels, 3, bias=False), channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, encoder: nn.Module | None) -> Tensor:
        """(batch, channels, h, w) to the same; ``encoder``: the shared one."""
        if self.transformer is not None:
            assert encoder is not None
            x = self.transformer(x, encoder)
        out: Tensor = x + self.residual(x)
        return out


@dataclass(frozen=True, kw_only=True)
class ResViTOptions:
    """What a :class:`ResViTGenerator` is built from; the defaults are the paper's.

    Attributes:
        in_channels: Source images.
        out_channels: Target images.
        transformers: False: the CNN of phase 1, whose tensors have the same names in the full network.
        width: Channels at full resolution; 4 times as many in the bottleneck.
        blocks: ART blocks.
        transformer_blocks: Which of them have a transformer, counted from 1.
        hidden: Length of a token.
        depth: Layers of the shared encoder.
        heads: Of its attention.
        mlp: Width of its perceptrons.
        grid: Rows and columns of tokens that positions are learned for: 1/16 of the training crop.
        dropout: On tokens and in the perceptrons.

    Raises:
        ValueError: sizes do not fit one another.
    """

    in_channels: int
    out_channels: int
    transformers: bool = True
    width: int = 64
    blocks: int = 9
    transformer_blocks: Sequence[int] = (1, 6)
    hidden: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    grid: Sequence[int] = (8, 8)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}")
        if not self.transformer_blocks or not all(1 <= index <= self.blocks for index in self.transformer_blocks):
            raise ValueError(f"transformer_blocks must name some of blocks 1 to {self.blocks}")
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError("grid must be two numbers from 1, the rows and columns of tokens")


class ResViTGenerator(nn.Module):
    """(batch, in_channels, H, W) to (batch, out_channels, H, W), both in [-1, 1], sides multiples of :attr:`multiple`.

    Args:
        options: The fields of :class:`ResViTOptions`, by name.

    Raises:
        TypeError: the number of channels is missing, or there is no option of that name.
        ValueError: sizes do not fit one another.
    """

    #: Two strides of 2 before the bottleneck and two inside its transformers.
    multiple = 16

    def __init__(self, **options: Any) -> None:
        super().__init__()
        o = ResViTOptions(**options)
        channels = 4 * o.width
        self.encode = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normed(nn.Conv2d(o.in_channels, o.width, 7, bias=False), o.width),
            *_halve(o.width, 2 * o.width),
            *_halve(2 * o.width, channels),
        )
        self.transformer: TransformerEncoder | None = None
        if o.transformers:
            self.transformer = TransformerEncoder(
                hidden=o.hidden, depth=o.depth, heads=o.heads, mlp=o.mlp, dropout=o.dropout
            )
        size = (o.grid[0], o.grid[1])

        def module(index: int) -> TransformerModule | None:
            if not o.transformers or index not in o.transformer_blocks:
                return None
            return TransformerModule(channels=channels, hidden=o.hidden, grid=size, dropout=o.dropout)

        self.blocks = nn.ModuleList(ARTBlock(channels, module(index)) for index in range(1, o.blocks + 1))
        self.decode = nn.Sequential(
            *_double(channels, 2 * o.width),
            *_double(2 * o.width, o.width),
            nn.ReflectionPad2d(3),
            nn.Conv2d(o.width, o.out_channels, 7),
            nn.Tanh(),
        )
        self.apply(normal_weights)

    @property
    def head(self) -> nn.Module:
        """What makes the images of the last features, an output channel for each row of its weights."""
        return self.decode[-2]

    def transformer_modules(self) -> list[TransformerModule]:
        """Those of the blocks that have one."""
        found = (block.transformer for block in self.blocks if isinstance(block, ARTBlock))
        return [module for module in found if isinstance(module, TransformerModule)]

    def forward(self, x: Tensor) -> Tensor:
        h = self.encode(x)
        for block in self.blocks:
            h = block(h, self.transformer)
        out: Tensor = self.decode(h)
        return out
