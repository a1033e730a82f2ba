"""What is asked of a model for a volume: made at the edges, checked once, handed on whole, written into the report."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Required, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import does_not_serve_line
from ..errors import CheckpointError, MrtransError
from ..scan.contrasts import Contrast, Pair
from ..scan.volume import Volume

Range = range | tuple[int, int] | None

#: Fields that change where and in which order slices are computed, but nothing of them except for rounding.
INDIFFERENT = frozenset({"device", "batch", "start_slice", "mask_file"})


class Asked(TypedDict, total=False):
    """Keywords of :func:`napari_mrtrans.transform` and :func:`napari_mrtrans.stream`: the fields of a Request."""

    target: Required[Contrast | str]
    source: Contrast | str | None
    n: int | None
    seed: int
    steps: int | None
    sampler: str | None
    slices: Range
    start_slice: int | None
    mask: NDArray[Any] | None
    mask_file: Path | None
    repair: bool | None
    prepare: bool | None
    device: str
    batch: int | str


@dataclass(frozen=True, eq=False)
class Request:
    """What is wanted of a volume; None = the checkpoint's default.

    Attributes:
        target: Contrast to make.
        source: Contrast of the volume; None = ``volume.contrast``.
        n: Samples for each slice (20 as a rule). Deterministic models always use 1.
        seed: Of the starting noise.
        steps: Noise levels.
        sampler: One of :data:`~napari_mrtrans.models.samplers.SAMPLERS`, or ``reference``.
        slices: Restrict to ``range`` or (first, past-last) along the volume's axial axis; slices without head are
            skipped.
        start_slice: Index along that axis; slices are computed outwards from it. None = middle of the head.
        mask: Head mask, shape of the volume, above 0 = inside; None = found.
        mask_file: Where the mask was read from, for the report.
        repair: Replace outliers of the mean by the median (:func:`~.statistics.repair_outliers`); None = as the model's
            family needs it, that is for ddpm. Not above 64 samples, of which no median is held.
        prepare: Extract the brain and correct the bias field first; None = for whole heads without a mask.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:k`` or ``mps``.
        batch: Images for each network call, or ``auto``. Halved by itself when memory runs out.

    Raises:
        MrtransError: a value that no volume and no checkpoint can serve.
    """

    target: Contrast
    source: Contrast | None = None
    n: int | None = None
    seed: int = 0
    steps: int | None = None
    sampler: str | None = None
    slices: Range = None
    start_slice: int | None = None
    mask: NDArray[Any] | None = None
    mask_file: Path | None = None
    repair: bool | None = None
    prepare: bool | None = None
    device: str = "auto"
    batch: int | str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", Contrast.parse(self.target))
        if self.source is not None:
            object.__setattr__(self, "source", Contrast.parse(self.source))
        if any(value is not None and value < 1 for value in (self.n, self.steps)) or self.seed < 0:
            raise MrtransError("Samples and steps must be at least 1, and the seed at least 0.")
        object.__setattr__(self, "slices", _checked_range(self.slices))
        object.__setattr__(self, "batch", _checked_batch(self.batch))

    @property
    def pair(self) -> Pair:
        """Source and target; the source must be known."""
        assert self.source is not None
        return Pair(self.source, self.target)

    @property
    def batch_size(self) -> int | None:
        """Images for each network call; None = auto."""
        return None if self.batch == "auto" else int(self.batch)

    def resolved(self, checkpoint: Checkpoint, volume: Volume | None = None) -> Request:
        """The same with nothing left open but what is found in the voxels; ``volume`` tells its contrast.

        Raises:
            MrtransError: the contrast is unknown, or the checkpoint does not serve the pair.
        """
        source = self.source or (None if volume is None else volume.contrast)
        name = "volume" if volume is None else volume.name
        if source is None:
            raise MrtransError(
                f"The contrast of '{name}' is not known from its name; say it with --from T1 (source=\"T1\")."
            )
        pair = Pair(source, self.target)
        if pair.source == pair.target:
            raise MrtransError(f"'{name}' is {pair.source} already; choose another target.")
        if pair not in checkpoint.pairs:
            raise CheckpointError(does_not_serve_line(checkpoint, pair))
        defaults = checkpoint.card.sampler
        return replace(
            self,
            source=source,
            n=1 if checkpoint.deterministic else self.n or defaults.n,
            steps=self.steps or defaults.steps,
            sampler=self.sampler or defaults.name,
            repair=checkpoint.repairs_outliers if self.repair is None else self.repair,
        )

    def to_json(self) -> dict[str, Any]:
        """For a report: everything, the mask by its digest."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        document["mask"] = None if self.mask is None else mask_digest(self.mask)
        document["mask_file"] = None if self.mask_file is None else str(self.mask_file)
        if isinstance(self.slices, range):
            document["slices"] = {"start": self.slices.start, "stop": self.slices.stop, "step": self.slices.step}
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any], mask: NDArray[Any] | None = None) -> Request:
        """What :meth:`to_json` gave, with the mask itself.

        Raises:
            MrtransError: it is no request, or of a later version.
        """
        values = dict(document)
        slices = values.get("slices")
        try:
            if isinstance(slices, dict):
                values["slices"] = range(slices["start"], slices["stop"], slices["step"])
            elif slices is not None:
                values["slices"] = tuple(slices)
            values["mask_file"] = Path(values["mask_file"]) if values.get("mask_file") else None
            return cls(**{**values, "mask": mask})
        except (TypeError, KeyError) as error:
            raise MrtransError(f"The report holds no request that this version can repeat ({error}).") from None

    def result_key(self) -> str:
        """Digest of all that the result depends on, apart from volume and checkpoint."""
        document = {key: value for key, value in self.to_json().items() if key not in INDIFFERENT}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def mask_digest(mask: NDArray[Any]) -> str:
    """Digest of where a mask is above 0."""
    inside = np.packbits(np.nan_to_num(np.asarray(mask)) > 0)
    return hashlib.sha256(repr(np.shape(mask)).encode() + inside.tobytes()).hexdigest()


def _checked_range(slices: Any) -> Range:
    if slices is None:
        return None
    if isinstance(slices, range):
        if not slices:
            raise MrtransError("The range of slices is empty.")
        return slices
    if isinstance(slices, (tuple, list)) and len(slices) == 2 and all(isinstance(i, (int, np.integer)) for i in slices):
        return int(slices[0]), int(slices[1])
    raise MrtransError(f"slices={slices!r} is no range; give (first, past-last) or a range, e.g. (60, 80).")


def _checked_batch(batch: int | str) -> int | str:
    if batch == "auto":
        return batch
    try:
        size = int(batch)
    except (TypeError, ValueError):
        size = 0
    if size < 1:
        raise MrtransError(f"Batch '{batch}' is neither a positive number nor auto.")
    return size
