"""Samplers by name, and which of a model's noise levels each runs on."""

from __future__ import annotations

import math
from typing import Protocol

from ..errors import MrtransError
from ..wording import plural
from .samplers import (
    Sampler,
    ancestral,
    annealed_langevin,
    annealed_langevin_ncsnv2,
    dpm_solver_pp_2m,
    euler,
    heun,
    log_sigmas,
    stationary_step,
)

SAMPLERS: dict[str, Sampler] = {
    "dpm++2m": dpm_solver_pp_2m,
    "heun": heun,
    "ancestral": ancestral,
    "ddim": euler,
    "euler": euler,
    "langevin": annealed_langevin,
    "langevin-ncsnv2": annealed_langevin_ncsnv2,
}

#: Below this many levels these distort the standard deviation by more than a tenth. In one slice of the shipped models:
#: ``ddim`` and ``euler`` lose 20 to 90 % of it, ``dpm++2m`` a quarter in 5 levels, ``ancestral`` a fifth in 200
#: (not where the network tells the variance of a step); ``heun`` adds a third in 8, Langevin dynamics doubles it.
LOSSY_BELOW: dict[str, int] = {
    "dpm++2m": 7, "heun": 12, "ddim": 50, "euler": 50, "ancestral": 500, "langevin": 500, "langevin-ncsnv2": 500
}  # fmt: skip
#: Below this many levels the mean is wrong, too.
WRONG_BELOW: dict[str, int] = {"heun": 6, "langevin": 500, "langevin-ncsnv2": 500}

#: Run on the levels of the model's own time steps, where it has such, instead of levels uniform in log σ.
ON_OWN_LEVELS = frozenset({"ddim"})


def check_sampler(name: str) -> None:
    """``name`` must be in :data:`SAMPLERS`, or ``reference``.

    Raises:
        MrtransError: it is neither.
    """
    names = (*SAMPLERS, "reference")
    if name not in names:
        raise MrtransError(f"Unknown sampler '{name}'; choose one of {', '.join(names)}.")


def notice_of(name: str, steps: int, sigma_min: float, sigma_max: float, *, tells_variance: bool = False) -> str:
    """What is to be told of ``steps`` levels; empty where nothing is.

    Args:
        name: In :data:`SAMPLERS`; of other names nothing is known.
        steps: How many levels.
        sigma_min: Least of them.
        sigma_max: Largest.
        tells_variance: The network tells the variance of a step, which ``ancestral`` uses.

    Raises:
        MrtransError: the sampler leaves its path at once (κ of 1 or more: a step of Langevin dynamics throws all of the
            image away).
    """
    if name == "langevin" and steps > 1 and stationary_step((sigma_max / sigma_min) ** (1 / (steps - 1))) >= 1:
        fewest = math.ceil(2 * math.log2(sigma_max / sigma_min)) + 2
        raise MrtransError(f"'langevin' diverges in {steps} steps; take {fewest} or more, or dpm++2m.")
    enough = LOSSY_BELOW.get(name, 0)
    if steps >= enough or (name == "ancestral" and tells_variance):
        return ""
    what = "mean and spread" if steps < WRONG_BELOW.get(name, 0) else "the spread"
    other = f"{enough} steps" if name == "dpm++2m" else f"dpm++2m, or {enough} steps"
    return f"'{name}' with {plural(steps, 'step')} distorts {what}; use {other}."


class Levelled(Protocol):
    """What a model says of its own noise levels."""

    @property
    def reference(self) -> tuple[str, int]:
        """Name and number of levels of the sampler that all others are measured against."""

    def own_levels(self, steps: int) -> list[float] | None:
        """``steps`` of the levels the model was trained on, descending; None where it has no such set."""


def plan(model: Levelled, name: str, steps: int, sigma_min: float, sigma_max: float) -> tuple[Sampler, list[float]]:
    """Sampler ``name`` and its levels; ``reference`` is the model's own slow one and fixes the number of levels."""
    own: list[float] | None = None
    if name == "reference" and not model.reference[0]:  # of a model in one pass, which uses none
        name = next(iter(SAMPLERS))
    elif name == "reference":
        name, steps = model.reference
        own = model.own_levels(steps)
    elif name in ON_OWN_LEVELS:
        own = model.own_levels(steps)
    return SAMPLERS[name], own or log_sigmas(steps, sigma_min, sigma_max)
