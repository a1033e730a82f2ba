"""What a recipe costs, before it is run."""

from __future__ import annotations

import json
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models import build
from ..models.shapes import answer_once
from .recipe import Recipe

#: Sustained rates for the estimate, in FLOP/s: a data-centre GPU in 32-bit precision, two laptop cores.
GPU, CPU = 3e13, 1e11


def training_flop(recipe: Recipe) -> float:
    """Floating-point operations of the whole run: three forward passes' worth for each image (forward and backward)."""
    options = json.dumps({**recipe.options, "conditional": recipe.conditional}, sort_keys=True)
    return sum(3.0 * s.steps * s.batch * _forward(recipe.model, options, *s.crop) for s in recipe.stages)


def cost_line(recipe: Recipe) -> str:
    """E.g. ``0.5 h GPU, 6 days CPU``, at the rates of :data:`GPU` and :data:`CPU`."""
    flop = training_flop(recipe)
    return f"{_duration(flop / GPU)} GPU, {_duration(flop / CPU)} CPU"


def _duration(seconds: float) -> str:
    for size, unit in ((86400.0, "days"), (3600.0, "h")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(seconds / 60, 1):.0f} min"


@cache
def _forward(model: str, options: str, rows: int, columns: int) -> float:
    """One image through the model once, counted on shapes alone."""
    with torch.device("meta"), torch.no_grad():
        built = build(model, json.loads(options)).eval()
        with FlopCounterMode(display=False) as counter:
            answer_once(built, rows, columns)
    return float(counter.get_total_flops())
