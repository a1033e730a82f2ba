"""PatchGAN: a critic that judges overlapping patches of an image (Isola et al. 2017, pix2pix, arXiv 1611.07004)."""

from __future__ import annotations

from torch import Tensor, nn

from .art import normal_weights


class PatchCritic(nn.Module):
    """Images to one score for each patch; a patch is 70 x 70 pixels.

    Args:
        in_channels: Source and judged image, stacked.
        width: Channels after the first layer; doubled at each of the next three.
    """

    def __init__(self, *, in_channels: int = 2, width: int = 64) -> None:
        super().__init__()
        # The first layer stays without normalisation, which would hide the image's brightness.
        body: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for stride in (2, 2, 1):
            body += [
                nn.Conv2d(channels, 2 * channels, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(2 * channels),
                nn.LeakyReLU(0.2),
            ]
            channels *= 2
        self.body = nn.Sequential(*body, nn.Conv2d(channels, 1, 4, padding=1))
        self.apply(normal_weights)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, in_channels, H, W) in [-1, 1], sides from 24, to scores (batch, 1, about H/8, about W/8)."""
        score: Tensor = self.body(images)
        return score
