"""One network trained on for some minutes of wall clock; the weights that do best on held-out slices are kept.

The learning rate falls to 0 by the clock, so that a slow machine ends as well as a fast one, with fewer steps. What
there is lies on disk every now and then: killed at any moment, the next call goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..asked.place import LEFT, REMEDY
from ..asked.settings import Hooks, Preview
from ..checkpoints.checkpoint import write_tensors
from ..datasets.store import Source
from ..errors import MrtransError, TrainingError
from ..models import Model
from ..models.base import step_seed
from ..paths import write_together
from ..training.ema import averaged, ema_rule
from ..training.hardware import Hardware, arrange, fabric_of, finite_gradients, precision
from ..training.muon import make_optimiser
from ..training.opponent import Opponent
from ..training.recipe import Recipe
from ..training.slices import TrainingSlices, batches
from ..training.state import Parts, drop_state, load_state, save_state
from .held_error import HeldOut

#: At most so many times the held-out slices are asked, and no larger a share of the time is spent on them.
LOOKS, LOOKING = 12, 0.15
#: Looks without a better one after which a network goes back to where it was best, and learns so much more slowly.
PATIENCE, SLOWER = 4, 0.3
#: How often it goes back before it is left where it was best.
TURNS = 2
#: Share of the time in which a new critic learns alone: a random one has nothing to say.
CRITIC_ALONE = 0.2
#: Seconds between two states on disk, at least.
SAVED_EVERY = 20.0
BEST = "best.safetensors"


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        curve: Seconds and held-out error over that of the parent: 1 at 0 seconds.
        seconds: That it took.
        steps: Of the optimiser.
        weights: The best network's.
    """

    curve: list[tuple[float, float]]
    seconds: float
    steps: int
    weights: dict[str, Tensor]

    @property
    def best(self) -> tuple[float, float]:
        """Where the curve is lowest."""
        return min(self.curve, key=lambda point: point[1])


@dataclass(frozen=True)
class Watch:
    """Who is told: (seconds so far, curve, new preview or None) after every step; and who may stop it.

    Attributes:
        before: What the parent makes of the slice on show, (row, column); None: nobody looks.
    """

    tell: Callable[[float, list[tuple[float, float]], Preview | None], None]
    hooks: Hooks
    before: NDArray[np.float32] | None = None


