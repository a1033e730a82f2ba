"""Training of what serves one contrast alone (``only_contrast``): all other pairs answer as before, bit for bit."""

from __future__ import annotations

import json
from functools import partial

import torch
from torch import Tensor

from ..checkpoints.checkpoint import Checkpoint
from ..errors import RecipeError
from ..models import Direct, Model, ResidualModel
from ..models.base import contrast_index
from ..scan.contrasts import Contrast
from .recipe import Recipe

#: Options of a card that are of its sessions, of its mean (:func:`check_mean`), or told by the pairs.
_NOT_ASKED = {"sessions", "averaged", "pivot", "mean_network", "residual_std", "conditional"}


def check_parent(recipe: Recipe, parent: Checkpoint) -> None:
    """See that the pairs without the contrast are the parent's, and that nothing else changes what they answer.

    Raises:
        RecipeError: naming the pair, or the key that differs.
    """
    card = parent.card
    if new := [pair.key for pair in recipe.pairs if pair not in (*recipe.trained_pairs, *parent.pairs)]:
        raise RecipeError(
            f"only_contrast: '{parent.name}' does not serve {new[0]}, which is not trained here; leave {new[0]} out."
        )
    options = {name: value for name, value in recipe.options.items() if name != "pretrained_vit"}
    theirs = {name: value for name, value in card.options.items() if name not in _NOT_ASKED}
    pairs = {
        "model": (recipe.model, card.model),
        "data.spacing_mm": (recipe.data.spacing_mm, card.grid.spacing_mm),
        "data.framing": (recipe.data.framing.model_dump(), card.framing.model_dump()),
        "sampler": (recipe.sampler.model_dump(), card.sampler.model_dump()),
        "options.neighbours_mm": (recipe.neighbours_mm, float(theirs.get("neighbours_mm", 0.0))),
        **{
            f"options.{name}": (options.get(name), theirs.get(name))
            for name in sorted((options.keys() | theirs.keys()) - {"neighbours_mm"})
        },
    }
    for key, (own, given) in pairs.items():
        if own != given:
            remedy = "leave it out" if given is None else f"set it to {json.dumps(given)}"
            raise RecipeError(
                f"only_contrast: {key} is not that of '{parent.name}', and the other pairs would answer otherwise; "
                f"{remedy}."
            )


def check_mean(contrast: Contrast, mean: Checkpoint, parent: Checkpoint) -> None:
    """See that a mean differs from the parent's own in nothing but what serves the contrast.

    Raises:
        RecipeError: it does.
    """
    if not _alike(contrast, mean, parent):
        raise RecipeError(
            f"mean_checkpoint: '{mean.name}' is not the mean of '{parent.name}', and with only_contrast the other "
            f"pairs would answer otherwise; give that one, or what was trained from it with only_contrast: {contrast}."
        )


def _alike(contrast: Contrast, mean: Checkpoint, parent: Checkpoint) -> bool:
    own, other, before = mean.build(), mean.build(), parent.build()
    there = before.mean_net if isinstance(before, ResidualModel) else None
    assert isinstance(own, Direct) and isinstance(other, Direct)
    if there is None or mean.card.options["network"] != parent.card.options["mean_network"]:
        return False
    try:
        other.net.load_state_dict(there.state_dict())
    except RuntimeError:  # of other planes or pairs
        return False
    index = contrast_index(contrast)
    for (value, where), (theirs, _) in zip(own.of_contrast(index), other.of_contrast(index), strict=True):
        theirs.data[where] = value.data[where]
    return all(torch.equal(value, theirs) for value, theirs in zip(own.parameters(), other.parameters(), strict=True))


def keep_all_but(model: Model, contrast: Contrast, effects: Tensor | None) -> None:
    """Let training change what serves this contrast alone.

    Args:
        model: With the weights that it starts with.
        contrast: Which.
        effects: Session effects of what it starts from, if that has any, of the same sessions.

    Raises:
        RecipeError: the network has nothing of the kind.
    """
    if isinstance(model, Direct) and model.effects is not None and effects is not None:
        model.effects.data.copy_(effects)
    parts = model.of_contrast(contrast_index(contrast))
    if not parts:
        raise RecipeError("only_contrast: this network has no weights for one contrast alone; leave the key out.")
    model.requires_grad_(False)
    for parameter, where in parts:
        mask = torch.zeros_like(parameter)
        mask[where] = 1
        parameter.requires_grad_(True)
        parameter.register_hook(partial(_masked, mask))


def normalise_as_in_use(model: Model) -> None:
    """By the statistics that a network has, not by a batch's: what is frozen answers as it will."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def _masked(mask: Tensor, gradient: Tensor) -> Tensor:
    return gradient * mask.to(gradient.device)
