"""Critic of the conditional Wasserstein GAN: an image (or two) and its source to one number.

After Ray et al. 2022 (the paper's cGAN family): residual blocks with average pooling between them, layer normalisation,
ELU, a dense head. No batch normalisation, since the gradient penalty needs each sample's own gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .embedding import Embedding

#: Whose pooling wants sides that divide.
_LACKING = "mps"


class _Block(nn.Module):
    """Pre-activated residual block; ``norm``: layer normalisation over channels and pixels before each activation."""

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()

        def half() -> list[nn.Module]:
            first: list[nn.Module] = [nn.GroupNorm(1, channels)] if norm else []
            return [*first, nn.ELU(), nn.Conv2d(channels, channels, 3, padding=1)]

        self.body = nn.Sequential(*half(), *half())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class _Pool(nn.Module):
    """On Apple's GPUs torch has this for sides that divide only, and 176 x 144 pixels arrive as 11 x 9, for 8 x 8."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        pool = mean_of_parts if x.device.type == _LACKING else nn.functional.adaptive_avg_pool2d
        return pool(x, self.count)


def mean_of_parts(x: Tensor, count: int) -> Tensor:
    """What ``adaptive_avg_pool2d(x, count)`` is, but for rounding: each side in so many parts, which may overlap."""

    def parts(size: int) -> Tensor:
        weights = torch.zeros(count, size, dtype=x.dtype)
        for k in range(count):
            first, end = k * size // count, -(-(k + 1) * size // count)
            weights[k, first:end] = 1 / (end - first)
        return weights.to(x)

    return parts(x.shape[-2]) @ x @ parts(x.shape[-1]).T


class Critic(nn.Module):
    """(source, image) to a score.

    Args:
        width: Channels at full resolution; doubled at each of two fourfold poolings.
        contrasts: Size of the contrast vocabulary; 0 = one pair.
        grid: Side of the feature map that the dense head sees, 1/16 of the training crop (larger ones are averaged).
        images: How many images it judges together.
        unshuffle: Side of the blocks of pixels that become channels first (1, 2 or 4), the first pooling as much
            smaller: with 2 a third of the time.
    """

    def __init__(
        self, *, width: int = 32, contrasts: int = 4, grid: int = 8, images: int = 1, unshuffle: int = 1
    ) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(unshuffle)
        self.stem = nn.Conv2d((1 + images) * unshuffle**2, width, 3, padding=1)
        self.source = Embedding(contrasts, width) if contrasts else None
        self.target = Embedding(contrasts, width) if contrasts else None
        self.body = nn.Sequential(
            _Block(width, norm=False),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.AvgPool2d(4 // unshuffle),
            _Block(2 * width, norm=True),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.AvgPool2d(4),
            _Block(4 * width, norm=True),
            _Pool(grid),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(4 * width * grid**2, 128), nn.ELU(), nn.LayerNorm(128), nn.Linear(128, 1)
        )  # fmt: skip

    def forward(
        self,
        source: Tensor,
        image: Tensor,
        source_contrast: Tensor | None = None,
        target_contrast: Tensor | None = None,
    ) -> Tensor:
        """Source (batch, 1, H, W) and image (batch, images, H, W) in [-1, 1], sides multiples of 16; contrasts (batch,)
        int64. Returns (batch,): in float32 always, for what is learned from are small differences of large scores."""
        with torch.autocast(image.device.type, enabled=False):
            h = self.stem(self.unshuffle(torch.cat([source, image], dim=1).float()))
            if self.source is not None and self.target is not None:
                h = h + (self.source(source_contrast) + self.target(target_contrast))[:, :, None, None]
            score: Tensor = self.head(self.body(h))
        return score[:, 0]
