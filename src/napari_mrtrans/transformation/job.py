"""A request brought onto a model's grid: which slices, in which order, on which pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.pool import drawn_by, whole_round
from ..errors import MrtransError
from ..models.families import POOL
from ..ood.image_quality import MIN_AREA
from ..prepare.whole_head import fit_for_models
from ..scan.framing import STEP, Framing
from ..scan.grid import AxisMap, Orientation, SliceGrid
from ..scan.masks import inside
from ..scan.planes import check_height
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume, not_finite
from .request import Request

if TYPE_CHECKING:
    from ..models import Model


@dataclass(frozen=True, eq=False)
class Job:
    """A request, resolved, and its volume on the model's grid; slices are canonical (slice, row, column).

    Attributes:
        request: With nothing left open.
        prepared: The volume.
        images: In [0, 1], 0 outside the head.
        grid: From the volume's pixels to the model's.
        order: Slices to compute, first things first.
    """

    request: Request
    prepared: PreparedVolume
    images: NDArray[np.float32]
    grid: SliceGrid
    order: list[int]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The head."""
        return self.prepared.mask

    @property
    def orientation(self) -> Orientation:
        """Of the volume's array."""
        return self.prepared.orientation

    @property
    def n(self) -> int:
        """Samples."""
        assert self.request.n is not None
        return self.request.n

    @property
    def steps(self) -> int:
        """Noise levels."""
        assert self.request.steps is not None
        return self.request.steps

    @property
    def sampler(self) -> str:
        """Its name."""
        assert self.request.sampler is not None
        return self.request.sampler


def open_job(
    volume: Volume, checkpoint: Checkpoint, request: Request, say: Callable[[str], None] = lambda line: None
) -> Job:
    """Check a request against its volume and checkpoint, prepare the volume, and put it on the model's grid.

    Raises:
        MrtransError: the request cannot be served.
    """
    from ..devices import resolve_device

    resolved = request.resolved(checkpoint, volume)
    sampler_notice(resolved, checkpoint)  # a whole head takes minutes: say now what would be said after it
    if resolved.three_planes:
        check_height(volume.n_slices * float(volume.voxel_sizes[volume.axial_axis]), volume.name)
    resolve_device(resolved.device)
    for line in (_unused(resolved, checkpoint), _few(resolved, checkpoint)):
        if line:
            say(line)
    prepared = fit_for_models(volume, request.mask, request.prepare, say)
    if count := int((prepared.head & ~np.isfinite(volume.data)).sum()):
        unknown = not_finite(f"'{volume.name}'", count)
        say(f"{unknown}; do not trust the answer there and around.")
    return make_job(prepared, checkpoint, resolved)


def sampler_notice(request: Request, checkpoint: Checkpoint) -> str:
    """What is to be told of the sampler and the steps that are asked for; empty: nothing.

    Raises:
        MrtransError: there is no such sampler, or it diverges in so few steps.
    """
    from ..models.sampler_plan import check_sampler, notice_of

    own = checkpoint.card.sampler
    name, steps = request.sampler or own.name, request.steps or own.steps
    check_sampler(name)
    if checkpoint.single_pass or (name, steps) == (own.name, own.steps):
        return ""
    return notice_of(name, steps, own.sigma_min, own.sigma_max, tells_variance=checkpoint.card.model == "ddpm")


def _unused(request: Request, checkpoint: Checkpoint) -> str:
    """A line for a sampler or steps, other than the card's, of which the model has no use; empty: none."""
    own = checkpoint.card.sampler
    if not checkpoint.single_pass or (request.sampler, request.steps) == (own.name, own.steps):
        return ""
    why = "keeps to those of its members" if checkpoint.card.model == POOL else "takes one pass for each sample"
    return f"Sampler and steps are not used: '{checkpoint.name}' {why}."


def _few(request: Request, checkpoint: Checkpoint) -> str:
    """A line for fewer samples of a pool than it takes for each member to have drawn; empty: they are enough."""
    assert request.n is not None
    silent = [name for name in checkpoint.card.turns if name not in drawn_by(checkpoint, request.n)]
    if checkpoint.card.model != POOL or not silent:
        return ""
    return (
        f"With n = {request.n}, {', '.join(silent)} of '{checkpoint.name}' draw nothing: the spread is that of the "
        f"others, and too small. Take {whole_round(checkpoint)} samples or more."
    )


#: Raise when :func:`evenly_spread` chooses others: what was measured of them is kept.
SPREAD_OUT = 2


