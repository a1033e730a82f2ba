"""Samplers by name, and which of a model's noise levels each runs on."""

from __future__ import annotations

from typing import Protocol

from ..errors import MrtransError
from .samplers import (
    Sampler,
    ancestral,
    annealed_langevin,
    annealed_langevin_ncsnv2,
    dpm_solver_pp_2m,
    euler,
    heun,
    log_sigmas,
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

#: Below this many levels these distort the standard deviation: the first two lose 20 to 90 % of it.
LOSSY_BELOW: dict[str, int] = {"ddim": 50, "euler": 50, "langevin": 500, "langevin-ncsnv2": 500}

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
