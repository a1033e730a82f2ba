"""A request for a transformation, checked, and its volume brought onto the model's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import does_not_serve_line
from ..errors import CheckpointError, MrtransError, VolumeError
from ..ood.image_quality import MIN_AREA
from ..scan.contrasts import Contrast, Pair
from ..scan.grid import Orientation, SliceGrid
from ..scan.intensity import clean, head_mask, is_whole_head, normalise
from ..scan.volume import Volume

#: Slices are cropped to the head, in steps of this many pixels (or the network's own multiple).
BOX_STEP = 16

Range = range | tuple[int, int] | None

WHOLE_HEAD = (
    "'{}' looks like a whole head; the models know skull-stripped brains. Strip it first, or give a brain mask."
)


@dataclass(frozen=True)
class Job:
    """A request, checked and brought onto the model's grid; slices are canonical (slice, row, column), spaced in mm."""

    images: NDArray[np.float32]
    mask: NDArray[np.bool_]
    orientation: Orientation
    grid: SliceGrid
    pair: Pair
    n: int
    seed: int
    steps: int
    sampler: str
    order: list[int]
    repair: bool
    slice_spacing: float
    notices: tuple[str, ...] = ()


def check_request(
    volume: Volume,
    checkpoint: Checkpoint,
    target: Contrast | str,
    source: Contrast | str | None = None,
    n: int | None = None,
    seed: int = 0,
    start_slice: int | None = None,
    slices: Range = None,
    steps: int | None = None,
    sampler: str | None = None,
    mask: NDArray[Any] | None = None,
    repair: bool | None = None,
) -> Job:
    """Check a request and put the volume on the model's grid. Arguments as :func:`stream`.

    Raises:
        MrtransError: the request cannot be served.
    """
    pair = check_pair(volume, checkpoint, source, target)
    defaults = checkpoint.card.sampler
    n = 1 if checkpoint.deterministic else defaults.n if n is None else n
    steps = defaults.steps if steps is None else steps
    sampler = defaults.name if sampler is None else sampler
    if n < 1 or steps < 1 or seed < 0:
        raise MrtransError("Samples and steps must be at least 1, and the seed at least 0.")
    orientation = Orientation.from_affine(volume.affine)
    data = clean(volume.data)
    head = head_mask(data) if mask is None else _check_mask(mask, volume) & (data > 0)
    images = orientation.to_canonical(normalise(data, head, pair.source))
    canonical = orientation.to_canonical(head)
    sizes = volume.voxel_sizes[list(orientation.order)]
    grid = SliceGrid.fit(canonical, (float(sizes[1]), float(sizes[2])), checkpoint.card.grid.spacing_mm, BOX_STEP)
    order = _visiting_order(canonical, orientation, start_slice, slices)
    whole = mask is None and is_whole_head(data, volume.voxel_sizes, head)
    notices = (WHOLE_HEAD.format(volume.name),) if whole else ()
    repair = checkpoint.repairs_outliers if repair is None else repair
    spacing = float(sizes[0])
    return Job(images, canonical, orientation, grid, pair, n, seed, steps, sampler, order, repair, spacing, notices)


def spread_slices(volume: Volume, checkpoint: Checkpoint, pair: Pair, count: int) -> range:
    """``count`` evenly spread axial slices of those large enough to have a novelty (fewer in a small volume)."""
    return evenly_spread(check_request(volume, checkpoint, pair.target, pair.source), count)


def evenly_spread(job: Job, count: int) -> range:
    """:func:`spread_slices` of a job, along the volume's axial axis."""
    area = job.mask.sum(axis=(1, 2))
    ends = (
        job.orientation.slice_index(int(i), len(area)) for i in np.flatnonzero(area >= MIN_AREA * area.max())[[0, -1]]
    )
    low, high = sorted(ends)
    step = max(1, (high - low) // (count + 1))
    return range(low + step, min(low + step * (count + 1), high + 1), step) or range(low, high + 1)


def check_pair(volume: Volume, checkpoint: Checkpoint, source: Contrast | str | None, target: Contrast | str) -> Pair:
    chosen = volume.contrast if source is None else Contrast.parse(source)
    if chosen is None:
        raise MrtransError(
            f"The contrast of '{volume.name}' is not known from its name; say it with --from T1 (source=\"T1\")."
        )
    pair = Pair(chosen, Contrast.parse(target))
    if pair.source == pair.target:
        raise MrtransError(f"'{volume.name}' is {pair.source} already; choose another target.")
    if pair not in checkpoint.pairs:
        raise CheckpointError(does_not_serve_line(checkpoint, pair))
    return pair


def _check_mask(mask: NDArray[Any], volume: Volume) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.shape != volume.data.shape:
        raise VolumeError(
            f"The mask has shape {array.shape}, '{volume.name}' has {volume.data.shape}; they must lie on one grid."
        )
    inside = np.nan_to_num(array) > 0
    if not inside.any():
        raise VolumeError("The mask is empty.")
    return np.asarray(inside, dtype=bool)


def _visiting_order(mask: NDArray[np.bool_], orientation: Orientation, start: int | None, slices: Range) -> list[int]:
    """Canonical indices of slices with head, nearest to the start first."""
    count = len(mask)
    if isinstance(slices, range) and not slices:
        raise MrtransError("The range of slices is empty.")
    first, stop = (0, count) if slices is None else (slices[0], slices[-1] + 1) if isinstance(slices, range) else slices
    if not 0 <= first < stop <= count:
        raise MrtransError(f"Slices {first}:{stop} are not within 0:{count}.")
    wanted = {orientation.slice_index(i, count) for i in (slices if isinstance(slices, range) else range(first, stop))}
    filled = [int(i) for i in np.flatnonzero(mask.any(axis=(1, 2))) if int(i) in wanted]
    if not filled:
        raise MrtransError(f"No head in slices {first}:{stop}; choose others.")
    if start is not None and not 0 <= start < count:
        raise MrtransError(f"Start slice {start} is not within 0:{count}.")
    centre = filled[len(filled) // 2] if start is None else orientation.slice_index(start, count)
    return sorted(filled, key=lambda i: (abs(i - centre), i))
