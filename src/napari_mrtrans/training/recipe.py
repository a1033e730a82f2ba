"""Recipes: a YAML file that fixes everything a training run needs besides the data folder."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..checkpoints.card import SamplerDefaults
from ..errors import MrtransError
from ..models.families import FAMILIES, family_of
from ..scan.contrasts import Contrast, Pair
from .recipe_digest import digest_of
from .recipe_parts import Augmentation, DataOptions, Optimiser, Stage, Strict, one_of

#: What the file of a run's state is called, without its suffix.
STATE_NAME = "state"


class Recipe(Strict):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="lower case, digits, dots and dashes")
    description: str = Field("", description="one line, for --list and the card")
    checkpoint: str | None = Field(
        None, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of what it writes; default: the recipe's"
    )
    model: str = Field(description=f"one of {', '.join(FAMILIES)}")
    pairs: tuple[Pair, ...] = Field(min_length=1, description="[T1->T2, …]; of several, the network is told which")
    options: dict[str, Any] = Field({}, description="the model class's own arguments (network, sigma_data, …)")
    session_effects: bool = Field(
        False,
        description="direct: a gain and offset for every training session; the network learns their average",
    )
    start_from: str | None = Field(None, description="checkpoint (name or file) whose weights training starts from")
    only_contrast: Contrast | None = Field(
        None,
        description="with start_from: train the weights that serve this contrast alone, on its pairs; what all other "
        "pairs answer stays as it is, bit for bit (options, sampler, pixels and frames must be that one's)",
    )
    mean_checkpoint: str | None = Field(
        None, description="flow, ncsn, ddpm, cgan: the Direct checkpoint (name or file) whose residual is sampled"
    )
    cross_means: tuple[str, ...] = Field(
        (),
        description="with mean_checkpoint and options.mean_features: false: Direct checkpoints that were each trained "
        "without some of the people; training shows each person's mean by one that has not seen the person",
    )
    restyle: bool = Field(
        False, description="with mean_checkpoint: targets with the contrast of random sessions (its session effects)"
    )
    restyle_from: str | None = Field(
        None, description="the same for a model with no mean: the Direct checkpoint whose session effects are taken"
    )
    restyle_strength: float = Field(
        1.0, ge=0, le=1, description="how much of them targets get in place of their own; 0 = the average contrast"
    )
    data: DataOptions = DataOptions()
    stages: tuple[Stage, ...] = Field(min_length=1, description="one after the other")
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    ema: float = Field(0.999, ge=0, lt=1, description="the checkpoint's weights: their average over the last steps")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of first weights, drawn slices, augmentation and noise")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="auto: bf16 where it measures faster")
    validate_every: int = Field(250, ge=1, description="steps between validation passes")
    validation_slices: int = Field(16, ge=1, le=10**4, description="evenly spread over people and pairs")
    checkpoint_minutes: float = Field(5.0, gt=0, description="wall-clock between resumable states")
    sampler: SamplerDefaults = SamplerDefaults()
    notes: tuple[str, ...] = Field((), description="lines for the card")

    @field_validator("pairs", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a list such as [T1->T2]")
        try:
            pairs = tuple(pair if isinstance(pair, Pair) else Pair.parse(pair) for pair in value)
        except MrtransError as error:
            raise ValueError(str(error)) from None
        if len({*pairs}) < len(pairs):
            raise ValueError("one is named twice")
        return pairs

    @field_validator("model")
    @classmethod
    def _family(cls, value: str) -> str:
        return one_of(value, FAMILIES)

    @field_validator("name", "checkpoint")
    @classmethod
    def _free(cls, value: str | None) -> str | None:
        if value == STATE_NAME:
            raise ValueError(f"'{value}' is what the state of a run is called; choose another name")
        return value

    @model_validator(mode="after")
    def _effects(self) -> Recipe:
        if self.session_effects and self.model != "direct":
            raise ValueError("session_effects is for model: direct")
        if self.mean_checkpoint is not None and family_of(self.model).deterministic:
            raise ValueError("mean_checkpoint is for model: flow, ncsn, ddpm or cgan")
        if self.mean_checkpoint is None and (own := {"mean_network", "residual_std"} & self.options.keys()):
            raise ValueError(f"options.{min(own)} comes from a mean_checkpoint; name that instead")
        if own := {"sessions", "averaged", "pivot"} & self.options.keys():
            raise ValueError(f"options.{min(own)} comes from session_effects; set that instead")
        if self.cross_means and (self.mean_checkpoint is None or self.options.get("mean_features", True)):
            raise ValueError("cross_means needs a mean_checkpoint and options.mean_features: false")
        if self.restyle and self.mean_checkpoint is None:
            raise ValueError("restyle needs a mean_checkpoint")
        if self.only_contrast is not None and (self.start_from is None or not self.trained_pairs):
            raise ValueError("only_contrast needs a start_from, and a pair that the contrast is in")
        if self.restyle_strength != 1 and not self.restyle and self.restyle_from is None:
            raise ValueError("restyle_strength needs restyle or restyle_from")
        if self.restyle_from is not None and (self.mean_checkpoint is not None or self.session_effects):
            raise ValueError(
                "restyle_from is for a model with neither a mean_checkpoint nor session_effects of its own"
            )
        return self

    @property
    def checkpoint_name(self) -> str:
        """Of what it writes."""
        return self.checkpoint or self.name

    @property
    def parents(self) -> frozenset[str]:
        """The checkpoints (names or files) that it takes something from: weights, a mean, session effects."""
        single = (self.start_from, self.mean_checkpoint, self.restyle_from)
        return frozenset(name for name in (*single, *self.cross_means) if name)

    @property
    def neighbours_mm(self) -> float:
        """Distance of the slices that the model sees beside each slice; 0 = it sees the slice alone."""
        return float(self.options.get("neighbours_mm", 0.0))

    @property
    def trained_pairs(self) -> tuple[Pair, ...]:
        """The pairs that slices are drawn for."""
        only = self.only_contrast
        return self.pairs if only is None else tuple(pair for pair in self.pairs if only in pair)

    @property
    def watched(self) -> tuple[Pair, ...]:
        """The pairs that validation is on: without a computed PD, a function of the rest, if there are others."""
        acquired = tuple(pair for pair in self.trained_pairs if Contrast.PD not in pair)
        return (acquired or self.trained_pairs) if self.data.computed_pd else self.trained_pairs

    @property
    def conditional(self) -> bool:
        """Several pairs: the network is told which."""
        return len(self.pairs) > 1

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def slices(self) -> int:
        """Slices seen in all stages."""
        return sum(stage.steps * stage.batch for stage in self.stages)

    @property
    def sha256(self) -> str:
        """Digest of everything that determines the result."""
        return digest_of(self)
