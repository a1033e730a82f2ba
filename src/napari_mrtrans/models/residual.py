"""Models that answer with an image, or with a residual around a Direct network's mean.

With a ``mean_network`` the variable that is sampled is not the image y0 but r = (y0 - μ(x)) / s, where μ is a frozen
Direct network and s scales r to a standard deviation of ``spread`` (regression plus generative residual: Mardani et al.
2023, arXiv 2309.15214). μ and its last feature map are computed once for each slice and shared by all samples and all
steps, so the network that runs many times can be small.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..networks.unet import UNet
from ..scan.neighbours import planes
from .base import Batch, Model, of_all_planes, to_signed, to_unit, unet


@dataclass
class Condition:
    """What is computed once for a slice: images in [-1, 1], each (batch, channels, H, W)."""

    source: Tensor
    mean: Tensor | None
    features: Tensor | None
    source_contrast: Tensor
    target_contrast: Tensor
    #: Instead of ``features``: what :meth:`.UNet.stem_of` made of them and of the images.
    stem: Tensor | None = None

    def repeat(self, n: int) -> Condition:
        """Each slice ``n`` times in a row."""

        def rep(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.repeat_interleave(n, dim=0)

        source = self.source.repeat_interleave(n, dim=0)
        first, second = (c.repeat_interleave(n) for c in self.pair)
        return Condition(source, rep(self.mean), rep(self.features), first, second, rep(self.stem))

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Source and target contrast."""
        return self.source_contrast, self.target_contrast

    @property
    def images(self) -> list[Tensor]:
        """What a network is shown besides the variable itself."""
        return [self.source] if self.mean is None else [self.source, self.mean]


class ResidualModel(Model, ABC):
    """A model of the image itself or of what a Direct network leaves.

    Args:
        network: Options of the U-Net, or the name of a preset.
        mean_network: U-Net options of the frozen Direct network; None = the image itself.
        mean_features: Show the network that network's last feature map too.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        neighbours_mm: Distance of the slices that the networks see beside each slice; 0 = they see the slice alone.
        conditional: Tell the network the contrast pair.
        spread: Standard deviation of the residual variable; the family fixes this and what follows.
        fixed: Other options of the U-Net; ``in_channels`` without those of the condition.

    Attributes:
        trained_mean: In training, what takes the place of μ(x) for a batch: images (batch, 1, H, W) in [-1, 1].
    """

    trained_mean: Callable[[Batch], Tensor] | None = None

    def __init__(
        self,
        *,
        network: dict[str, Any] | str,
        mean_network: dict[str, Any] | str | None = None,
        mean_features: bool = True,
        residual_std: float = 0.1,
        neighbours_mm: float = 0.0,
        conditional: bool = True,
        spread: float,
        fixed: dict[str, Any],
    ) -> None:
        super().__init__()
        self.conditional = conditional
        self.neighbours_mm = neighbours_mm
        seen = planes(neighbours_mm)
        self.scale = residual_std / spread if mean_network else 1.0
        self.mean_net: UNet | None = None
        self.mean_features = mean_features
        context = 0
        if mean_network:
            self.mean_net = unet(mean_network, conditional=conditional, in_channels=seen, out_channels=1, time=False)
            self.mean_net.requires_grad_(False)
            context = self.mean_net.feature_channels if mean_features else 0
            theirs = self.mean_net.unshuffle
        images = fixed["in_channels"] + seen + (1 if mean_network else 0)
        shown = {**fixed, "in_channels": images, "context_channels": context}
        self.net = unet(network, conditional=conditional, **shown)
        if context and self.net.unshuffle != theirs:
            raise ValueError(
                f"network.unshuffle: {self.net.unshuffle}, but the mean network, whose feature map it is shown, has "
                f"{theirs}; take that, or set mean_features: false"
            )

    @property
    def multiple(self) -> int:
        return max(self.net.multiple, self.mean_net.multiple if self.mean_net else 1)

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Takes over the network that samples; the mean stays this model's own.

        One that sees no feature map leaves out the weights of another's.
        """
        mine = self.state_dict()
        own = {name: value for name, value in mine.items() if name.startswith("mean_net.")}
        stem = "net.stem.weight"
        if not self.mean_features and stem in state and state[stem].shape[1] > mine[stem].shape[1]:
            own[stem] = state[stem][:, : mine[stem].shape[1]]  # feature maps come last
        super().start_from({**state, **own})

    def condition(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, others: Tensor | None = None
    ) -> Condition:
        """Everything a network is told about slices ``source`` (batch, planes, H, W) in [0, 1]; see :meth:`sample`."""
        x = to_signed(source)
        if self.mean_net is None:
            return Condition(x, None, None, source_contrast, target_contrast)
        with torch.no_grad():
            self.mean_net.eval()
            mean, features = self.mean_net.with_features(x, None, source_contrast, target_contrast)
        shown = features if self.mean_features else None
        mean = mean.float() if others is None else to_signed(of_all_planes(to_unit(mean.float()), others))
        return Condition(x, mean, shown, source_contrast, target_contrast)

    def encode(self, target: Tensor, condition: Condition) -> Tensor:
        """Target in [0, 1] to the variable that is sampled."""
        y = to_signed(target)
        return y if condition.mean is None else (y - condition.mean) / self.scale

    def decode(self, y: Tensor, condition: Condition) -> Tensor:
        """The sampled variable to an image in [0, 1], not clamped."""
        return to_unit(y if condition.mean is None else condition.mean + self.scale * y)

    def conditioned(self, batch: Batch) -> tuple[Condition, Tensor]:
        """A training batch's condition and its clean variable."""
        if self.trained_mean is None:
            condition = self.condition(batch.source, batch.source_contrast, batch.target_contrast)
        else:
            mean = self.trained_mean(batch)
            condition = Condition(to_signed(batch.source), mean, None, batch.source_contrast, batch.target_contrast)
        return condition, self.encode(batch.target, condition)
