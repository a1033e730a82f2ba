"""What of a checkpoint is trained on, in which order, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checkpoints.card import Card
from ..models import Direct, Model, ResidualModel
from ..models.sigma import SigmaModel
from ..scan.contrasts import Pair
from ..training.recipe import Recipe
from ..training.recipe_parts import Augmentation, DataOptions, Optimiser, Stage

#: More steps than minutes have.
ENDLESS = 10_000_000
#: Slices of a step: few, so that there are many steps.
BATCH = 4
#: One scanner's scans vary little, and few people's heads must stand for all.
AUGMENTATION = Augmentation(
    warp=0.25, source_gamma=0.05, source_gain=0.03, source_bias=0.05, source_noise=0.01, source_blur=0.4,
    target_gamma=0.0, target_gain=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A network of a model that is trained on.

    Attributes:
        name: ``mean``, ``samples``, or ``model`` where there is but one.
        model: Whose ``net`` it is.
        share: Of the time.
    """

    name: str
    model: Model
    share: float


def parts(model: Model, options: dict[str, Any]) -> list[Part]:
    """The networks of a model: first the mean that it leans on, then what draws samples about it.

    They share what the model holds: what is learned in a part is the model's.
    """
    if not isinstance(model, ResidualModel) or model.mean_net is None:
        return [Part("model", model, 1.0)]
    mean = Direct(
        network=options["mean_network"], neighbours_mm=model.neighbours_mm, conditional=model.conditional
    ).requires_grad_(False)
    mean.net = model.mean_net
    # A generator needs a critic, which starts from nothing: most of what a minute gives comes from the mean.
    share = 0.5 if isinstance(model, SigmaModel) else 0.7
    return [Part("mean", mean, share), Part("samples", model, 1 - share)]


def recipe_of(card: Card, part: Part, pairs: tuple[Pair, ...], crop: tuple[int, int], seed: int) -> Recipe:
    """How a part is trained."""
    adversarial = part.model.make_critic() is not None
    optimiser = (
        Optimiser(lr=1e-4, betas=(0.5, 0.99), warmup=20, clip=100.0)
        if adversarial
        else Optimiser(name="adamw", lr=5e-4, warmup=20)
    )
    return Recipe(
        name="adapt",
        model="direct" if part.name == "mean" else card.model,
        pairs=pairs,
        options={"neighbours_mm": part.model.neighbours_mm},
        data=DataOptions(spacing_mm=card.grid.spacing_mm, framing=card.framing),
        stages=(Stage(steps=ENDLESS, batch=BATCH, crop=crop),),
        augmentation=AUGMENTATION,
        optimiser=optimiser,
        ema=0.99,
        seed=seed,
        sampler=card.sampler,
    )


def parent_model(card: Card, built: Model) -> tuple[Model, dict[str, Any]]:
    """The parent's network with the options of a network that has no session effects: they are of other people."""
    options = dict(card.options)
    if not isinstance(built, Direct) or built.effects is None:
        return built, options
    for name in ("sessions", "averaged", "pivot"):
        options.pop(name, None)
    plain = Direct(**options).requires_grad_(False).eval()
    plain.net.load_state_dict(built.net.state_dict())
    return plain, options
