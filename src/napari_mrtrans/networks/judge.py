"""A small convolutional network that says which contrast a slice shows and which artefact it has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: What one pixel of the last feature map covers along each side.
STRIDE = 16
#: Channels after each of the four halvings, and of the last layer.
WIDTHS = (16, 24, 32, 48, 48)


class SliceJudge(nn.Module):
    """Contrast and kind of artefact of a slice of a head.

    Strided convolutions, whose features are pooled over the head (mean, standard deviation, maximum), so that neither
    the size of the frame nor the black around the head matters.

    Args:
        contrasts: How many there are to tell apart.
        kinds: How many kinds of artefacts, the absence of any included.
    """

    def __init__(self, contrasts: int, kinds: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, width in enumerate(WIDTHS):
            layers += [
                nn.Conv2d(channels, width, 3, stride=2 if number < 4 else 1, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.contrast = nn.Linear(3 * channels, contrasts)
        self.kind = nn.Linear(3 * channels, kinds)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of contrasts (batch, contrasts) and of kinds (batch, kinds).

        Args:
            slices: (batch, 3, H, W), the slice between two neighbours, 0 outside the head; H and W are multiples of
                :data:`STRIDE`.
        """
        head = (F.avg_pool2d((slices[:, 1:2] > 0).to(slices.dtype), STRIDE) > 0.2).to(slices.dtype)
        head = torch.where(head.sum((2, 3), keepdim=True) > 0, head, torch.ones_like(head))
        features = self.layers(slices)
        share = head / head.sum((2, 3), keepdim=True)
        mean = (features * share).sum((2, 3))
        spread = ((features.square() * share).sum((2, 3)) - mean.square()).clamp(min=1e-6).sqrt()
        largest = torch.where(head > 0, features, torch.zeros_like(features)).amax((2, 3))
        pooled = torch.cat([mean, spread, largest], dim=1)
        return self.contrast(pooled), self.kind(pooled)
