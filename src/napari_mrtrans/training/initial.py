"""The model that a training run starts with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.card import Card, Training
from ..checkpoints.card_text import adapted_to
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import load_checkpoint
from ..datasets.bids import known_by, subject_of
from ..datasets.store import Source
from ..errors import RecipeError
from ..models import Batch, Direct, Model, ResidualModel, build
from ..models.base import to_signed, to_unit
from ..scan.contrasts import Contrast
from .cross_fit import CrossMeans
from .one_contrast import check_mean, check_parent, keep_all_but
from .recipe import Recipe
from .restyle import Restyle
from .slices import TrainingSlices, batches

#: Scans that are looked at for skull and scalp.
LOOKED_AT = 3
_AROUND = " It samples around a mean: name that as mean_checkpoint, too."


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        model: With the weights that it starts with.
        options: For the card.
        restyle: What changes its training targets, if anything.
        before: What training took of what it starts from; None: that does not say.
        notes: For the card: people who are kept out, but not of what it starts from; whole heads; another framing.
        parents: Cards of what it takes something from.
    """

    model: Model
    options: dict[str, Any]
    restyle: Restyle | None = None
    before: Training | None = None
    notes: tuple[str, ...] = ()
    parents: tuple[Card, ...] = ()


def prepare_start(
    recipe: Recipe,
    source: Source,
    say: Callable[[str], None],
    kept_out: Collection[str] = (),
    residual_std: float | None = None,
) -> Start:
    """What a run starts from; a residual model gets its frozen Direct network and its scale.

    Args:
        recipe: What is trained.
        source: Sessions to train on.
        say: Takes notices.
        kept_out: Names of the sessions to validate and test on, some of which what it starts from may know.
        residual_std: Of a run that goes on, what it began with; None = it is measured.

    Raises:
        RecipeError: nobody has a pair of the recipe, or a file or checkpoint that it starts from is missing or does not
            fit.
    """
    _check_pairs(recipe, source)
    parent = None if recipe.start_from is None else load_checkpoint(recipe.start_from)
    mean = None if recipe.mean_checkpoint is None else load_checkpoint(recipe.mean_checkpoint)
    if recipe.only_contrast is not None and parent is not None:
        check_parent(recipe, parent)
    # One pair of a network that knows several: it is told the pair as before.
    told = any(start is not None and start.card.options.get("conditional", True) for start in (parent, mean))
    options = {**recipe.options, "conditional": recipe.conditional or told}
    if recipe.session_effects:
        options |= {"sessions": len(source.sessions), "averaged": _averaged(source), "pivot": "median"}
    direct = None if mean is None else mean.build()
    restyle = cross = None
    if mean is not None and direct is not None:
        if not isinstance(direct, Direct) or direct.conditional != options["conditional"]:
            raise RecipeError(f"mean_checkpoint: '{mean.name}' is no Direct model for the same kind of pairs.")
        _check_mean(recipe, mean, "mean_checkpoint")
        if direct.neighbours_mm != recipe.neighbours_mm:
            raise RecipeError(
                f"mean_checkpoint: '{mean.name}' sees neighbours at {direct.neighbours_mm:g} mm, the recipe at "
                f"{recipe.neighbours_mm:g}; set options.neighbours_mm to its value."
            )
        restyle = _restyle(recipe, direct, mean, source) if recipe.restyle else None
        cross = _cross_means(recipe, direct, source)
        if recipe.only_contrast is not None and parent is not None:
            check_mean(recipe.only_contrast, mean, parent)
            residual_std = parent.card.options.get("residual_std")  # the answers of other pairs hang on it
        if residual_std is None:
            residual_std = _residual_std(recipe, cross or partial(_answer, direct), source, restyle)
        options |= {"mean_network": mean.card.options["network"], "residual_std": residual_std}
    if recipe.restyle_from is not None:
        styled = load_checkpoint(recipe.restyle_from)
        restyle = _restyle(recipe, styled.build(), styled, source)
    try:
        model = build(recipe.model, options)
    except ValueError as error:
        raise RecipeError(f"Recipe '{recipe.name}': options: {error}.") from None
    if isinstance(model, ResidualModel) and isinstance(direct, Direct) and model.mean_net is not None:
        model.mean_net.load_state_dict(direct.net.state_dict())
        model.trained_mean = cross
    notice = model.initialise()
    if parent is not None:
        given = parent.build().state_dict()
        if given.keys() == model.state_dict().keys():
            notice = None  # nothing of the random start is left
        try:
            model.start_from(given)
        except ValueError as error:
            around = "" if recipe.mean_checkpoint or "mean_network" not in parent.card.options else _AROUND
            raise RecipeError(
                f"start_from: '{parent.name}' is another network than the recipe's ({error}); give the recipe its "
                f"model ({parent.card.model}) and options, or start from another.{around}"
            ) from None
        if recipe.only_contrast is not None:
            same = parent.card.splits.get("train") == source.names
            keep_all_but(model, recipe.only_contrast, given.get("effects") if same else None)
    notes = (*_known_before(recipe, kept_out), *_whole_heads(source), *_other_frames(recipe))
    for line in (notice, _other_crop(recipe), *notes):
        if line:
            say(line)
    # A path on this machine is nothing to publish in a card.
    public = {name: value for name, value in options.items() if name != "pretrained_vit"}
    parents = tuple(load_checkpoint(name).card for name in sorted(recipe.parents))
    before = parent.card.training if parent else Training(slices=0)
    return Start(model, public, restyle, before, notes, parents)


