"""The parts of a recipe: its data, its stages, its augmentation, its optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ..checkpoints.card import DataSource
from ..datasets.phantom_options import PhantomOptions
from ..datasets.readers import AUTO, READERS, plain_folders
from ..scan.framing import MOST, Framing
from ..scan.planes import Plane


class Strict(BaseModel):
    """Of known keys alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def one_of(value: str, known: Iterable[str]) -> str:
    if value not in known:
        raise ValueError(f"'{value}' is none of {', '.join(known)}")
    return value


class DataOptions(Strict):
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
    sources: tuple[DataSource, ...] = Field((), description="data sets, for the card")
    computed_pd: bool = Field(False, description="PD computed from T1, T2 and FLAIR of every session that lacks it")
    phantom: PhantomOptions | None = Field(None, description="phantoms beside the folders; alone with --data phantom")
    seed: int | None = Field(None, ge=0, lt=2**32, description="of phantoms and computed PD, if not the recipe's")

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        return one_of(value, (AUTO, *READERS))

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


class Stage(Strict):
    """A stretch of training at one crop size."""

    steps: int = Field(ge=1, le=10**9, description="of the optimiser")
    batch: int = Field(8, ge=1, description="slices in each step, of all devices together")
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


class Augmentation(Strict):
    """Random changes of geometry (source and target together) and intensity (each its own)."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    warp: float = Field(0.5, ge=0, le=1, description="probability of rotation and zoom, which interpolate and so blur")
    rotate_deg: _Amount = Field(12.0, description="largest rotation in the slice, either way")
    scale: _Amount = Field(0.1, description="standard deviation of the log of the zoom, each axis")
    source_gamma: _Amount = Field(0.2, description="standard deviation of log gamma")
    source_gain: _Amount = Field(0.08, description="standard deviation of the log of a factor")
    source_bias: _Amount = Field(0.15, description="standard deviation of the log bias field")
    source_noise: _Amount = Field(0.02, description="largest noise standard deviation, in [0, 1] units")
    source_blur: _Amount = Field(0.8, le=100, description="largest Gaussian blur in pixels, one random axis or both")
    source_curve: _Amount = Field(0.0, description="size of random curves of the intensity, not always rising")
    source_slab_mm: _Amount = Field(
        0.0, le=100, description="thickest slices that the source is averaged to, 3 times in 10"
    )
    target_gamma: _Amount = Field(0.1, description="as source_gamma")
    target_gain: _Amount = Field(0.05, description="as source_gain")


_Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimiser(Strict):
    """With linear warm-up; the critic of an adversarial model has an AdamW of its own with the same settings."""

    name: Literal["adamw", "muon"] = Field("adamw", description="muon: see training/muon.py")
    lr: float = Field(1e-3, gt=0, description="learning rate after the warm-up")
    critic_lr: float | None = Field(None, gt=0, description="of the critic's AdamW; null: as lr")
    weight_decay: float = Field(0.01, ge=0, description="decoupled from the gradient")
    betas: tuple[_Decay, _Decay] = Field((0.9, 0.99), description="of the averages of gradient and square (AdamW)")
    warmup: int = Field(100, ge=0, description="steps of the linear warm-up")
    schedule: Literal["cosine", "constant", "half-linear"] = Field(
        "cosine", description="decay to final times lr; half-linear: constant, then linear over the second half"
    )
    final: float = Field(0.02, ge=0, le=1, description="share of lr at the end")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
