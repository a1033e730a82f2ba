"""The one way in which a network's samples of slices are drawn, in use and while it is trained.

A network that saw mirrored heads in training guesses anew in the mirror image of a slice, and errs a little
differently there. So both count where :attr:`Places.symmetric` says so: of a model of one answer the mean of the two,
of others half of the antithetic pairs each, in as many evaluations as of one side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..scan.contrasts import Pair
from ..scan.framing import Box
from .base import Model, contrast_index
from .noise import Noise
from .samplers import Predict

#: Of ten pairs. Chosen so that those of each of two to six models that take turns are spread over both sides, too,
#: which every second pair would not be of two models, nor the Thue-Morse sequence of three.
_MIRRORED = frozenset({1, 2, 5, 8, 9})


@dataclass(frozen=True)
class Places:
    """Where slices lie.

    Attributes:
        shape: Of the model's grid.
        boxes: Each slice's frame in it.
        positions: Of each slice along the axis across the slices, in mm.
        symmetric: A slice's mirror image, its columns the other way round, could be another's.
    """

    shape: tuple[int, int]
    boxes: Sequence[Box]
    positions: Sequence[float]
    symmetric: bool = False


@dataclass(frozen=True)
class Way:
    """How noise becomes an image.

    Attributes:
        sampler: As :mod:`.samplers` has them.
        levels: Its noise levels (:func:`~.sampler_plan.plan`).
        tell: Called before every evaluation of the network with how many there were and will be.
    """

    sampler: Callable[..., Tensor]
    levels: list[float]
    tell: Callable[[int, int], None] | None = None


def mirrored(sample: int) -> bool:
    """Whether a sample is drawn of the slice's mirror image, where there is symmetry.

    Both of an antithetic pair are or neither; of ten pairs five are, and about half of those of each of two to six
    models that take turns in a pool (:data:`_MIRRORED`).
    """
    return sample // 2 % 10 in _MIRRORED


def draw(
    model: Model,
    source: Tensor,
    pair: Pair,
    places: Places,
    noise: Noise,
    numbers: Sequence[int],
    way: Way,
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
        way: From noise to an image.
        *others: What other views of the head say, as of :meth:`~.base.Model.sample`.
    """
    if places.symmetric:
        here, there = [k for k in numbers if not mirrored(k)], [k for k in numbers if mirrored(k)]
        if model.deterministic:
            here = there = [*numbers]
        sides = [(chosen, turned) for chosen, turned in ((here, False), (there, True)) if chosen]
        one_side, drawn = replace(places, symmetric=False), []
        for number, (chosen, turned) in enumerate(sides):
            told = replace(way, tell=way.tell and partial(_tell, way.tell, number, len(sides)))
            if told.tell is not None:  # models that take one pass do not ask whether they may
                told.tell(0, 1)
            images = [image.flip(-1) if turned else image for image in (source, *others)]
            side = draw(model, images[0], pair, one_side, replace(noise, turned=turned), chosen, told, *images[1:])
            drawn.append(side.flip(-1) if turned else side)
        if model.deterministic:
            return torch.stack(drawn).mean(0)
        order = [k for chosen, _ in sides for k in chosen]
        return torch.cat(drawn, dim=1)[:, [order.index(k) for k in numbers]]
    device, where = source.device, (numbers, places.boxes, places.positions)

    def added(step: int) -> Tensor:
        sheets = noise.framed(places.shape, *where, step + 1)
        return torch.from_numpy(sheets).flatten(0, 1)[:, None].to(device)

    def solve(predict: Predict, start: Tensor) -> Tensor:
        return way.sampler(predict, start * way.levels[0], way.levels, noise=added, callback=way.tell)

    first, second = (torch.full((len(source),), contrast_index(contrast), device=device) for contrast in pair)
    starts = torch.from_numpy(noise.starts(model.latent, places.shape, *where)).to(device)
    return model.sample(source, first, second, starts, solve, *others)


def _tell(tell: Callable[[int, int], None], part: int, parts: int, done: int, total: int) -> None:
    """Part ``part`` of so many alike is so far."""
    tell(part * total + done, parts * total)