def _check_pairs(recipe: Recipe, source: Source) -> None:
    """See that every pair that slices are drawn for is learned."""
    for pair in recipe.trained_pairs:
        if not any({*pair} <= {*session.contrasts} for session in source.sessions):
            raise RecipeError(
                f"pairs: nobody to train on has both {pair.source} and {pair.target}; leave {pair.key} out."
            )


def _check_mean(recipe: Recipe, mean: Checkpoint, key: str) -> None:
    """See that a mean answers what the recipe asks, on its pixels."""
    if unserved := [pair.key for pair in recipe.pairs if pair not in mean.pairs]:
        raise RecipeError(f"{key}: '{mean.name}' does not serve {unserved[0]}; choose one that serves every pair.")
    if (size := mean.card.grid.spacing_mm) != recipe.data.spacing_mm:
        raise RecipeError(
            f"{key}: '{mean.name}' has pixels of {size:g} mm, the recipe of {recipe.data.spacing_mm:g}; set "
            "data.spacing_mm to its value."
        )


def parents_of(recipe: Recipe) -> dict[str, str]:
    """Names and digests of the checkpoints that a recipe takes something from, as they are now.

    Raises:
        CheckpointError: one is not there.
    """
    return {parent.name: parent.sha256 for parent in map(load_checkpoint, sorted(recipe.parents))}


def _known_before(recipe: Recipe, kept_out: Collection[str]) -> Iterator[str]:
    """A line for each checkpoint that the recipe starts from and that was trained on people of those names, at whatever
    visit, or adapted to people of no name."""
    for parent in sorted(recipe.parents):
        checkpoint = load_checkpoint(parent)
        trained = {*map(subject_of, checkpoint.card.seen)}
        if known := sorted({subject_of(name) for name in kept_out if known_by(name, trained)}):
            told = ", ".join(known[:3]) + (", …" if len(known) > 3 else "")
            yield (
                f"{checkpoint.name}, which this starts from, was trained on {told}, kept out here: unless these are "
                "other people of the same name, figures of them are too good. Keep them out of both."
            )
        if kept_out and checkpoint.card.unnamed:
            yield (
                f"{checkpoint.name}, which this starts from, {adapted_to(checkpoint.card)}, whom its card does not "
                "name: if any of them are kept out here, figures of them are too good. Keep out others."
            )


