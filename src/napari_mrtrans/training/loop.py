"""The training loop: Fabric for devices and precision, EMA, wall-clock checkpoints, and a resume that changes nothing.

Step ``k`` draws its batch, its noise and its dropout from (seed, k) alone, so a run that was stopped and resumed takes
exactly the steps that the uninterrupted run takes.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from ..checkpoint import Card, Grid, Intensity, write_checkpoint
from ..devices import bf16_is_fast, to_channels_last
from ..errors import RecipeError
from ..intensity import HEADROOM
from ..library import load_checkpoint
from ..models import Batch, Direct, Flow, Model, build
from .data.slices import Source, TrainingSlices, batches, fixed_slices
from .recipe import Recipe
from .validation import validate

STATE = "state.safetensors"
Tensors = list[Tensor] | tuple[Tensor, ...]


@dataclass(frozen=True)
class Progress:
    """Told after every step."""

    step: int
    total: int
    loss: float
    seconds: float


def train(
    recipe: Recipe,
    splits: dict[str, Source],
    out: Path,
    *,
    accelerator: str = "auto",
    devices: int = 1,
    resume: bool = False,
    max_minutes: float | None = None,
    workers: int = 1,
    compiled: bool = False,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train ``recipe`` and write ``out/<name>.safetensors`` (the EMA weights with their card).

    Args:
        recipe: What to do.
        splits: ``train`` and ``validation`` sessions.
        out: Output folder; also holds the resumable state and TensorBoard logs.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: How many.
        resume: Continue from the state in ``out``.
        max_minutes: End after this long with a usable checkpoint.
        workers: Background decoding processes.
        compiled: Compile the network first.
        progress: Told after every step.
        say: Told one-line notices.

    Raises:
        RecipeError: the state belongs to another recipe, or there is none to resume.
    """
    out.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=_precision(recipe, accelerator))
    fabric.launch()
    if any(stage.batch % fabric.world_size for stage in recipe.stages):
        raise RecipeError(f"Every stage's batch must be a multiple of the number of devices ({fabric.world_size}).")
    torch.manual_seed(recipe.seed)
    raw, model_options = initial_model(recipe, splits["train"])
    to_channels_last(raw)
    options = recipe.optimiser
    trainable = [p for p in raw.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        trainable, lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=True
    )
    model, optimiser = fabric.setup(raw, optimiser)
    model.mark_forward_method("loss")
    ema = AveragedModel(raw, multi_avg_fn=_ema_rule(recipe.ema), use_buffers=True)
    if compiled:
        raw.net.compile(dynamic=False)
    step = _load_state(out / STATE, recipe, raw, ema, optimiser) if resume else 0
    if not resume and (out / STATE).exists():
        raise RecipeError(f"'{out}' holds an unfinished run; add --resume to continue it, or choose another folder.")
    held = fixed_slices(splits["validation"], recipe.pairs, recipe.validation_slices, raw.multiple)
    board = _board(out) if fabric.is_global_zero else None
    began = saved = time.monotonic()
    finished = True
    for batch in _all_batches(recipe, splits["train"], step, workers, fabric):
        seed = (recipe.seed << 40) + (fabric.global_rank << 32) + step
        torch.manual_seed(seed)
        for group in optimiser.param_groups:
            group["lr"] = options.lr * _lr_factor(step, recipe)
        model.train()
        loss = model.loss(batch.to(fabric.device), torch.Generator().manual_seed(seed))
        fabric.backward(loss)
        fabric.clip_gradients(model, optimiser, max_norm=options.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        ema.update_parameters(raw)
        step += 1
        now = time.monotonic()
        if progress:
            progress(Progress(step, recipe.total_steps, float(loss.detach()), now - began))
        if board is not None and step % 10 == 0:
            board.add_scalar("train/loss", float(loss.detach()), step)
        if step % recipe.validate_every == 0 and held and fabric.is_global_zero:
            metrics = validate(_averaged(ema), held, fabric.device, board, step, recipe.sampler)
            say(f"step {step}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items()))
        if now - saved > 60 * recipe.checkpoint_minutes and fabric.is_global_zero:
            _save_state(out / STATE, recipe, step, raw, ema, optimiser)
            saved = now
        if max_minutes is not None and fabric.broadcast(now - began > 60 * max_minutes):
            finished = step >= recipe.total_steps
            break
    path = out / f"{recipe.name}.safetensors"
    if fabric.is_global_zero:
        metrics = validate(_averaged(ema), held, fabric.device, board, step, recipe.sampler) if held else {}
        write_checkpoint(path, _averaged(ema), make_card(recipe, model_options, splits, step, metrics))
        if finished:
            (out / STATE).unlink(missing_ok=True)
        else:
            _save_state(out / STATE, recipe, step, raw, ema, optimiser)
            say(f"Stopped after {step} of {recipe.total_steps} steps; --resume continues.")
        if board is not None:
            board.close()
    return path


def initial_model(recipe: Recipe, source: Source) -> tuple[Model, dict[str, Any]]:
    """The untrained model and its options; a residual flow gets its frozen Direct network and residual scale."""
    options = {**recipe.options, "conditional": recipe.conditional}
    if recipe.session_effects:
        options["sessions"] = len(source.sessions)
    if recipe.mean_checkpoint is None:
        return _started(recipe, build(recipe.model, options)), options
    mean = load_checkpoint(recipe.mean_checkpoint)
    direct = mean.build()
    if not isinstance(direct, Direct) or direct.conditional != recipe.conditional:
        raise RecipeError(f"mean_checkpoint: '{mean.name}' is no Direct model for the same kind of pairs.")
    options |= _residual_options(recipe, direct, mean.card, source)
    model = build(recipe.model, options)
    assert isinstance(model, Flow) and model.mean_net is not None
    model.mean_net.load_state_dict(direct.net.state_dict())
    return _started(recipe, model), options


def _started(recipe: Recipe, model: Model) -> Model:
    """``model`` with the weights of the checkpoint to start from, if any."""
    if recipe.start_from is not None:
        checkpoint = load_checkpoint(recipe.start_from)
        try:
            given = checkpoint.build().state_dict()
            if "effects" in (own := model.state_dict()):  # of this run's sessions
                given["effects"] = own["effects"]
            model.load_state_dict(given)
        except RuntimeError:
            raise RecipeError(f"start_from: '{checkpoint.name}' is another network than the recipe's.") from None
    return model


def _residual_options(recipe: Recipe, direct: Direct, card: Card, source: Source) -> dict[str, Any]:
    """Residual standard deviation over the first 128 augmented training slices, brain voxels, [-1, 1] units."""
    stage = recipe.stages[-1]
    total = count = 0.0
    for batch in itertools.islice(batches(TrainingSlices(source, recipe, stage, 0), 0, 0), -(-128 // stage.batch)):
        with torch.no_grad():
            error = direct.predict(batch.source, batch.source_contrast, batch.target_contrast) - batch.target
        inside = batch.source > 0
        total += float((2 * error[inside]).square().sum())
        count += float(inside.sum())
    return {"mean_network": card.options["network"], "residual_std": round(math.sqrt(total / count), 4)}


def make_card(
    recipe: Recipe, options: dict[str, Any], splits: dict[str, Source], step: int, metrics: dict[str, float]
) -> Card:
    """The card of what was just trained."""
    seen, left = 0, step
    for stage in recipe.stages:
        seen += min(left, stage.steps) * stage.batch
        left -= min(left, stage.steps)
    return Card(
        name=recipe.name,
        model=recipe.model,
        options=options,
        pairs=list(recipe.pairs),
        grid=Grid(spacing_mm=recipe.data.spacing_mm),
        intensity=Intensity(headroom=HEADROOM),
        sampler=recipe.sampler,
        data=list(recipe.data.sources),
        splits={part: [session.name for session in source.sessions] for part, source in splits.items()},
        seed=recipe.seed,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256,
        steps=step,
        images=seen,
        metrics={"validation": metrics},
        notes=list(recipe.notes),
    )


def _all_batches(recipe: Recipe, source: Source, step: int, workers: int, fabric: Fabric) -> Iterator[Batch]:
    offset = 0
    for stage in recipe.stages:
        if step < stage.steps:
            dataset = TrainingSlices(source, recipe, stage, offset)
            yield from batches(dataset, step, workers, fabric.global_rank, fabric.world_size)
        offset += stage.steps * stage.batch
        step = max(step - stage.steps, 0)


def _lr_factor(step: int, recipe: Recipe) -> float:
    options = recipe.optimiser
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.total_steps))
    return warm * (options.final + (1 - options.final) * cosine)


def _ema_rule(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average with warm-up: decay min(d, (1 + i) / (10 + i)) at update i."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        i = int(updates)
        weight = 1 - min(decay, (1 + i) / (10 + i))
        floating = [(a, c) for a, c in zip(averaged, current, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floating], [c for _, c in floating], weight)

    return update


def _averaged(ema: AveragedModel) -> Model:
    module = ema.module
    assert isinstance(module, Model)
    return module


def _precision(recipe: Recipe, accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    if recipe.precision == "auto":
        return "bf16-mixed" if bf16_is_fast(accelerator) else "32-true"
    return "bf16-mixed" if recipe.precision == "bf16" else "32-true"


def _board(out: Path) -> SummaryWriter:
    return SummaryWriter(str(out / "tensorboard"))


def _save_state(
    path: Path, recipe: Recipe, step: int, model: Model, ema: AveragedModel, optimiser: torch.optim.Optimizer
) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    header = {"recipe": recipe.sha256, "step": step}
    part = path.with_suffix(".part")
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        str(part),
        {"run": json.dumps(header)},
    )
    part.replace(path)


def _load_state(path: Path, recipe: Recipe, model: Model, ema: AveragedModel, optimiser: torch.optim.Optimizer) -> int:
    from safetensors import safe_open

    if not path.exists():
        raise RecipeError(f"Nothing to resume in '{path.parent}'; start without --resume.")
    try:
        with safe_open(str(path), "pt") as file:
            header = json.loads((file.metadata() or {})["run"])
        tensors = load_file(str(path))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RecipeError(
            f"The state in '{path.parent}' is damaged ({error}); start again in another folder."
        ) from None
    if header["recipe"] != recipe.sha256:
        raise RecipeError(f"The run in '{path.parent}' was started with another recipe; resume it with its own.")

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    model.load_state_dict(part("model."))
    ema.load_state_dict(part("ema."))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimiser.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(header["step"])
