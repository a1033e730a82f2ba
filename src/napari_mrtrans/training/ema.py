"""The exponential moving average of a network's weights, which is what a run writes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..models import Model

Tensors = list[Tensor] | tuple[Tensor, ...]


def ema_rule(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average with warm-up: decay min(d, (1 + i) / (10 + i)) at update i."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        i = int(updates)
        weight = 1 - min(decay, (1 + i) / (10 + i))
        # AveragedModel passes tensors of one type at a time; counts of batches are whole numbers.
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)

    return update


def averaged(ema: AveragedModel) -> Model:
    """The model of the averages."""
    module = ema.module
    assert isinstance(module, Model)
    return module