def _whole_heads(source: Source) -> Iterator[str]:
    """A line where scans are not skull-stripped, as those are that the network will be shown."""
    scans = [i for i, session in enumerate(source.sessions) if not session.simulated][:LOOKED_AT]
    if whole := [source.sessions[i].name for i in scans if source[i].whole]:
        yield (
            f"{whole[0]} looks like a whole head. In use the brain alone is shown to the network; run napari-mrtrans "
            "prepare first, and train on what it writes."
        )


def _other_frames(recipe: Recipe) -> Iterator[str]:
    """A line where a mean has learned other frames than those around which it is to serve."""
    framing = recipe.data.framing
    for name in filter(None, (recipe.mean_checkpoint, *recipe.cross_means)):
        mean = load_checkpoint(name)
        if (own := mean.card.framing) != framing:
            yield (
                f"{mean.name} was trained in frames of {own.rows} x {own.columns}, and answers worse in those of "
                f"{framing.rows} x {framing.columns}; set data.framing to its value."
            )
            return


def _other_crop(recipe: Recipe) -> str | None:
    """A line where training does not end in frames as they are in use."""
    last, framing = recipe.stages[-1], recipe.data.framing
    if last.crop == framing.least and last.downsample == 1:
        return None
    averaged = f" averaged by {last.downsample}" if last.downsample > 1 else ""
    return (
        f"The last stage's crops are {last.crop[0]} x {last.crop[1]}{averaged}, and frames in use are {framing.rows} x "
        f"{framing.columns}, in which the network answers worse; make data.framing and the crops of one size."
    )


def _cross_means(recipe: Recipe, direct: Direct, source: Source) -> CrossMeans | None:
    if not recipe.cross_means:
        return None
    names, scans = zip(*((session.name, not session.simulated) for session in source.sessions), strict=True)
    parts = [load_checkpoint(name) for name in recipe.cross_means]
    for part in parts:
        _check_mean(recipe, part, "cross_means")
    return CrossMeans(parts, direct, names, scans)


def _answer(direct: Direct, batch: Batch) -> Tensor:
    """(batch, 1, H, W) in [-1, 1], not clamped."""
    return direct.net(to_signed(batch.source), None, batch.source_contrast, batch.target_contrast)


def _restyle(recipe: Recipe, model: Model, checkpoint: Checkpoint, source: Source) -> Restyle:
    if not isinstance(model, Direct) or model.effects is None:
        raise RecipeError(f"restyle: '{checkpoint.name}' was trained without session_effects.")
    there, here = checkpoint.card.splits.get("train", []), source.names
    if there != here:
        differing = sorted(set(there) ^ set(here))
        told = ", ".join(differing[:2]) + (", …" if len(differing) > 2 else "")
        raise RecipeError(
            f"restyle: '{checkpoint.name}' was trained on other sessions than this recipe's "
            f"({told or 'another order'}); give both the same data and data.seed (else seed), which names phantoms."
        )
    return Restyle(model.centred_effects(), model.counted(), model.pivots, recipe.restyle_strength)


def _averaged(source: Source) -> dict[str, list[int]]:
    """For each contrast the sessions that its average is taken over: scans, or phantoms where there are no scans."""
    having = {c: [i for i, session in enumerate(source.sessions) if c in session.contrasts] for c in Contrast}
    scans = {c: [i for i in them if not source.sessions[i].simulated] for c, them in having.items()}
    return {c.value: scans[c] or having[c] for c in Contrast if having[c]}


def _residual_std(recipe: Recipe, mean: Callable[[Batch], Tensor], source: Source, restyle: Restyle | None) -> float:
    """Of the residuals over the first 128 augmented training slices, brain voxels, [-1, 1] units."""
    stage = recipe.stages[-1]
    total = count = 0.0
    generator = torch.Generator().manual_seed(recipe.seed)
    for batch in itertools.islice(batches(TrainingSlices(source, recipe, stage, 0), 0, 0), -(-128 // stage.batch)):
        batch = batch if restyle is None else restyle(batch, generator)
        with torch.no_grad():
            error = to_unit(mean(batch)) - batch.target
        inside = batch.source[:, :1] > 0
        total += float((2 * error[inside]).square().sum())
        count += float(inside.sum())
    return round(math.sqrt(total / count), 4)
