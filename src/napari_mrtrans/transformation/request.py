"""What is asked of a model for a volume: made at the edges, checked once, handed on whole, written into the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Required, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import does_not_serve_line
from ..checkpoints.planes import check_planes
from ..devices import checked_device
from ..errors import CheckpointError, MrtransError
from ..scan.contrasts import Contrast, Pair
from ..scan.masks import inside
from ..scan.planes import check_voxels
from ..scan.volume import Volume

Range = range | tuple[int, int] | None

#: Fields that change where and in which order slices are computed, but nothing of them except for rounding.
INDIFFERENT = frozenset({"device", "batch", "start_slice", "mask_file", "roi_file"})
#: Raise when the same request is answered otherwise: what was computed before is not taken for the answer any more.
ANSWERS = 3


class Asked(TypedDict, total=False):
    """Keywords of :func:`napari_mrtrans.transform` and :func:`napari_mrtrans.stream`: the fields of a Request."""

    target: Required[Contrast | str]
    source: Contrast | str | None
    n: int | None
    seed: int
    steps: int | None
    sampler: str | None
    antithetic: bool
    three_planes: bool
    slices: Range
    start_slice: int | None
    mask: NDArray[Any] | None
    mask_file: Path | None
    roi: NDArray[Any] | None
    roi_file: Path | None
    roi_only: bool
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
        sampler: One of :data:`~napari_mrtrans.models.sampler_plan.SAMPLERS`, or ``reference``.
        antithetic: Samples in pairs of opposite noise (:class:`~napari_mrtrans.models.noise.Noise`), whose mean needs
            fewer of them; False = independent draws, as the paper's.
        three_planes: Average each slice with what the model makes of the head's coronal and sagittal slices, which are
            computed first, all of them (:mod:`.three_planes`); for models of one answer that have a network for them,
            and for models that sample around the answer of such a one.
        slices: Restrict to ``range`` or (first, past-last) along the volume's axial axis; slices without head are
            skipped.
        start_slice: Index along that axis; slices are computed outwards from it. None = middle of the head.
        mask: Head mask, shape of the volume (:func:`~..scan.masks.inside`); None = found.
        mask_file: Where the mask was read from, for the report.
        roi: Region of interest, shape of the volume: only axial slices that it touches are computed; None = all.
        roi_file: Where it was read from, for the report.
        roi_only: Only voxels of the region get a result, the others are 0. The network sees whole slices all the same.
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
    antithetic: bool = True
    three_planes: bool = False
    slices: Range = None
    start_slice: int | None = None
    mask: NDArray[Any] | None = None
    mask_file: Path | None = None
    roi: NDArray[Any] | None = None
    roi_file: Path | None = None
    roi_only: bool = False
    repair: bool | None = None
    prepare: bool | None = None
    device: str = "auto"
    batch: int | str = "auto"

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None or name in _NEVER_NONE:
                object.__setattr__(self, name, check(name, value))
        if any(value is not None and value < 1 for value in (self.n, self.steps)) or self.seed < 0:
            raise MrtransError("Samples and steps must be at least 1, and the seed at least 0.")
        if self.roi_only and self.roi is None:
            raise MrtransError("A result of a region only needs the region: roi=MASK (--roi MASK.nii.gz).")

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
            MrtransError: the contrast is unknown, the pair is not served, or three planes cannot be had.
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
        if self.three_planes:
            check_planes(checkpoint)
            if volume is not None:
                check_voxels(volume)
        defaults = checkpoint.card.sampler
        return replace(
            self,
            source=source,
            n=1 if checkpoint.deterministic else self.n or defaults.n,
            steps=self.steps or defaults.steps,
            sampler=self.sampler or defaults.name,
            repair=checkpoint.repairs_outliers if self.repair is None else self.repair,
        )

    def upside_down(self, count: int) -> Request:
        """The same slices of a volume of ``count`` axial ones whose axial axis runs the other way."""
        slices, start = self.slices, self.start_slice
        if isinstance(slices, range):
            first, last = sorted((slices[0], slices[-1]))
            slices = range(count - 1 - last, count - first, abs(slices.step))
        elif slices is not None:
            slices = count - slices[1], count - slices[0]
        return replace(self, slices=slices, start_slice=None if start is None else count - 1 - start)

    def to_json(self) -> dict[str, Any]:
        """For a report: everything, mask and region by their digests."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("mask", "roi"):
            image, file = getattr(self, name), getattr(self, f"{name}_file")
            document |= {name: None if image is None else mask_digest(image), f"{name}_file": file and str(file)}
        if isinstance(self.slices, range):
            document["slices"] = {"start": self.slices.start, "stop": self.slices.stop, "step": self.slices.step}
        return document

    @classmethod
    def from_json(
        cls, document: dict[str, Any], mask: NDArray[Any] | None = None, roi: NDArray[Any] | None = None
    ) -> Request:
        """What :meth:`to_json` gave, with mask and region themselves.

        Raises:
            MrtransError: it is no request, or of a later version, or its mask or region is another one.
        """
        values: dict[str, Any] = {**document, "mask": mask, "roi": roi}
        try:
            if unknown := values.keys() - {field.name for field in fields(cls)}:
                raise MrtransError(f"unknown: {', '.join(sorted(unknown))}")
            if isinstance(slices := values.get("slices"), dict):
                values["slices"] = range(slices["start"], slices["stop"], slices["step"])
            request = cls(**values)
        except KeyError as error:
            raise MrtransError(_unrepeatable(f"no {error}")) from None
        except (TypeError, ValueError, MrtransError) as error:
            raise MrtransError(_unrepeatable(str(error))) from None
        for name, image, file in (("mask", mask, request.mask_file), ("roi", roi, request.roi_file)):
            if document.get(name) != (None if image is None else mask_digest(image)):
                of = f" '{file}'" if file else ""
                raise MrtransError(f"The {name.replace('roi', 'ROI')}{of} has changed since this result was made.")
        return request

    def result_key(self) -> str:
        """Digest of all that the result depends on, apart from volume and checkpoint."""
        document = {key: value for key, value in self.to_json().items() if key not in INDIFFERENT}
        return hashlib.sha256(json.dumps([ANSWERS, document], sort_keys=True).encode()).hexdigest()


