"""One step of a training: its rate, a restyled batch, the critic's turn, loss, gradient and the average of weights."""

from __future__ import annotations

import math

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..models import Batch
from ..models.base import SharedGenerator, step_seed
from .ema import ema_rule
from .hardware import arrange, check_shared, finite_gradients
from .initial import Start
from .muon import make_optimiser
from .one_contrast import normalise_as_in_use
from .opponent import Opponent
from .recipe import Recipe


class Learner:
    """A network on its device with all that changes its weights.

    Args:
        recipe: What to do.
        start: What it starts from.
        fabric: Launched; drives the devices.
        number_format: Fabric's word for it.
        compiled: Compile the network first.

    Attributes:
        raw: The network itself, not Fabric's wrapper.
        ema: The average of its weights.
        optimiser: Of the weights.
        opponent: The critic with its optimiser, or None.
        losses: Of the last step; not finite where it went wrong.

    Raises:
        RecipeError: the network cannot be trained on so many devices.
    """

    def __init__(self, recipe: Recipe, start: Start, fabric: Fabric, number_format: str, *, compiled: bool) -> None:
        self._recipe, self._start, self._fabric = recipe, start, fabric
        self.raw = raw = start.model
        check_shared(raw, fabric)
        arrange(raw, fabric.device, number_format)
        options = recipe.optimiser
        if recipe.only_contrast is not None:  # weights that it leaves alone do not decay either
            options = options.model_copy(update={"weight_decay": 0.0})
        optimiser = make_optimiser([p for p in raw.parameters() if p.requires_grad], options)
        self._model, self.optimiser = fabric.setup(raw, optimiser)
        self._model.mark_forward_method("loss")
        self._model.mark_forward_method("critic_loss")
        self.opponent = Opponent.make(raw, recipe, fabric)
        self.ema = AveragedModel(raw, multi_avg_fn=ema_rule(recipe.ema), use_buffers=True)
        if compiled:
            torch.nn.Module.compile(raw.get_submodule("net"), dynamic=False)
        self.losses = {"loss": 0.0}

    @property
    def diverged(self) -> bool:
        """A loss or its gradient was not finite."""
        return not all(math.isfinite(value) for value in self.losses.values())

    def learn(self, batch: Batch, step: int) -> None:
        """Take step ``step``, whose draws depend on the recipe's seed and on it alone."""
        recipe, fabric = self._recipe, self._fabric
        torch.manual_seed(step_seed(recipe.seed, step, fabric.global_rank))
        self._set_rate(_lr_factor(step, recipe))
        self._model.train()
        if recipe.only_contrast is not None:
            normalise_as_in_use(self.raw)
        batch, generator = batch.to(fabric.device), self._generator(step)
        if self._start.restyle is not None:
            batch = self._start.restyle(batch, generator)
        if self.opponent is not None:
            self.losses["critic"] = self.opponent.learn(self._model, batch, generator, fabric, recipe.optimiser.clip)
        if self.opponent is None or (step + 1) % self.raw.critic_steps == 0:
            self._descend(batch, generator)

    def _descend(self, batch: Batch, generator: torch.Generator) -> None:
        fabric = self._fabric
        with fabric.autocast():  # of its own accord Fabric does that for forward() alone
            loss = self._model.loss(batch, generator, self.opponent.critic if self.opponent else None)
        self.losses["loss"] = _shared(loss, fabric)
        if math.isfinite(self.losses["loss"]):
            fabric.backward(loss)
            if finite_gradients(fabric, self._model, self.optimiser, self._recipe.optimiser.clip):
                self.optimiser.step()
                self.ema.update_parameters(self.raw)
            else:
                self.losses["gradient"] = math.inf
            self.optimiser.zero_grad(set_to_none=True)

    def _set_rate(self, factor: float) -> None:
        options = self._recipe.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = options.lr * factor
        if self.opponent is not None:
            self.opponent.set_rate(options, factor)

    def _generator(self, step: int) -> SharedGenerator:
        generator = SharedGenerator()
        generator.manual_seed(step_seed(self._recipe.seed, step))
        generator.rank, generator.world = self._fabric.global_rank, self._fabric.world_size
        return generator


def _shared(loss: Tensor, fabric: Fabric) -> float:
    """Mean over the processes, so that all of them stop at a loss that is not finite."""
    mean = fabric.all_reduce(loss.detach(), reduce_op="mean")
    assert isinstance(mean, Tensor)
    return float(mean)


def _lr_factor(step: int, recipe: Recipe) -> float:
    options = recipe.optimiser
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    done = step / recipe.total_steps
    decay = {
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "half-linear": min(1.0, 2 * (1 - done)),
        "constant": 1.0,
    }[options.schedule]
    return warm * (options.final + (1 - options.final) * decay)
