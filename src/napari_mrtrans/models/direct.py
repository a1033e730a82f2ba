"""Direct model: nonlinear regression with a mean squared error (paper, "Deterministic formulation", Eq. 1).

    L(f) = 1/N sum_i || f(x_i) - y_i ||^2

Its minimiser is the conditional mean E[y | x], so it is as good as any answer in squared error and says nothing of
its own certainty.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import Batch, Model, Solve, to_signed, to_unit, unet


class Direct(Model):
    """U-Net from source to target, linear output (clamped to [0, 1] only on export)."""

    deterministic = True

    def __init__(self, *, network: dict[str, Any], conditional: bool = True) -> None:
        super().__init__()
        self.conditional = conditional
        self.net = unet(network, conditional=conditional, in_channels=1, out_channels=1, time=False)

    @property
    def multiple(self) -> int:
        return self.net.multiple

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        del generator  # nothing is random here
        predicted = self.net(to_signed(batch.source), None, batch.source_contrast, batch.target_contrast)
        return (predicted - to_signed(batch.target)).square().mean()

    def predict(self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor) -> Tensor:
        """(batch, 1, H, W) in [0, 1] to the predicted target, same shape and unit, not clamped."""
        return to_unit(self.net(to_signed(source), None, source_contrast, target_contrast))

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve
    ) -> Tensor:
        del noise, solve
        return self.predict(source, source_contrast, target_contrast)