def make_job(prepared: PreparedVolume, checkpoint: Checkpoint, request: Request) -> Job:
    """A job on a volume that is prepared already.

    Raises:
        MrtransError: the request cannot be served.
    """
    request = request.resolved(checkpoint, prepared.volume)
    if request.three_planes:
        check_height(np.count_nonzero(prepared.area) * prepared.spacing[0], prepared.volume.name)
    images = prepared.orientation.to_canonical(prepared.normalised(request.pair.source))
    return Job(request, prepared, images, grid_of(prepared, checkpoint), _visiting_order(prepared, request))


def grid_of(prepared: PreparedVolume, checkpoint: Checkpoint) -> SliceGrid:
    """The grid on which a checkpoint sees a volume."""
    card = checkpoint.card
    return SliceGrid.fit(prepared.mask, prepared.spacing[1:], card.grid.spacing_mm, STEP, card.framing.least)


def common_step(models: Iterable[Model]) -> int:
    """Pixels in steps of which grids and frames grow, so that all these models can take them."""
    return math.lcm(STEP, *(model.multiple for model in models))


def in_steps(job: Job, framing: Framing, step: int) -> Job:
    """The job on a grid that networks can take whole: more black around it, as :meth:`Framing.pad` adds."""
    rows, columns = framing.margins(job.grid.shape, step)
    return replace(job, grid=SliceGrid(_grown(job.grid.rows, rows), _grown(job.grid.columns, columns)))


def _grown(axis: AxisMap, margin: tuple[int, int]) -> AxisMap:
    before, after = margin
    return replace(axis, n=axis.n + before + after, start=axis.start - axis.step * before)


def evenly_spread(prepared: PreparedVolume, count: int, among: NDArray[np.bool_] | None = None) -> range:
    """``count`` evenly spread axial slices of those large enough to have a novelty (fewer in a small volume), or from
    the first to the last of those ``among`` the canonical ones.

    As far from the top of the head as from its bottom, and the same slices whichever of the two is stored first.
    """
    area = prepared.area
    low, high = (int(i) for i in np.flatnonzero(area >= MIN_AREA * area.max() if among is None else among)[[0, -1]])
    spare = high - low
    step = max(1, min(round(spare / count), spare // max(count - 1, 1)))
    first = low + (spare - step * (count - 1) + 1) // 2
    chosen = range(first, first + step * count, step) if spare >= count else range(low, high + 1)
    stored = sorted(prepared.orientation.slice_index(i, len(area)) for i in (chosen[0], chosen[-1]))
    return range(stored[0], stored[1] + 1, chosen.step)


def _touched(prepared: PreparedVolume, roi: NDArray[Any]) -> set[int]:
    """Canonical indices of the slices that a region touches."""
    shape = prepared.volume.data.shape
    if np.shape(roi) != shape:
        raise MrtransError(f"The ROI has shape {np.shape(roi)}, the volume {shape}; they must share one grid.")
    touched = {int(i) for i in np.flatnonzero(prepared.orientation.to_canonical(inside(roi)).any(axis=(1, 2)))}
    if not touched:
        raise MrtransError("Nothing is marked in the ROI.")
    if not touched & {int(i) for i in np.flatnonzero(prepared.area)}:
        raise MrtransError("No head in the slices of the ROI; mark another region.")
    return touched


def _visiting_order(prepared: PreparedVolume, request: Request) -> list[int]:
    """Canonical indices of slices with head, nearest to the start first."""
    area, orientation = prepared.area, prepared.orientation
    start, slices = request.start_slice, request.slices
    count = len(area)
    first, stop = slices if isinstance(slices, tuple) else (0, count)
    if isinstance(slices, range):
        first, last = sorted((slices[0], slices[-1]))
        stop = last + 1
    if not 0 <= first < stop <= count:
        raise MrtransError(f"Slices {first}:{stop} are not within 0:{count}.")
    wanted = {orientation.slice_index(i, count) for i in (slices if isinstance(slices, range) else range(first, stop))}
    if request.roi is not None:
        touched = _touched(prepared, request.roi)
        if not wanted & touched:
            raise MrtransError(f"The ROI does not touch slices {first}:{stop}; choose others.")
        wanted &= touched
    filled = [int(i) for i in np.flatnonzero(area) if int(i) in wanted]
    if not filled:
        raise MrtransError(f"No head in slices {first}:{stop}; choose others.")
    if start is not None and not 0 <= start < count:
        raise MrtransError(f"Start slice {start} is not within 0:{count}.")
    centre = filled[len(filled) // 2] if start is None else orientation.slice_index(start, count)
    return sorted(filled, key=lambda i: (abs(i - centre), i))
