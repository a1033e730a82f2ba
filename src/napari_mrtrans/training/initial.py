"""The model that a training run starts with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch

from ..checkpoint import Card
from ..errors import RecipeError
from ..library import load_checkpoint
from ..models import Direct, Model, SigmaModel, build
from .data.slices import Source, TrainingSlices, batches
from .recipe import Recipe


def initial_model(recipe: Recipe, source: Source, say: Callable[[str], None]) -> tuple[Model, dict[str, Any]]:
    """The untrained model and the options for its card; a residual model gets its frozen Direct network and its scale.

    Raises:
        RecipeError: a file or checkpoint that it starts from is missing or does not fit.
    """
    options = {**recipe.options, "conditional": recipe.conditional}
    if recipe.session_effects:
        options["sessions"] = len(source.sessions)
    mean = None if recipe.mean_checkpoint is None else load_checkpoint(recipe.mean_checkpoint)
    direct = None if mean is None else mean.build()
    if mean is not None and direct is not None:
        if not isinstance(direct, Direct) or direct.conditional != recipe.conditional:
            raise RecipeError(f"mean_checkpoint: '{mean.name}' is no Direct model for the same kind of pairs.")
        options |= _residual_options(recipe, direct, mean.card, source)
    model = build(recipe.model, options)
    if isinstance(model, SigmaModel) and isinstance(direct, Direct) and model.mean_net is not None:
        model.mean_net.load_state_dict(direct.net.state_dict())
    notice = model.initialise()
    if recipe.start_from is not None:
        checkpoint = load_checkpoint(recipe.start_from)
        given = checkpoint.build().state_dict()
        if given.keys() == model.state_dict().keys():
            notice = None  # nothing of the random start is left
        try:
            model.start_from(given)
        except ValueError as error:
            raise RecipeError(
                f"start_from: '{checkpoint.name}' is another network than the recipe's ({error})."
            ) from None
    if notice:
        say(notice)
    # A path on this machine is nothing to publish in a card.
    return model, {name: value for name, value in options.items() if name != "pretrained_vit"}


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
