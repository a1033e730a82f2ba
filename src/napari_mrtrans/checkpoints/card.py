"""The card of a checkpoint: what it serves, how it is used and where it comes from; JSON in the file's header."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..models.families import POOL, family_of
from ..scan.contrasts import Contrast, Pair
from ..scan.framing import Framing
from ..scan.intensity import HEADROOM

CARD_VERSION = 1


def is_file_name(name: str) -> bool:
    """Whether a checkpoint can be called so."""
    return re.fullmatch(r"\w[\w.+-]{0,99}", name) is not None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Grid(_Strict):
    """The grid a model works on."""

    spacing_mm: float = Field(1.0, gt=0, description="in-plane pixel size; slices are as the input has them")


class Intensity(_Strict):
    """How intensities become [0, 1]; see :mod:`napari_mrtrans.scan.intensity`.

    Attributes:
        method: ``median``: the brain's median becomes 1 / headroom.
        headroom: Of each contrast.
    """

    method: Literal["median"] = "median"
    headroom: dict[Contrast, float]


class SamplerDefaults(_Strict):
    """What is used when the user says nothing else."""

    name: str = Field("dpm++2m", description="one of napari_mrtrans.models.sampler_plan.SAMPLERS")
    steps: int = Field(8, ge=1, description="noise levels")
    n: int = Field(20, ge=1, description="samples of each slice")
    sigma_min: float = Field(0.002, gt=0, description="last and least noise level, in units of what is sampled")
    sigma_max: float = Field(20.0, gt=0, description="first noise level")
    mirror: bool = Field(
        False,
        description="the network saw heads mirrored as often as not, so its answer to a slice's mirror image counts as "
        "much: a model of one answer gives the mean of both, others draw half of their antithetic pairs there "
        "(models/drawing.py)",
    )

    @model_validator(mode="after")
    def _falling(self) -> SamplerDefaults:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min ({self.sigma_min:g}) must be less than sigma_max ({self.sigma_max:g})")
        return self


class DataSource(_Strict):
    """A data set that a checkpoint was trained on."""

    name: str = Field(description="of a data set that was trained on")
    licence: str = Field(description="its licence")
    citation: str = Field(description="what to cite for it")


class Training(_Strict):
    """What training took, with that of the checkpoints that it started from.

    Attributes:
        slices: Seen; None: not told by a checkpoint that it started from.
        hours: Of wall clock, from the first step of each run on, pauses left out.
        peak_memory_gib: Most memory of all runs: of the GPU, or of the process where one ran on the CPU.
        device: What the runs computed on, one after the other.
    """

    slices: int | None = None
    hours: float = Field(0.0, ge=0)
    peak_memory_gib: float = Field(0.0, ge=0)
    device: str = ""

    def after(self, before: Training | None) -> Training:
        """Of a run on from a checkpoint; ``before`` is what that one's card says, None: nothing."""
        if before is None:
            return self.model_copy(update={"slices": None})
        slices = None if before.slices is None or self.slices is None else before.slices + self.slices
        devices = [one for one in (before.device, self.device) if one]
        if before.device.rpartition(", then ")[2] == self.device:
            devices = devices[:1]
        return Training(
            slices=slices,
            hours=round(before.hours + self.hours, 3),
            peak_memory_gib=max(before.peak_memory_gib, self.peak_memory_gib),
            device=", then ".join(devices),
        )


class Adapted(_Strict):
    """How a checkpoint was made of another on scans of one site (:mod:`napari_mrtrans.adaptation`). Nobody is named.

    Attributes:
        parent: Name of the checkpoint that it was made of.
        parent_sha256: Of that file.
        lineage: Names of all it descends from, the first one first, the parent last.
        site: What the user calls the site.
        people: Whose scans it saw.
        sessions: Of theirs.
        minutes: Of training, those for figures on people left out included.
        gain_db: Mean over pairs of what PSNR gained where it was judged.
        judged_on: On what, in words.
    """

    parent: str
    parent_sha256: str
    lineage: list[str]
    site: str
    people: int = Field(ge=1)
    sessions: int = Field(ge=1)
    minutes: float = Field(ge=0)
    gain_db: float = 0.0
    judged_on: str = ""


class Unnamed(_Strict):
    """People whose scans a checkpoint has learned from and whom no card names.

    Attributes:
        people: How many.
        site: What the user calls their site.
    """

    people: int = Field(ge=1)
    site: str


