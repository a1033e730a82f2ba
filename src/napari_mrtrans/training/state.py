"""The resumable state of a run: one safetensors file, never pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..asked.one_run import one_run
from ..checkpoints.checkpoint import read_checkpoint, write_tensors
from ..errors import CheckpointError, RecipeError
from ..models import Model
from ..paths import remove_parts
from .initial import parents_of
from .opponent import Opponent
from .recipe import STATE_NAME, Recipe

STATE = f"{STATE_NAME}.safetensors"
_LOCK = ".train.lock"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other trainings out of a folder meanwhile; a lock that a killed process left does not count.

    Of the processes that share a run the first one asks, the others come with it.

    Raises:
        RecipeError: there is another one.
    """
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    busy = RecipeError(f"Another training is at work in '{out}'; wait until it ends, or choose another folder with -o.")
    with one_run(out / _LOCK, busy) if getattr(rank_zero_only, "rank", 0) == 0 else nullcontext():
        yield


@dataclass
class Parts:
    """What a state holds; ``people`` is a digest of who is trained on and kept out, ``parents`` are those of what it
    starts from, by name; ``residual_std`` is what it divides residuals by."""

    model: Model
    ema: AveragedModel
    optimiser: Any
    opponent: Opponent | None
    hours: float = 0.0
    people: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    residual_std: float | None = None

    def modules(self) -> dict[str, torch.nn.Module]:
        critic = {"critic": self.opponent.critic} if self.opponent else {}
        return {"model": self.model, "ema": self.ema, **critic}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        critic = {"critic-optimiser": self.opponent.optimiser} if self.opponent else {}
        return {"optimiser": self.optimiser, **critic}


def save_state(path: Path, recipe: Recipe, step: int, parts: Parts) -> None:
    """Write the state after ``step``; it appears under its name only when complete.

    Raises:
        MrtransError: it cannot be written; the one before it is kept.
    """
    tensors = {f"{name}.{k}": v for name, module in parts.modules().items() for k, v in module.state_dict().items()}
    for name, optimiser in parts.optimisers().items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    header = {"recipe": recipe.sha256, "step": step, "hours": parts.hours, "people": parts.people}
    header |= {"parents": parts.parents, "residual_std": parts.residual_std}
    held = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    write_tensors(path, held, {"run": json.dumps(header)})


def drop_state(path: Path) -> None:
    """Remove the state, and what a killed run has left of one."""
    remove_parts(path)
    path.unlink(missing_ok=True)


def is_trained(checkpoint: Path, recipe: Recipe) -> bool:
    """Whether a run wrote ``checkpoint`` at the end of this very recipe, from checkpoints that have not become others
    since, and nothing of it is left to resume."""
    if not checkpoint.is_file() or (checkpoint.parent / STATE).exists():
        return False
    try:
        card = read_checkpoint(checkpoint).card
        if card.parents and card.parents != parents_of(recipe):
            return False
    except CheckpointError:
        return False
    return card.recipe_sha256 == recipe.sha256 and card.steps >= recipe.total_steps


def _why_not_resumed(checkpoint: Path, recipe: Recipe) -> str:
    """What a finished file is, where it is not what this recipe ends with."""
    try:
        card = read_checkpoint(checkpoint).card
    except CheckpointError:
        return "is damaged"
    if card.recipe_sha256 != recipe.sha256:
        return "has been trained by another recipe, or other --set"
    if card.steps < recipe.total_steps:
        return f"is of a run that ended after {card.steps} of {recipe.total_steps} steps and left no state"
    return "was trained from checkpoints that have become others since"


def kept_residual_std(path: Path) -> float | None:
    """What the run of the state at ``path`` divides residuals by, if it does and the state can be read."""
    from safetensors import safe_open

    try:
        with safe_open(str(path), "pt") as file:
            found = json.loads((file.metadata() or {})["run"])["residual_std"]
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    return None if found is None else float(found)


def check_begun(path: Path, recipe: Recipe) -> None:
    """See that a run has left the state at ``path``, or its checkpoint beside it.

    Raises:
        RecipeError: neither is there.
    """
    if not path.exists() and not path.with_name(f"{recipe.checkpoint_name}.safetensors").exists():
        raise RecipeError(f"Nothing to resume in '{path.parent}'; start without --resume.")


def load_state(path: Path, recipe: Recipe, parts: Parts) -> int:
    """Fill ``parts`` from the state at ``path``; its step.

    Raises:
        RecipeError: there is none, it is damaged, or it belongs to another recipe or to other people.
    """
    from safetensors import safe_open

    check_begun(path, recipe)
    if not path.exists():
        done = path.with_name(f"{recipe.checkpoint_name}.safetensors")
        raise RecipeError(
            f"'{done}' {_why_not_resumed(done, recipe)}; choose another folder, or delete it to train it anew."
        )
    try:
        with safe_open(str(path), "pt") as file:
            header = json.loads((file.metadata() or {})["run"])
        tensors = load_file(str(path))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RecipeError(
            f"The state in '{path.parent}' is damaged ({error}); start again in another folder."
        ) from None
    if header["recipe"] != recipe.sha256:
        raise RecipeError(
            f"The run in '{path.parent}' was started with another recipe, or other --set; resume it with its own."
        )
    if header.get("people", parts.people) != parts.people:
        raise RecipeError(
            f"Since the run in '{path.parent}' was started, people were added to the data or taken away, and others "
            "would be kept out (or a version began it that let the seed draw them, before 2026-11-29). Give it the "
            "same data, or start again in another folder."
        )
    if header.get("parents", parts.parents) != parts.parents:
        raise RecipeError(
            f"Since the run in '{path.parent}' was started, one of the checkpoints that it starts from or refers to "
            f"has become another ({', '.join(sorted(recipe.parents))}). Put the old one back, or start again in "
            "another folder."
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    for name, module in parts.modules().items():
        module.load_state_dict(part(f"{name}."))
    for name, optimiser in parts.optimisers().items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part(f"{name}.").items():
            index, quantity = key.split(".", 1)
            state.setdefault(int(index), {})[quantity] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for parameter, quantities in optimiser.state.items():
            for quantity, value in quantities.items():
                if value.shape == parameter.shape:  # fused kernels want the weights' own memory layout
                    quantities[quantity] = torch.empty_like(parameter, requires_grad=False).copy_(value)
    parts.hours = float(header.get("hours", 0.0))
    return int(header["step"])
