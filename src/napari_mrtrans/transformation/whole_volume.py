"""A whole volume through a checkpoint: all its slices gathered into an :class:`Ensemble`, and what they say of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..errors import MrtransError
from ..prepare.whole_head import fit_for_models
from ..scan.contrasts import Contrast
from ..scan.volume import Volume
from .engine import MAX_HELD
from .ensemble import Ensemble
from .gathered import Gathered, Settings
from .job import Range, check_pair, spread_slices
from .streaming import SliceUpdate, stream


def transform(
    volume: Volume,
    checkpoint: Checkpoint,
    *,
    target: Contrast | str,
    source: Contrast | str | None = None,
    n: int | None = None,
    seed: int = 0,
    slices: Range = None,
    steps: int | None = None,
    sampler: str | None = None,
    device: str = "auto",
    batch: int | str = "auto",
    mask: NDArray[Any] | None = None,
    repair: bool | None = None,
    prepare: bool | None = None,
    keep_samples: bool = False,
    progress: Callable[[SliceUpdate], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> Ensemble:
    """Transform a whole volume (or a range of slices). Arguments as :func:`stream`.

    Args:
        keep_samples: Keep all samples (n times the memory of the volume).
        progress: Told every finished slice.

    Raises:
        MrtransError: the request cannot be served.
    """
    began = time.perf_counter()
    notices: list[str] = []

    def note(line: str) -> None:
        notices.append(line)
        if status is not None:
            status(line)

    defaults = checkpoint.card.sampler
    n = 1 if checkpoint.deterministic else defaults.n if n is None else n
    repair = checkpoint.repairs_outliers if repair is None else repair
    if keep_samples and n > MAX_HELD:
        raise MrtransError(f"At most {MAX_HELD} samples can be kept; lower n or drop --save-samples.")
    kept = max(n, 0) if keep_samples else 0
    gathered = Gathered(volume.data.shape, volume.axial_axis, median=n <= MAX_HELD, samples=kept)
    for update in stream(
        volume, checkpoint, target=target, source=source, n=n, seed=seed, slices=slices, steps=steps, sampler=sampler,
        device=device, batch=batch, mask=mask, repair=repair, prepare=prepare, status=note,
    ):  # fmt: skip
        gathered.add(update)
        if progress is not None:
            progress(update)
    pair = check_pair(volume, checkpoint, source, target)
    settings = Settings(pair, n, seed, steps, sampler, device, repair)
    return gathered.ensemble(volume, checkpoint, settings, round(time.perf_counter() - began, 3), notices)


def assess(
    volume: Volume,
    checkpoint: Checkpoint,
    *,
    target: Contrast | str,
    n: int | None = None,
    count: int = 5,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """How unlike the training scans a volume is, from ``count`` evenly spread axial slices; other arguments as above.

    Returns:
        The part of :attr:`Ensemble.info` that tells it.

    Raises:
        MrtransError: the request cannot be served.
    """
    notices: list[str] = []
    volume, mask = fit_for_models(volume, None, None, notices.append)
    where = spread_slices(volume, checkpoint, check_pair(volume, checkpoint, None, target), count)
    info = transform(
        volume,
        checkpoint,
        target=target,
        n=n,
        seed=seed,
        slices=where,
        device=device,
        mask=mask,
        prepare=False,
        status=notices.append,
    ).info
    names = ("input", "source", "target", "checkpoint", "sha256", "n", "seed", "slices_done", "sigma_hat")
    return {**{name: info[name] for name in (*names, "ood_probability", "verdict", "ood_scores")}, "notices": notices}
