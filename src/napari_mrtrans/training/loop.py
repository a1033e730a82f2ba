"""The training loop: Fabric for devices and precision, EMA, wall-clock checkpoints, and a resume that changes nothing.

Step ``k`` draws its batch, its noise and its dropout from (seed, k) alone, so a run that was stopped and resumed takes
exactly the steps that the uninterrupted run takes. Batch and noise do not depend on how many devices share them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from ..checkpoints.card import Training
from ..checkpoints.checkpoint import write_checkpoint
from ..datasets.splits import FILE, write_splits
from ..datasets.store import Source
from ..errors import RecipeError, TrainingError
from ..models import Batch
from .board import open_board, told_once
from .card import make_card
from .ema import averaged
from .finished import digest
from .hardware import HERE, Hardware, fabric_of, precision, what_it_took
from .initial import parents_of, prepare_start
from .learner import Learner
from .recipe import Recipe
from .slices import TrainingSlices, batches
from .state import STATE, Parts, alone, check_begun, drop_state, is_trained, kept_residual_std, load_state, save_state
from .stopping import Stopping
from .table import check_people, check_table, is_given
from .validation import fixed_slices, validate


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
    hardware: Hardware = HERE,
    resume: bool = False,
    max_minutes: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train ``recipe`` and write ``out/<name>.safetensors`` (the EMA weights with their card).

    Args:
        recipe: What to do.
        splits: ``train`` and ``validation`` sessions.
        out: Output folder; also holds ``splits.tsv`` (unless that is the table of ``data.splits``, which stays as it
            is), the resumable state and TensorBoard logs.
        hardware: On what.
        resume: Continue from the state in ``out``.
        max_minutes: End after this long with a usable checkpoint.
        progress: Told after every step.
        say: Told one-line notices.

    Raises:
        RecipeError: the state belongs to another recipe, there is none to resume, or a run has ended in ``out`` or is
            at work there; or a ``splits.tsv`` that no run has written, or of the people of another checkpoint, would be
            replaced.
        TrainingError: the loss stopped being finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the step was finished, checkpoint and resumable state are written.
    """
    path = out / f"{recipe.checkpoint_name}.safetensors"
    if resume and is_trained(path, recipe):
        check_people(path, splits)
        say(f"Trained to its end before, nothing to do. '{path}' is there.")
        return path
    if resume:
        check_begun(out / STATE, recipe)
    if path.exists() and not resume and not (out / STATE).exists():
        raise RecipeError(f"'{path}' is there already; choose another folder, or delete it to train it anew.")
    check_table(path, recipe, splits)
    out.mkdir(parents=True, exist_ok=True)
    stopping = Stopping(max_minutes, hardware.devices * hardware.num_nodes)
    with alone(out), told_once(), stopping.listening():
        try:
            finished = _train(recipe, splits, out, hardware, resume, stopping, progress, say)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                "A background process that decodes scans was killed, as where memory is short; --resume goes on from "
                "the last state, and --workers 0 needs less."
            ) from None
    if stopping.asked and not finished:
        raise KeyboardInterrupt
    return path


