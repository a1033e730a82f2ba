"""From a recipe and a data folder to the sessions of each split."""

from __future__ import annotations

from pathlib import Path

from ..errors import RecipeError
from ..paths import training_cache_dir
from .data.bids import read_bids, split_sessions
from .data.slices import Source
from .recipe import Recipe


def check_model(recipe: Recipe) -> None:
    """See before any data are read that the recipe's model can be built and its crops fit the network.

    Raises:
        RecipeError: naming the key.
    """
    import torch

    from ..models import build

    try:
        with torch.device("meta"):
            model = build(recipe.model, {**recipe.options, "conditional": recipe.conditional})
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise RecipeError(f"Recipe '{recipe.name}': options: {' '.join(str(error).split())}.") from None
    for index, stage in enumerate(recipe.stages):
        where = f"Recipe '{recipe.name}': stages.{index}.crop"
        if any(size < 1 or size % model.multiple for size in stage.crop):
            raise RecipeError(f"{where}: not a multiple of {model.multiple}.")
        if min(stage.crop) < model.smallest_crop:
            raise RecipeError(f"{where}: {recipe.model} needs at least {model.smallest_crop}.")


def open_splits(recipe: Recipe, root: Path, cache: Path | None = None) -> tuple[dict[str, Source], list[str]]:
    """Sessions of ``train``, ``validation`` and ``test``, and one line for each session left out.

    Raises:
        RecipeError: folders or held-out subjects are missing.
    """
    usable, skipped = [], []
    for session in read_bids(root, recipe.data.folders):
        if any(pair.source in session.files and pair.target in session.files for pair in recipe.pairs):
            usable.append(session)
        else:
            have = ", ".join(contrast.value for contrast in session.files)
            skipped.append(f"{session.name}: has only {have}; no pair of the recipe is complete")
    data = recipe.data
    parts = split_sessions(usable, data.test, data.validation, data.holdout_fraction, recipe.seed)
    where = cache or training_cache_dir()
    return {part: Source(tuple(sessions), data.spacing_mm, where) for part, sessions in parts.items()}, skipped
