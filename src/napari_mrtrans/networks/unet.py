"""The one U-Net behind Direct, the GAN generator, NCSN, DDPM and flow.

Topology of Ho et al. 2020 (arXiv 2006.11239) as widened by Dhariwal & Nichol 2021 (arXiv 2105.05233): residual blocks
with group normalisation and SiLU, self-attention at chosen levels and in the middle, a skip connection from every
encoder block.

Two things are ours: an optional pixel-unshuffle stem (Shi et al. 2016, arXiv 1609.05158), which runs the network
at half resolution for a quarter of the cost, and an embedding of (source, target) contrast, so that one network serves
several transformations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Attention, Curve, Level, ResBlock, sinusoidal_embedding, zeroed
from .embedding import Embedding

#: Named sizes. ``paper``: widths and attention of improved-diffusion's rule for 128 pixels.
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


@dataclass(frozen=True, kw_only=True)
class UNetOptions:
    """What a :class:`UNet` is built from.

    Attributes:
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
        time: Whether :meth:`UNet.forward` takes a noise-level input.
        contrasts: Size of the contrast vocabulary; 0 = the network serves one pair and is not told.
        context_channels: Channels of a feature map, at the stem's resolution, taken besides the image.
        latent: Length of a latent vector that every residual block but the first takes through conditional instance
            normalisation; 0 = none, group normalisation throughout.
        latent_form: See :class:`.ConditionalInstanceNorm`.
        curve: Width of a :class:`.Curve` from the image to the output; 0 = none.
    """

    in_channels: int
    out_channels: int = 1
    widths: Sequence[int] = (32, 64, 128)
    blocks: int = 1
    attention: Sequence[int] = ()
    unshuffle: int = 2
    groups: int = 8
    heads: int = 1
    dropout: float = 0.0
    scale_shift: bool = True
    time: bool = True
    contrasts: int = 4
    context_channels: int = 0
    latent: int = 0
    latent_form: Literal["elu", "affine"] = "elu"
    curve: int = 0

    @property
    def embedding(self) -> int:
        """Length of the embedding of noise level and contrast pair; 0 = the network is told neither."""
        return 4 * self.widths[0] if self.time or self.contrasts else 0

    def level(self, c_in: int, c_out: int, *, attends: bool, latent: int) -> Level:
        """One residual block from ``c_in`` to ``c_out`` channels, told a latent vector of this length (0 = none)."""
        block = ResBlock(
            c_in,
            c_out,
            self.embedding,
            groups=self.groups,
            dropout=self.dropout,
            scale_shift=self.scale_shift,
            latent=latent,
            latent_form=self.latent_form,
        )
        return Level(block, Attention(c_out, groups=self.groups, heads=self.heads) if attends else None)


def _exactly(layer: nn.Module, h: Tensor) -> Tensor:
    """In float32, whatever the rest is computed in."""
    if h.device.type == "meta":  # which knows no autocast
        return layer(h)
    with torch.autocast(h.device.type, enabled=False):
        return layer(h.float())


class UNet(nn.Module):
    """Image-to-image U-Net, optionally told a noise level and a contrast pair.

    Height and width of the input must be multiples of :attr:`multiple`.

    Args:
        options: The fields of :class:`UNetOptions`, by name.

    Raises:
        TypeError: ``in_channels`` is missing, or there is no option of that name.
        ValueError: an option's value is none.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        o = UNetOptions(**options)
        if o.unshuffle < 1:
            raise ValueError("unshuffle: give 1 or more")
        self.unshuffle = o.unshuffle
        self.multiple = o.unshuffle * 2 ** (len(o.widths) - 1)
        base, size = o.widths[0], o.embedding
        self.time_channels = base
        self.time = nn.Sequential(nn.Linear(base, size), nn.SiLU(), nn.Linear(size, size)) if o.time else None
        self.source = Embedding(o.contrasts, size) if o.contrasts else None
        self.target = Embedding(o.contrasts, size) if o.contrasts else None
        self.curve = Curve(o.in_channels, o.curve, o.out_channels, size) if o.curve else None
        self.stem = nn.Conv2d(o.in_channels * o.unshuffle**2 + o.context_channels, base, 3, padding=1)

        def level(c_in: int, c_out: int, index: int, latent: int = o.latent) -> Level:
            return o.level(c_in, c_out, attends=index in o.attention, latent=latent)

        self.down = nn.ModuleList()
        skips, channels = [base], base
        for index, width in enumerate(o.widths):
            for _ in range(o.blocks):
                self.down.append(level(channels, width, index, o.latent if len(self.down) else 0))
                channels = width
                skips.append(channels)
            if index < len(o.widths) - 1:
                self.down.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                skips.append(channels)
        self.middle = nn.ModuleList([level(channels, channels, -1), level(channels, channels, -1)])
        self.middle_attention = Attention(channels, groups=o.groups, heads=o.heads)
        self.up = nn.ModuleList()
        for index in reversed(range(len(o.widths))):
            for _ in range(o.blocks + 1):
                self.up.append(level(channels + skips.pop(), o.widths[index], index))
                channels = o.widths[index]
            if index:
                self.up.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.feature_channels = channels
        self.norm = nn.GroupNorm(o.groups, channels)
        self.head = zeroed(nn.Conv2d(channels, o.out_channels * o.unshuffle**2, 3, padding=1))

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
            h = stage(h, embedding, latent) if isinstance(stage, Level) else stage(h)
            skips.append(h)
        h = self.middle[1](self.middle_attention(self.middle[0](h, embedding, latent)), embedding, latent)
        for stage in self.up:
            if isinstance(stage, Level):
                h = stage(torch.cat([h, skips.pop()], dim=1), embedding, latent)
            else:
                h = stage(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = F.silu(self.norm(h))
        out = _exactly(self.head, h)  # bfloat16 would leave a few hundred grey levels
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
