"""Recipes: a YAML file that fixes everything a training run needs besides the data folder."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..checkpoints.checkpoint import DETERMINISTIC, DataSource, SamplerDefaults, first_problem
from ..datasets.phantom_options import PhantomOptions
from ..errors import MrtransError, RecipeError
from ..paths import recipe_dir
from ..scan.contrasts import Pair
from ..scan.framing import Framing


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataOptions(_Strict):
    """Where the subjects are and who is held out."""

    format: Literal["auto", "ixi", "oasis", "mslesion", "brats", "bids"] = Field(
        "auto", description="naming of the files (see data/*.py); auto: told by the names"
    )
    folders: tuple[str, ...] = Field((".",), description="data sets below --data, one each")
    spacing_mm: float = Field(1.0, gt=0, description="in-plane pixel size of the model grid")
    framing: Framing = Field(Framing(), description="what the network sees of a slice in use; as the last stage's crop")
    test: tuple[str, ...] = Field((), description="subjects never trained or tuned on, as folder/sub-XX or sub-XX")
    validation: tuple[str, ...] = Field((), description="subjects for monitoring only")
    holdout_fraction: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="if no subject is named: share held out for each of test, validation; default: the data set's own",
    )
    splits: Path | None = Field(
        None, description="instead: a table such as a run's splits.tsv (subject, session, part)"
    )
    exclude_masked: bool = Field(False, description="skip slices that an expert mask marks as lesion or tumour")
    min_area: float = Field(
        0.01, ge=0, lt=1, description="slices with less head than this share of the grid are skipped"
    )
    sources: tuple[DataSource, ...] = ()
    phantom: PhantomOptions | None = Field(None, description="phantoms beside the folders; alone with --data phantom")

    @model_validator(mode="after")
    def _one_split(self) -> DataOptions:
        if self.splits and (self.test or self.validation or self.holdout_fraction is not None):
            raise ValueError("splits says who is held out; leave out test, validation and holdout_fraction")
        return self


class Stage(_Strict):
    """A stretch of training at one crop size."""

    steps: int = Field(ge=1)
    batch: int = Field(8, ge=1)
    crop: tuple[int, int] = Field((128, 128), description="rows, columns in pixels after downsampling")
    downsample: int = Field(1, ge=1, description="area-average by this factor: cheap early training on whole slices")


class Augmentation(_Strict):
    """Random changes of geometry (source and target together) and intensity (each its own)."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    warp: float = Field(0.5, ge=0, le=1, description="probability of rotation and zoom, which interpolate and so blur")
    rotate_deg: float = Field(12.0, ge=0)
    scale: float = Field(0.1, ge=0, description="standard deviation of the log of the zoom, each axis")
    source_gamma: float = Field(0.2, ge=0, description="standard deviation of log gamma")
    source_gain: float = Field(0.08, ge=0)
    source_bias: float = Field(0.15, ge=0, description="standard deviation of the log bias field")
    source_noise: float = Field(0.02, ge=0, description="largest noise standard deviation, in [0, 1] units")
    source_blur: float = Field(0.8, ge=0, description="largest Gaussian blur in pixels, one random axis or both")
    target_gamma: float = Field(0.1, ge=0)
    target_gain: float = Field(0.05, ge=0)


class Optimiser(_Strict):
    """AdamW with linear warm-up; the critic of an adversarial model has one of its own with the same settings."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
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
    model: Literal["direct", "resvit", "cgan", "ncsn", "ddpm", "flow"]
    pairs: tuple[Pair, ...] = Field(min_length=1)
    options: dict[str, Any] = Field({}, description="the model class's own arguments (network, sigma_data, …)")
    session_effects: bool = Field(
        False,
        description="direct: a gain and offset for every training session; the network learns their average",
    )
    start_from: str | None = Field(None, description="checkpoint (name or file) whose weights training starts from")
    mean_checkpoint: str | None = Field(
        None, description="flow, ncsn, ddpm, cgan: the Direct checkpoint (name or file) whose residual is sampled"
    )
    restyle: bool = Field(
        False, description="with mean_checkpoint: targets with the contrast of random sessions (its session effects)"
    )
    data: DataOptions = DataOptions()
    stages: tuple[Stage, ...] = Field(min_length=1)
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    ema: float = Field(0.999, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "float32", "bf16"] = "auto"
    validate_every: int = Field(250, ge=1, description="steps between validation passes")
    validation_slices: int = Field(16, ge=1)
    checkpoint_minutes: float = Field(5.0, gt=0, description="wall-clock between resumable states")
    sampler: SamplerDefaults = SamplerDefaults()
    notes: tuple[str, ...] = ()

    @field_validator("pairs", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a list such as [T1->T2]")
        try:
            return tuple(pair if isinstance(pair, Pair) else Pair.parse(pair) for pair in value)
        except MrtransError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _effects(self) -> Recipe:
        if self.session_effects and self.model != "direct":
            raise ValueError("session_effects is for model: direct")
        if self.mean_checkpoint is not None and self.model in DETERMINISTIC:
            raise ValueError("mean_checkpoint is for model: flow, ncsn, ddpm or cgan")
        if self.restyle and self.mean_checkpoint is None:
            raise ValueError("restyle needs a mean_checkpoint")
        return self

    @property
    def conditional(self) -> bool:
        """Several pairs: the network is told which."""
        return len(self.pairs) > 1

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def sha256(self) -> str:
        """Digest of everything that determines the result."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def list_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name, with the file that holds each."""
    return {name: path for name, (path, _) in _catalogue().items()}


