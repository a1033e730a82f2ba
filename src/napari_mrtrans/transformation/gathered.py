"""Finished slices put together: what has come of a run so far, as an :class:`Ensemble` with its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import beside_digest
from ..checkpoints.pool import drawn_by
from ..devices import made_on, resolve_device
from ..models.families import POOL, family_of
from ..ood.score import verdict
from ..ood.signs import UNKNOWN
from ..scan.masks import inside
from ..scan.volume import Volume
from .engine import MAX_HELD
from .ensemble import Ensemble, sigma_hat
from .request import Request

if TYPE_CHECKING:
    from .streaming import SliceUpdate


class Gathered:
    """The slices of one run, on the grid of its volume; what has not come yet is 0.

    Args:
        shape: Of the volume, (i, j, k).
        axis: Array axis of the axial slices.
        median: Keep the median.
        samples: How many to keep of each slice: all, n times the memory of the volume, or 0.
    """

    def __init__(self, shape: Sequence[int], axis: int, *, median: bool = False, samples: int = 0) -> None:
        size = tuple(shape)
        self._axis = axis
        self._mean, self._std = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._median = np.zeros(size, np.float32) if median else None
        self._samples = np.zeros((samples, *size), np.float32) if samples else None
        self._calibrated: NDArray[np.float32] | None = None
        self._per_slice = np.full(size[axis], np.nan)
        self._signs = [UNKNOWN] * size[axis]
        self._weights = np.zeros(size[axis])
        self._repaired = 0
        self._total = 0
        self._upside_down = False
        self._begun: tuple[Request, str] | None = None

    @property
    def finished(self) -> list[int]:
        """Indices of the slices that have come, ascending."""
        return [int(index) for index in np.flatnonzero(self._weights)]

    def begin(self, checkpoint: Checkpoint, request: Request) -> None:
        """Look now at the files that the report tells of: they may be gone, or others, once the result is saved.

        Raises:
            MrtransError: the request cannot be served.
        """
        self._begun = _begun(checkpoint, request, None)

    def add(self, update: SliceUpdate) -> None:
        """Take in one finished slice."""
        where = (slice(None),) * self._axis + (update.index,)
        self._mean[where], self._std[where] = update.mean, update.std
        if self._median is not None and update.median is not None:
            self._median[where] = update.median
        if self._samples is not None:
            self._samples[(slice(None), *where)] = update.samples
        if update.calibrated_std is not None:
            if self._calibrated is None:
                self._calibrated = np.zeros_like(self._std)
            self._calibrated[where] = update.calibrated_std
        self._per_slice[update.index], self._weights[update.index] = update.sigma_hat, update.voxels
        self._signs[update.index] = update.signs
        self._repaired += update.repaired
        self._total = update.total or self._total

    def expect(self, total: int) -> None:
        """So many slices would be all of them, if any are known of; that updates of remembered slices do not tell."""
        self._total = total or self._total

    def turned(self, turn: NDArray[np.floating]) -> Gathered:
        """The same in another order of the axes: ``turn`` as from :func:`nibabel.orientations.ornt_transform`."""
        twin = copy(self)
        twin._axis = int(turn[self._axis, 0])
        twin._upside_down = self._upside_down != (turn[self._axis, 1] < 0)
        for name in ("_mean", "_std", "_median", "_calibrated"):
            volume = getattr(self, name)
            setattr(twin, name, None if volume is None else nib.apply_orientation(volume, turn))
        if self._samples is not None:
            twin._samples = np.stack([nib.apply_orientation(sample, turn) for sample in self._samples])
        for name in ("_per_slice", "_signs", "_weights"):
            setattr(twin, name, getattr(self, name)[:: int(turn[self._axis, 1])])
        return twin

    def ensemble(
        self, volume: Volume, checkpoint: Checkpoint, request: Request, seconds: float, notices: Sequence[str] = ()
    ) -> Ensemble:
        """The result so far; it shares its arrays with this object.

        Args:
            volume: The input, on the same grid.
            checkpoint: What computed it.
            request: What was asked for, of the volume as it was before :meth:`turned`; that of :meth:`begin`.
            seconds: How long it took.
            notices: What the user was told.
        """
        request, beside = self._begun or _begun(checkpoint, request, volume)
        if self._upside_down:
            request = request.upside_down(len(self._weights))
        assert request.n is not None
        known = np.isfinite(self._per_slice) & (self._weights > 0)
        weighed = float(np.average(self._per_slice[known], weights=self._weights[known])) if known.any() else np.nan
        pooled = checkpoint.card.model == POOL
        family = family_of(checkpoint.card.model)
        by_reference = request.sampler == "reference" and not checkpoint.single_pass
        steps = None if by_reference else request.steps
        n, pair, calibrated = request.n, request.pair, self._calibrated
        ood = checkpoint.calibration.ood if checkpoint.calibration else None
        scores = ood.scores(pair.key, n, weighed, self._per_slice, self._signs, request.antithetic) if ood else {}
        probability = ood.assess(scores) if ood else None
        info: dict[str, Any] = {
            "napari_mrtrans": __version__,
            "input": str(volume.path.absolute()) if volume.path else volume.name,
            "input_digest": volume.digest(),
            "source": pair.source.value,
            "target": pair.target.value,
            "checkpoint": checkpoint.name,
            "sha256": checkpoint.sha256,
            "calibration": beside,
            "checkpoint_file": str(checkpoint.path.absolute()),
            "model": checkpoint.card.model,
            "units": checkpoint.card.units,
            "seed": request.seed,
            "n": n,
            "sampler": None if checkpoint.single_pass else request.sampler,
            "steps": checkpoint.steps if checkpoint.single_pass else steps,
            **({"reference": family.reference_of(checkpoint.card.options)} if by_reference else {}),
            **({"drawn_by": drawn_by(checkpoint, n)} if pooled else {}),
            "device": str(resolve_device(request.device)[0]),
            "made_on": made_on(request.device),
            "seconds": seconds,
            "repair": bool(request.repair) and n <= MAX_HELD,
            "repaired_voxels": self._repaired,
            "slices_done": len(self.finished),
            "complete": len(self.finished) == self._total,
            "slices": self.finished,
            "roi": _region(request),
            "sigma_hat": _number(weighed),
            "sigma_hat_per_slice": [_number(value) for value in self._per_slice],
            "sigma_hat_calibrated": None if calibrated is None else _number(sigma_hat(calibrated, calibrated > 0)),
            "ood_probability": None if probability is None else _number(probability),
            "verdict": verdict(probability, scores if ood else None),
            "ood_reason": ood.reason(scores, self._signs, pair.source) if ood else "",
            "ood_scores": {name: _number(value) for name, value in scores.items()},
            "ood_novelty_per_slice": [_number(signs.novelty) for signs in self._signs] if ood else None,
            "ood_artefact_per_slice": [_number(signs.artefact) for signs in self._signs] if ood else None,
            "ood_contrast_per_slice": [_number(signs.contrast) for signs in self._signs] if ood else None,
            "request": request.to_json(),
            "samples_kept": self._samples is not None,
            "notices": list(notices),
            "intended_use": "research only, not for diagnosis",
        }
        return Ensemble(
            volume, self._mean, self._std, self._median, self._samples, self._per_slice, weighed, info, calibrated
        )


def _begun(checkpoint: Checkpoint, request: Request, volume: Volume | None) -> tuple[Request, str]:
    """The request with nothing left open, and the digest of what lies beside the checkpoint."""
    resolved = request.resolved(checkpoint, volume)
    return resolved, beside_digest(checkpoint, resolved.three_planes)


def otherwise_made(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    """Where the last bits of two ``made_on`` may differ, what each says of it; empty where nothing known differs."""
    words = {"torch": "torch {}", "threads": "threads: {}", "number_format": "{}", "processor": "{}"}
    known = [name for name in words if before.get(name) is not None and now.get(name) is not None]
    differ = [name for name in known if before[name] != now[name]]
    then, here = (", ".join(words[name].format(one[name]) for name in differ) for one in (before, now))
    return then, here


def _region(request: Request) -> dict[str, Any] | None:
    """What a reader of the files must know of the region they are of."""
    if request.roi is None:
        return None
    only = "0: not asked for; sigma_hat and ood_probability are of whole slices, sigma_hat_calibrated of the region"
    return {
        "file": request.roi_file and str(request.roi_file),
        "voxels": int(inside(request.roi).sum()),
        "only": request.roi_only,
        "outside": only if request.roi_only else "computed in every slice that the region touches",
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
