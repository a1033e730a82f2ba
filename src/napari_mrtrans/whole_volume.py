"""A whole volume through a checkpoint: all its slices gathered into an :class:`Ensemble`, and what they say of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import __version__
from .checkpoint import Checkpoint
from .contrasts import Contrast
from .engine import MAX_HELD
from .ensemble import Ensemble, sigma_hat
from .errors import MrtransError
from .job import Range, check_pair, spread_slices
from .ood import verdict
from .prepare.whole_head import fit_for_models
from .streaming import SliceUpdate, stream
from .volume import Volume


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
    from .devices import resolve_device

    began = time.perf_counter()
    shape, axis = volume.data.shape, volume.axial_axis
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
    mean, std = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    median = np.zeros(shape, dtype=np.float32) if n <= MAX_HELD else None
    samples = np.zeros((max(n, 0), *shape), dtype=np.float32) if keep_samples else None
    per_slice, novelty = np.full(volume.n_slices, np.nan), np.full(volume.n_slices, np.nan)
    weights = np.zeros(volume.n_slices)
    calibrated: NDArray[np.float32] | None = None
    repaired = 0
    for update in stream(
        volume, checkpoint, target=target, source=source, n=n, seed=seed, slices=slices, steps=steps, sampler=sampler,
        device=device, batch=batch, mask=mask, repair=repair, prepare=prepare, status=note,
    ):  # fmt: skip
        where: list[Any] = [slice(None)] * 3
        where[axis] = update.index
        mean[tuple(where)], std[tuple(where)] = update.mean, update.std
        if median is not None:
            median[tuple(where)] = update.median
        if samples is not None:
            samples[(slice(None), *where)] = update.samples
        if update.calibrated_std is not None:
            calibrated = np.zeros(shape, dtype=np.float32) if calibrated is None else calibrated
            calibrated[tuple(where)] = update.calibrated_std
        per_slice[update.index], weights[update.index] = update.sigma_hat, update.voxels
        novelty[update.index] = update.novelty
        repaired += update.repaired
        if progress is not None:
            progress(update)
    known = np.isfinite(per_slice) & (weights > 0)
    overall = float(np.average(per_slice[known], weights=weights[known])) if known.any() else float("nan")
    pair = check_pair(volume, checkpoint, source, target)
    ood = checkpoint.calibration.ood if checkpoint.calibration else None
    scores = ood.scores(pair.key, n, overall, per_slice, novelty) if ood else {}
    probability = ood.assess(scores) if ood else None
    info = {
        "napari_mrtrans": __version__,
        "input": str(volume.path or volume.name),
        "source": pair.source.value,
        "target": pair.target.value,
        "checkpoint": checkpoint.name,
        "sha256": checkpoint.sha256,
        "model": checkpoint.card.model,
        "units": checkpoint.card.units,
        "seed": seed,
        "n": n,
        "sampler": None if checkpoint.single_pass else sampler or defaults.name,
        "steps": 1 if checkpoint.single_pass else None if sampler == "reference" else steps or defaults.steps,
        "device": str(resolve_device(device)[0]),
        "seconds": round(time.perf_counter() - began, 3),
        "repair": repair and n <= MAX_HELD,
        "repaired_voxels": repaired,
        "slices_done": int((weights > 0).sum()),
        "sigma_hat": _number(overall),
        "sigma_hat_per_slice": [_number(value) for value in per_slice],
        "sigma_hat_calibrated": None if calibrated is None else _number(sigma_hat(calibrated, calibrated > 0)),
        "ood_probability": None if probability is None else _number(probability),
        "verdict": verdict(probability),
        "ood_scores": {name: _number(value) for name, value in scores.items()},
        "ood_novelty_per_slice": [_number(value) for value in novelty] if ood else None,
        "notices": notices,
        "intended_use": "research only, not for diagnosis",
    }
    return Ensemble(volume, mean, std, median, samples, per_slice, overall, info, calibrated)


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


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