def _train(
    recipe: Recipe,
    splits: dict[str, Source],
    out: Path,
    hardware: Hardware,
    resume: bool,
    stopping: Stopping,
    progress: Callable[[Progress], None] | None,
    say: Callable[[str], None],
) -> bool:
    """:func:`train` in a folder that it has to itself; whether it came to its end."""
    path, table_is_given = out / f"{recipe.checkpoint_name}.safetensors", is_given(out / FILE, recipe)
    number_format = precision(recipe.precision, hardware.accelerator)
    fabric = fabric_of(hardware, number_format)
    fabric.launch()
    if not fabric.is_global_zero:
        progress, say = None, lambda line: None
    if any(stage.batch % fabric.world_size for stage in recipe.stages):
        raise RecipeError(f"Every stage's batch must be a multiple of the number of devices ({fabric.world_size}).")
    torch.manual_seed(recipe.seed)
    if fabric.device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # Muon's products need no more
        torch.backends.cudnn.allow_tf32 = False  # float32 is float32: a critic's scores differ little
    people = {part: [[s.name, *s.contrasts] for s in source.sessions] for part, source in splits.items()}
    kept_out = [name for part, source in splits.items() if part != "train" for name in source.names]
    kept_std = kept_residual_std(out / STATE) if resume else None
    start = prepare_start(recipe, splits["train"], say, kept_out, kept_std)
    learner = Learner(recipe, start, fabric, number_format, compiled=hardware.compiled)
    raw, ema = learner.raw, learner.ema
    parts = Parts(raw, ema, learner.optimiser, learner.opponent, people=digest(people), parents=parents_of(recipe))
    parts.residual_std = start.options.get("residual_std")
    step = load_state(out / STATE, recipe, parts) if resume else 0
    if not resume and (out / STATE).exists():
        raise RecipeError(f"'{out}' holds an unfinished run; add --resume to continue it, or choose another folder.")
    held, seen = (
        fixed_slices(
            source,
            recipe.watched,
            recipe.validation_slices,
            (recipe.data.framing, raw.multiple),
            neighbours_mm=recipe.neighbours_mm,
        )
        for source in (splits["validation"], _scans(splits["train"]))
    )
    board = open_board(out) if fabric.is_global_zero else None
    if fabric.is_global_zero and not table_is_given:  # after the board, which says that the table is of a run
        write_splits(
            out, {part: [s.name for s in source.sessions if not s.simulated] for part, source in splits.items()}
        )
    began = saved = time.monotonic()
    before = parts.hours

    def took() -> Training:
        return what_it_took(before + (time.monotonic() - began) / 3600, fabric.device)

    finished, validated = True, (-1, dict[str, float]())
    for batch in _all_batches(recipe, splits["train"], step, hardware.workers, fabric):
        learner.learn(batch, step)
        if learner.diverged:
            if fabric.is_global_zero:
                write_checkpoint(path, averaged(ema), make_card(recipe, start, splits, step, {}, took(), parts.parents))
            raise TrainingError(
                f"The loss or its gradient was no longer finite at step {step + 1}; the weights before it are in "
                f"'{path}'. Lower optimiser.lr, or choose precision: float32, and start in another folder."
            )
        step += 1
        now = time.monotonic()
        if progress and not stopping.asked:
            progress(Progress(step, recipe.total_steps, learner.losses["loss"], now - began))
        if board is not None and step % 10 == 0:
            for name, value in learner.losses.items():
                board.add_scalar(f"train/{name}", value, step)
        if step % recipe.validate_every == 0 and held and fabric.is_global_zero:
            metrics = validate(averaged(ema), held, fabric.device, board, step, recipe.sampler)
            validated = step, dict(metrics)
            if seen:  # where this stops rising, more of the same training is no use
                on_seen = validate(averaged(ema), seen, fabric.device, None, step, recipe.sampler)
                metrics["psnr_training"] = on_seen["psnr"]
                if board is not None:
                    board.add_scalar("validation/psnr_training", on_seen["psnr"], step)
            say(f"step {step}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items()))
        if now - saved > 60 * recipe.checkpoint_minutes and fabric.is_global_zero:
            parts.hours = before + (now - began) / 3600
            save_state(out / STATE, recipe, step, parts)
            saved = now
        if stopping.due(now - began, fabric):
            finished = step >= recipe.total_steps
            break
    if fabric.is_global_zero:
        if not finished:  # before all else: whoever is killed now loses nothing
            parts.hours = took().hours
            save_state(out / STATE, recipe, step, parts)
        metrics = validated[1] if validated[0] == step else {}
        if held and not metrics and (finished or not stopping.asked):
            metrics = validate(averaged(ema), held, fabric.device, board, step, recipe.sampler)
        write_checkpoint(path, averaged(ema), make_card(recipe, start, splits, step, metrics, took(), parts.parents))
        if finished:
            drop_state(out / STATE)
        if finished or not stopping.asked:
            say(f"Wrote {path}")
        if not finished:
            say(f"Stopped after {step} of {recipe.total_steps} steps; --resume continues.")
        if board is not None:
            board.close()
    fabric.barrier()
    return finished


def _all_batches(recipe: Recipe, source: Source, step: int, workers: int, fabric: Fabric) -> Iterator[Batch]:
    offset = 0
    for stage in recipe.stages:
        if step < stage.steps:
            dataset = TrainingSlices(source, recipe, stage, offset)
            yield from batches(dataset, step, workers, fabric.global_rank, fabric.world_size)
        offset += stage.steps * stage.batch
        step = max(step - stage.steps, 0)


def _scans(source: Source) -> Source:
    """Without phantoms."""
    return replace(source, sessions=tuple(s for s in source.sessions if not s.simulated))