def mask_digest(mask: NDArray[Any]) -> str:
    """Digest of where a mask is inside."""
    return hashlib.sha256(repr(np.shape(mask)).encode() + np.packbits(inside(mask)).tobytes()).hexdigest()


def _unrepeatable(why: str) -> str:
    return f"The report holds no request that this version can repeat ({why.rstrip('.')})."


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _checked_contrast(_: str, value: Any) -> Contrast:
    return Contrast.parse(value)


def _checked_number(name: str, value: Any) -> int:
    if not _is_whole(value):
        raise MrtransError(f"{name}={value!r} is no whole number.")
    return int(value)  # JSON knows none of numpy's


def _checked_switch(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise MrtransError(f"{name}={value!r} is neither True nor False.")
    return bool(value)


def _checked_name(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise MrtransError(f"{name}={value!r} is no name.")
    return value


def _checked_path(name: str, value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise MrtransError(f"{name}={value!r} is no path.")
    return Path(value)


def _checked_range(name: str, slices: Any) -> range | tuple[int, int]:
    if isinstance(slices, range):
        if not slices:
            raise MrtransError("The range of slices is empty.")
        return slices
    if isinstance(slices, (tuple, list)) and len(slices) == 2 and all(_is_whole(i) for i in slices):
        return int(slices[0]), int(slices[1])
    raise MrtransError(f"{name}={slices!r} is no range; give (first, past-last) or a range, e.g. (60, 80).")


def _checked_batch(name: str, batch: Any) -> int | str:
    if batch == "auto":
        return "auto"
    try:
        size = int(batch) if _is_whole(batch) or isinstance(batch, str) else 0
    except ValueError:
        size = 0
    if size < 1:
        raise MrtransError(f"Batch '{batch}' is neither a positive number nor auto.")
    return size


#: What a field must be; None stands for the default but in these.
_NEVER_NONE = frozenset({"target", "seed", "antithetic", "three_planes", "roi_only", "device", "batch"})
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "target": _checked_contrast,
    "source": _checked_contrast,
    "n": _checked_number,
    "seed": _checked_number,
    "steps": _checked_number,
    "sampler": _checked_name,
    "antithetic": _checked_switch,
    "three_planes": _checked_switch,
    "slices": _checked_range,
    "start_slice": _checked_number,
    "mask_file": _checked_path,
    "roi_file": _checked_path,
    "roi_only": _checked_switch,
    "repair": _checked_switch,
    "prepare": _checked_switch,
    "device": lambda name, value: checked_device(_checked_name(name, value)),
    "batch": _checked_batch,
}
