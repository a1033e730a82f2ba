"""From a recipe and a data folder to the sessions of each split."""

from __future__ import annotations

from pathlib import Path

from ..errors import RecipeError
from ..paths import training_cache_dir
from .data.bids import read_bids, split_sessions
from .data.phantom import Phantom
from .data.slices import Source
from .recipe import PhantomOptions, Recipe

#: Instead of a data folder: train on phantoms alone.
PHANTOM = "phantom"


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


def open_splits(recipe: Recipe, root: Path | None, cache: Path | None = None) -> tuple[dict[str, Source], list[str]]:
    """Sessions of ``train``, ``validation`` and ``test``, and one line for each session left out.

    Phantoms, if the recipe asks for them, are all in ``train``; without a ``root`` there is nothing else, and what the
    recipe holds out plays no part.

    Raises:
        RecipeError: folders or held-out subjects are missing, or nothing is left to train on.
    """
    data = recipe.data
    usable, skipped = [], []
    for session in [] if root is None else read_bids(root, data.folders):
        if any({*pair} <= {*session.contrasts} for pair in recipe.pairs):
            usable.append(session)
        else:
            have = ", ".join(session.contrasts)
            skipped.append(f"{session.name}: has only {have}; no pair of the recipe is complete")
    held_out = ((), ()) if root is None else (data.test, data.validation)
    parts = split_sessions(usable, *held_out, data.holdout_fraction, recipe.seed)
    options = data.phantom or (PhantomOptions() if root is None else None)
    phantoms = [Phantom(recipe.seed, index, options) for index in range(options.subjects)] if options else []
    if not parts["train"] and not phantoms:
        raise RecipeError("No subject is left to train on; name fewer under test and validation.")
    where = cache or training_cache_dir()
    added = {"train": phantoms}
    return {
        part: Source((*sessions, *added.get(part, [])), data.spacing_mm, where) for part, sessions in parts.items()
    }, skipped
