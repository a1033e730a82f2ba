"""The critic of an adversarial model in training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from ..errors import RecipeError
from ..models import Batch, Model
from .hardware import finite_gradients
from .recipe import Recipe
from .recipe_parts import Optimiser


@dataclass
class Opponent:
    """The critic and its optimiser."""

    critic: Any
    optimiser: Any

    @classmethod
    def make(cls, model: Model, recipe: Recipe, fabric: Fabric) -> Opponent | None:
        critic = model.make_critic()
        if critic is None:
            return None
        if fabric.world_size > 1:
            raise RecipeError(f"{recipe.model} trains on one device: its critic cannot be shared; use --devices 1.")
        options = recipe.optimiser
        optimiser = torch.optim.AdamW(
            critic.parameters(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=True
        )
        return cls(*fabric.setup(critic, optimiser))

    def set_rate(self, options: Optimiser, factor: float) -> None:
        """Its learning rate: ``factor`` times that of the recipe."""
        for group in self.optimiser.param_groups:
            group["lr"] = (options.critic_lr or options.lr) * factor

    def learn(self, model: Any, batch: Batch, generator: torch.Generator, fabric: Fabric, clip: float) -> float:
        """One update; its loss. Afterwards the critic's weights take no gradient until the next."""
        self.critic.requires_grad_(True)
        # The bare network, within the model's precision: Fabric's wrapper forbids the gradient that the penalty needs.
        with fabric.autocast():
            loss = model.critic_loss(self.critic.module, batch, generator)
        value = float(loss.detach())
        if math.isfinite(value):
            fabric.backward(loss)
            if finite_gradients(fabric, self.critic, self.optimiser, clip):
                self.optimiser.step()
            else:
                value = math.inf
        self.optimiser.zero_grad(set_to_none=True)
        self.critic.requires_grad_(False)
        return value