class Turns(_Strict):
    """The options of a pool (:mod:`.pool`).

    Attributes:
        turns: Names of the members in the order of their turns.
        sha256: Digest of each member's file, by name.
    """

    turns: list[str] = Field(min_length=2)
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _named(self) -> Turns:
        if missing := [name for name in self.turns if name not in self.sha256]:
            raise ValueError(f"no digest of '{missing[0]}'")
        return self


class Card(_Strict):
    """Everything needed to use a checkpoint, and to know where it comes from.

    Attributes:
        version: Of this form; a newer one is refused.
        name: Installed name.
        model: Family; see :mod:`napari_mrtrans.models.families`.
        options: Of the family's constructor.
        pairs: Transformations it serves.
        grid: In which slices are shown to the network.
        intensity: In which it sees them.
        sampler: What it is sampled with.
        framing: Which part of a slice the network sees.
        units: Of the images it gives, in words.
        data: What it was trained on.
        splits: Names of the training sessions, and of those kept for validation.
        seen_before: Names of training sessions of what its training started from, if they are others; with the folder
            that was trained on alone, where that is another than :attr:`folder`.
        unnamed_before: Whom what it was made of was adapted to.
        folder: The only one of the data folder that was trained on, which names go without; empty: that folder itself.
        seed: Of the training.
        recipe: Name of the recipe.
        recipe_sha256: Digest of it.
        steps: Updates of the network.
        images: Slices seen in the last run, repeated ones as often as they were.
        training: What all of it took; None in files made before 2026-11-26.
        metrics: Figures of the validation.
        parents: Digests of the checkpoints that its training started from or referred to, by name.
        adapted: What it was adapted to; None: nothing.
        notes: For the user; what is before a colon says which contrasts or pairs a note is about.
    """

    version: int = CARD_VERSION
    name: str
    model: str
    options: dict[str, Any]
    pairs: list[Pair] = Field(min_length=1)
    grid: Grid
    intensity: Intensity
    sampler: SamplerDefaults
    framing: Framing = Framing()
    units: str = "target's normalised units [0, 1]: 1 = headroom x median of the brain"
    data: list[DataSource] = []
    splits: dict[str, list[str]] = {}
    seen_before: list[str] = []
    unnamed_before: list[Unnamed] = []
    folder: str = ""
    seed: int = 0
    recipe: str = ""
    recipe_sha256: str = ""
    steps: int = 0
    images: int = 0
    training: Training | None = None
    metrics: dict[str, Any] = {}
    parents: dict[str, str] = {}
    adapted: Adapted | None = None
    notes: list[str] = []

    @model_validator(mode="after")
    def _of_whom(self) -> Card:
        if self.model == POOL:
            Turns.model_validate(self.options)
        return self

    @property
    def turns(self) -> list[str]:
        """Whose samples a pool takes, in turn; of any other, its own."""
        return [*self.options["turns"]] if self.model == POOL else [self.name]

    @property
    def seen(self) -> list[str]:
        """Names of all training sessions, those of what it started from too."""
        return [*self.splits.get("train", []), *self.seen_before]

    @property
    def unnamed(self) -> list[Unnamed]:
        """Whom it was adapted to, and whom what it was made of was."""
        own = [Unnamed(people=self.adapted.people, site=self.adapted.site)] if self.adapted else []
        return [*own, *(one for one in self.unnamed_before if one not in own)]

    @property
    def other_scale(self) -> str:
        """What keeps it from being used, where it sees a contrast on another scale than volumes are brought to."""
        for contrast in (contrast for pair in self.pairs for contrast in pair):
            given = HEADROOM[contrast]
            if (wanted := self.intensity.headroom.get(contrast, given)) != given:
                return (
                    f"takes {contrast} with a headroom of {wanted:g}, and this version gives {given:g}. Train it "
                    "again, or use the version that it was made with."
                )
        return ""

    @property
    def deterministic(self) -> bool:
        """One answer and no spread."""
        return family_of(self.model).deterministic

    @property
    def single_pass(self) -> bool:
        """One network call for each sample: sampler and steps mean nothing."""
        return family_of(self.model).single_pass

    @property
    def repairs_outliers(self) -> bool:
        """Whether outliers of the mean are repaired when the user says nothing."""
        return family_of(self.model).repaired


#: For those who write YAML and not Python.
_PLAIN = {"tuple_type": "expected a list, such as [a, b]", "model_type": "expected keys below it, such as {key: value}"}


def first_problem(error: Exception) -> str:
    """The first complaint of a validation error, naming the key; of any other error, its text."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        words = _PLAIN.get(first["type"]) or str(first["msg"]).removeprefix("Value error, ").removesuffix(".")
        return f"{key}: {words}" if key else words
    return f"missing key {error}" if isinstance(error, KeyError) else str(error)