def tune(
    model: Model, recipe: Recipe, source: Source, held: HeldOut, folder: Path, seconds: float, watch: Watch
) -> Tuned:
    """Train the ``net`` of a model on.

    Args:
        model: With the weights of the parent, on the device; those of ``net`` are trained and end as the best ones.
        recipe: Its pairs, augmentation, optimiser and only stage.
        source: What is learned from.
        held: What says which weights are best.
        folder: Of this run; a state in it is continued.
        seconds: Of wall clock, held-out slices included.
        watch: Told how far it is.

    Raises:
        TrainingError: the loss stopped being finite.
        MrtransError: it was left, to be gone on with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (done := _finished(folder, model)) is not None:
        return done
    run = _Run(model, recipe, source, held, folder, seconds)
    return run.go(watch)


def _network(model: Model) -> nn.Module:
    return model.get_submodule("net")


def _finished(folder: Path, model: Model) -> Tuned | None:
    """A run that ended earlier; its weights are in the model afterwards."""
    record = folder / "done.json"
    if not record.exists():
        return None
    document = json.loads(record.read_text(encoding="utf-8"))
    weights = load_file(str(folder / BEST))
    _network(model).load_state_dict(weights)
    curve = [(float(a), float(b)) for a, b in document["curve"]]
    return Tuned(curve, document["seconds"], document["steps"], weights)


class _Run:
    """The state of :func:`tune`."""

    def __init__(
        self, model: Model, recipe: Recipe, source: Source, held: HeldOut, folder: Path, seconds: float
    ) -> None:
        self.model, self.recipe, self.source, self.held = model, recipe, source, held
        self.folder, self.budget = folder, seconds
        number_format = precision("auto", held.device.type)
        self.fabric = fabric_of(Hardware(held.device.type), number_format)
        self.curve: list[tuple[float, float]] = []
        _network(model).requires_grad_(True)
        arrange(model, held.device, number_format)
        optimiser = make_optimiser([p for p in model.parameters() if p.requires_grad], recipe.optimiser)
        self.wrapped, self.optimiser = self.fabric.setup(model, optimiser)
        self.wrapped.mark_forward_method("loss")
        self.wrapped.mark_forward_method("critic_loss")
        self.opponent = Opponent.make(model, recipe, self.fabric)
        self.ema = AveragedModel(model, multi_avg_fn=ema_rule(recipe.ema), use_buffers=True)
        self.parts = Parts(model, self.ema, self.optimiser, self.opponent)
        self.step, self.spent = 0, 0.0
        #: Points of the curve after which it went back.
        self.turns: list[int] = []

    @property
    def _state(self) -> Path:
        return self.folder / "state.safetensors"

    def go(self, watch: Watch) -> Tuned:
        self._resume()
        began, self.saved = time.monotonic() - self.spent, time.monotonic()
        first = self._look(0.0) if not self.curve else 0.0
        looks = max(2, min(LOOKS, int(LOOKING * self.budget / max(first, 1e-3)))) if first else LOOKS
        self.spent = time.monotonic() - began
        following = self.spent + (self.budget - self.spent) / looks
        watch.tell(self.spent, self.curve, self._preview(watch))
        stopped = False
        for batch in batches(self._slices(), self.step, self._workers()):
            if watch.hooks.leave():
                self._save(began, pause=0.0)
                raise MrtransError(LEFT)
            if stopped := watch.hooks.cancel():
                break
            self._learn(batch.to(self.fabric.device))
            self.step += 1
            self.spent = time.monotonic() - began
            preview = None
            if self.spent >= following:
                self._look(self.spent)
                preview = self._preview(watch)
                self.spent = time.monotonic() - began
                following = self.spent + max(self.budget / looks, 1e-6)
            self._save(began)
            watch.tell(self.spent, self.curve, preview)
            if self.spent >= self.budget:
                break
            if self._stuck():
                if len(self.turns) == TURNS:
                    break
                self._go_back()
        if self.curve[-1][0] < self.spent and not self._stuck():
            self._look(self.spent)
        self.spent = time.monotonic() - began
        return self._end(stopped)

    def _slices(self) -> TrainingSlices:
        return TrainingSlices(self.source, self.recipe, self.recipe.stages[0], 0)

    def _workers(self) -> int:
        """A processor learns as slowly as it reads; what feeds a GPU has to be fast."""
        return 0 if self.fabric.device.type == "cpu" else 2

    def _learn(self, batch: object) -> None:
        seed = step_seed(self.recipe.seed, self.step)
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        done = min(self.spent / self.budget, 1.0) if self.budget else 1.0
        options = self.recipe.optimiser
        factor = min(1.0, (self.step + 1) / max(1, options.warmup)) * 0.5 * (1 + math.cos(math.pi * done))
        factor *= SLOWER ** len(self.turns)
        for group in self.optimiser.param_groups:
            group["lr"] = options.lr * factor
        self.wrapped.train()
        clip = options.clip
        if self.opponent is not None:
            self.opponent.set_rate(options, factor)
            value = self.opponent.learn(self.wrapped, batch, generator, self.fabric, clip)  # type: ignore[arg-type]
            self._check(value)
            if done < CRITIC_ALONE:
                return
        with self.fabric.autocast():
            loss = self.wrapped.loss(batch, generator, self.opponent.critic if self.opponent else None)
        self._check(float(loss.detach()))
        self.fabric.backward(loss)
        if not finite_gradients(self.fabric, self.wrapped, self.optimiser, clip):
            self._check(math.inf)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.ema.update_parameters(self.model)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss was no longer finite at step {self.step + 1}; look for odd intensities in the scans."
            )

    def _look(self, at: float) -> float:
        """Ask the held-out slices; the best weights so far go to disk. Seconds it took."""
        began = time.monotonic()
        error = self.held.error(averaged(self.ema))
        if not self.curve:
            self.parent_error = max(error, 1e-12)
        relative = error / self.parent_error if math.isfinite(error) else math.inf
        if not self.curve or relative < min(value for _, value in self.curve):
            self._write_best(relative)
        self.curve.append((round(at, 2), round(relative, 6)))
        return time.monotonic() - began

    def _preview(self, watch: Watch) -> Preview | None:
        if watch.before is None:
            return None
        return self.held.preview(watch.before, self.held.answer(averaged(self.ema)))

    def _stuck(self) -> bool:
        """Whether it has not become better for a while."""
        values = [value for _, value in self.curve]
        return len(values) - 1 - max(values.index(min(values)), *self.turns, 0) >= PATIENCE

    def _go_back(self) -> None:
        weights = load_file(str(self.folder / BEST))
        for model in (self.model, averaged(self.ema)):
            _network(model).load_state_dict(weights)
        self.optimiser.state.clear()
        self.turns.append(len(self.curve) - 1)

    def _write_best(self, error: float) -> None:
        net = _network(averaged(self.ema)).state_dict()
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in net.items()}
        write_tensors(self.folder / BEST, weights, {"error": str(error)}, REMEDY)

    def _save(self, began: float, pause: float | None = None) -> None:
        """Once so many seconds have passed since the last time."""
        if time.monotonic() - self.saved < (SAVED_EVERY if pause is None else pause):
            return
        self.saved = time.monotonic()
        self.parts.hours = (time.monotonic() - began) / 3600
        record = {"curve": self.curve, "parent": self.parent_error, "turns": self.turns}
        write_together(self.folder, {"curve.json": json.dumps(record)}, REMEDY)
        save_state(self._state, self.recipe, self.step, self.parts)

    def _resume(self) -> None:
        if not self._state.exists() or not (self.folder / "curve.json").exists():
            return
        self.step = load_state(self._state, self.recipe, self.parts)
        self.spent = 3600 * self.parts.hours
        record = json.loads((self.folder / "curve.json").read_text(encoding="utf-8"))
        self.parent_error = record["parent"]
        self.curve = [(a, b) for a, b in record["curve"] if a <= self.spent + 1]
        self.turns = [point for point in record.get("turns", []) if point < len(self.curve)]

    def _end(self, stopped: bool) -> Tuned:
        weights = load_file(str(self.folder / BEST))
        network = _network(self.model)
        network.load_state_dict(weights)
        network.requires_grad_(False)
        self.model.eval()
        if not stopped:
            record = {"curve": self.curve, "seconds": self.spent, "steps": self.step}
            write_together(self.folder, {"done.json": json.dumps(record)}, REMEDY)
            drop_state(self._state)
        return Tuned(self.curve, self.spent, self.step, weights)
