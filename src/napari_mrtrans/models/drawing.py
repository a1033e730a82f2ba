"""The one way in which a network's samples of slices are drawn, in use and while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scan.contrasts import Pair
from ..scan.framing import Box
from .base import Model, contrast_index
from .noise import Noise
from .samplers import Predict


@dataclass(frozen=True)
class Places:
    """Where slices lie.

    Attributes:
        shape: Of the model's grid.
        boxes: Each slice's frame in it.
        positions: Of each slice along the axis across the slices, in mm.
    """

    shape: tuple[int, int]
    boxes: Sequence[Box]
    positions: Sequence[float]


def draw(
    model: Model,
    source: Tensor,
    pair: Pair,
    places: Places,
    noise: Noise,
    numbers: Sequence[int],
    plan: tuple[Callable[..., Tensor], list[float]],
    *others: Tensor,
) -> Tensor:
    """Samples of slices on the device of ``source``: (slices, samples, H, W), not clamped.

    Args:
        model: On that device.
        source: (slices, planes, H, W) in [0, 1], as :class:`~.base.Batch`'s.
        pair: What it shows and what is to be made of it.
        places: Of the slices.
        noise: That samples start from, and that stochastic samplers add.
        numbers: Of the samples.
        plan: The sampler and its noise levels (:func:`~.sampler_plan.plan`).
        *others: What other views of the head say, as of :meth:`~.base.Model.sample`.
    """
    device, where = source.device, (numbers, places.boxes, places.positions)
    sampler, levels = plan

    def added(step: int) -> Tensor:
        sheets = noise.framed(places.shape, *where, step + 1)
        return torch.from_numpy(sheets).flatten(0, 1)[:, None].to(device)

    def solve(predict: Predict, start: Tensor) -> Tensor:
        return sampler(predict, start * levels[0], levels, noise=added)

    first, second = (torch.full((len(source),), contrast_index(contrast), device=device) for contrast in pair)
    starts = torch.from_numpy(noise.starts(model.latent, places.shape, *where)).to(device)
    return model.sample(source, first, second, starts, solve, *others)
