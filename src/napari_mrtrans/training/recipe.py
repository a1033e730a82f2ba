"""Recipes: a YAML file that fixes everything a training run needs besides the data folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ..checkpoints.card import DataSource, SamplerDefaults
from ..datasets.phantom_options import PhantomOptions
from ..datasets.readers import AUTO, READERS, plain_folders
from ..errors import MrtransError
from ..models.families import FAMILIES, family_of
from ..scan.contrasts import Contrast, Pair
from ..scan.framing import MOST, Framing
from ..scan.planes import Plane
from .recipe_digest import digest_of

#: What the file of a run's state is called, without its suffix.
STATE_NAME = "state"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _one_of(value: str, known: Iterable[str]) -> str:
    if value not in known:
        raise ValueError(f"'{value}' is none of {', '.join(known)}")
    return value


class DataOptions(_Strict):
    """Where the subjects are and who is held out."""

    format: str = Field("auto", description="naming of the files (see datasets/*.py); auto: told by the names")
    folders: tuple[str, ...] = Field((".",), description="data sets below --data, one each")
    spacing_mm: float = Field(1.0, ge=0.1, le=50, description="in-plane pixel size of the model grid")
    framing: Framing = Field(Framing(), description="what the network sees of a slice in use; as the last stage's crop")
    test: tuple[str, ...] = Field((), description="subjects never trained or tuned on, as folder/sub-XX or sub-XX")
    validation: tuple[str, ...] = Field((), description="subjects for monitoring only")
    holdout_fraction: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share held out for each of test and validation where that names nobody; default: if neither does, "
        "the data set's own",
    )
    splits: Path | None = Field(
        None, description="instead: a table such as a run's splits.tsv (subject, session, part)"
    )
    exclude_masked: bool = Field(
        False, description="skip slices that an expert mask (BIDS: below derivatives/masks) marks as lesion or tumour"
    )
    min_area: float = Field(
        0.01, ge=0, lt=1, description="slices with less head than this share of the grid are skipped"
    )
    planes: tuple[Plane, ...] = Field(
        ("axial",),
        min_length=1,
        description="slices to train on; coronal, sagittal: of voxels up to 2 mm in a field of view 50 mm high or more",
    )
    sources: tuple[DataSource, ...] = ()
    computed_pd: bool = Field(False, description="PD computed from T1, T2 and FLAIR of every session that lacks it")
    phantom: PhantomOptions | None = Field(None, description="phantoms beside the folders; alone with --data phantom")
    seed: int | None = Field(None, ge=0, lt=2**32, description="of phantoms and computed PD, if not the recipe's")

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        return _one_of(value, (AUTO, *READERS))

    @field_validator("folders")
    @classmethod
    def _plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return plain_folders(value)

    @model_validator(mode="after")
    def _one_split(self) -> DataOptions:
        if self.splits and (self.test or self.validation or self.holdout_fraction is not None):
            raise ValueError("splits says who is held out; leave out test, validation and holdout_fraction")
        if len({*self.planes}) < len(self.planes):
            raise ValueError("planes names one twice")
        return self


#: Of a batch's source or target: 8 GiB.
_MOST_PIXELS = 2**31
_Side = Annotated[int, Field(le=MOST)]


class Stage(_Strict):
    """A stretch of training at one crop size."""

    steps: int = Field(ge=1, le=10**9)
    batch: int = Field(8, ge=1)
    crop: tuple[_Side, _Side] = Field((128, 128), description="rows, columns in pixels after downsampling")
    downsample: int = Field(
        1, ge=1, le=64, description="area-average by this factor: cheap early training on whole slices"
    )

    @model_validator(mode="after")
    def _held(self) -> Stage:
        if self.batch * self.crop[0] * self.crop[1] > _MOST_PIXELS:
            raise ValueError(f"no memory holds {self.batch} images of {self.crop[0]} x {self.crop[1]}; lower batch")
        return self


#: At least 0, and never -0, which random numbers cannot be as wide as.
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(abs)]


class Augmentation(_Strict):
    """Random changes of geometry (source and target together) and intensity (each its own)."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    warp: float = Field(0.5, ge=0, le=1, description="probability of rotation and zoom, which interpolate and so blur")
    rotate_deg: _Amount = 12.0
    scale: _Amount = Field(0.1, description="standard deviation of the log of the zoom, each axis")
    source_gamma: _Amount = Field(0.2, description="standard deviation of log gamma")
    source_gain: _Amount = 0.08
    source_bias: _Amount = Field(0.15, description="standard deviation of the log bias field")
    source_noise: _Amount = Field(0.02, description="largest noise standard deviation, in [0, 1] units")
    source_blur: _Amount = Field(0.8, le=100, description="largest Gaussian blur in pixels, one random axis or both")
    source_curve: _Amount = Field(0.0, description="size of random curves of the intensity, not always rising")
    source_slab_mm: _Amount = Field(
        0.0, le=100, description="thickest slices that the source is averaged to, 3 times in 10"
    )
    target_gamma: _Amount = 0.1
    target_gain: _Amount = 0.05


_Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimiser(_Strict):
    """With linear warm-up; the critic of an adversarial model has an AdamW of its own with the same settings."""

    name: Literal["adamw", "muon"] = Field("adamw", description="muon: see training/muon.py")
    lr: float = Field(1e-3, gt=0)
    critic_lr: float | None = Field(None, gt=0, description="of the critic's AdamW; null: as lr")
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[_Decay, _Decay] = (0.9, 0.99)
    warmup: int = Field(100, ge=0)
    schedule: Literal["cosine", "constant", "half-linear"] = Field(
        "cosine", description="decay to final times lr; half-linear: constant, then linear over the second half"
    )
    final: float = Field(0.02, ge=0, le=1)
    clip: float = Field(1.0, gt=0, description="gradient norm")


class Recipe(_Strict):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    checkpoint: str | None = Field(
        None, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of what it writes; default: the recipe's"
    )
    model: str
    pairs: tuple[Pair, ...] = Field(min_length=1)
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
    stages: tuple[Stage, ...] = Field(min_length=1)
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    ema: float = Field(0.999, ge=0, lt=1)
    seed: int = Field(0, ge=0, le=2**32 - 1)
    precision: Literal["auto", "float32", "bf16"] = "auto"
    validate_every: int = Field(250, ge=1, description="steps between validation passes")
    validation_slices: int = Field(16, ge=1, le=10**4)
    checkpoint_minutes: float = Field(5.0, gt=0, description="wall-clock between resumable states")
    sampler: SamplerDefaults = SamplerDefaults()
    notes: tuple[str, ...] = ()

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
        return _one_of(value, FAMILIES)

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
