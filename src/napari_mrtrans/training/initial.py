"""The model that a training run starts with."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch

from ..checkpoint import Card
from ..errors import RecipeError
from ..library import load_checkpoint
from ..models import Direct, Model, SigmaModel, build
from .data.slices import Source, TrainingSlices, batches
from .recipe import Recipe


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
    assert isinstance(model, SigmaModel) and model.mean_net is not None
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