@cache
def _catalogue() -> dict[str, tuple[Path, dict[str, Any]]]:
    """File and content of each of the package's recipes.

    A file holds one, or those below ``recipes`` on top of what is ``common``, or those that its ``matrix`` spans.
    """
    recipes = {}
    for path in sorted(recipe_dir().rglob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "matrix" in document:
            found = _span(document["matrix"])
        elif "recipes" in document:
            found = {
                name: {"name": name, **_merged(document["common"], own)} for name, own in document["recipes"].items()
            }
        else:
            found = {path.stem: document}
        recipes.update({name: (path, recipe) for name, recipe in found.items()})
    return recipes


def _span(matrix: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every model on every ordered pair of every data set's contrasts: the common keys, the set's, the model's."""
    recipes = {}
    for dataset, about in matrix["datasets"].items():
        for source, target in itertools.permutations(about["contrasts"], 2):
            stem = f"paper-{dataset}-{source}-{target}".lower()
            for model, own in matrix["models"].items():
                document = _merged(_merged(matrix["common"], about["recipe"]), own)
                document |= {"name": f"{stem}-{model}", "pairs": [f"{source}->{target}"]}
                if "start_from" in document:
                    document["start_from"] = document["start_from"].format(stem=stem)
                recipes[document["name"]] = document
    return recipes


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], over[key]) for key in base.keys() & over.keys()
        if isinstance(base[key], dict) and isinstance(over[key], dict)
    }  # fmt: skip
    return {**base, **over, **both}


def load_recipe(name: str | Path, overrides: list[str] | None = None) -> Recipe:
    """A recipe by shipped name or by file, with ``key.sub=value`` overrides (values are YAML).

    Raises:
        RecipeError: no such recipe, not YAML, an unknown key or a wrong type; the text names the key.
    """
    path = Path(name)
    try:
        if path.suffix in (".yaml", ".yml"):
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        else:
            document = _shipped(str(name))
    except OSError as error:
        raise RecipeError(f"Recipe '{path}' cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"Recipe '{path}' is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise RecipeError(f"Recipe '{path}' is empty or not a mapping of keys.")
    for override in overrides or []:
        _override(document, override)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(f"Recipe '{path.name}': {first_problem(error)}.") from None


def _shipped(name: str) -> dict[str, Any]:
    """A copy of the package's recipe ``name``."""
    if name not in _catalogue():
        own = [known for known in _catalogue() if not known.startswith("paper-")]
        raise RecipeError(
            f"No recipe '{name}'. Shipped recipes: {', '.join(own)}, and paper-DATASET-SOURCE-TARGET-MODEL "
            "(see --list); or give a .yaml file."
        )
    return copy.deepcopy(_catalogue()[name][1])


def _override(document: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise RecipeError(f"--set {text}: write it as key=value, e.g. optimiser.lr=0.0002.")
    node: Any = document
    *parents, last = key.split(".")
    for part in parents:
        if isinstance(node, dict):
            node = node.setdefault(part, {})
        else:
            node = node[int(part)] if isinstance(node, list) and part.isdigit() and int(part) < len(node) else None
    try:
        new = yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"--set {text}: the value is not YAML.") from None
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = new
    elif isinstance(node, dict):
        node[last] = new
    else:
        raise RecipeError(f"--set {text}: the recipe has no place for '{key}'.")
