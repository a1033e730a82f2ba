"""Quick numbers and pictures while a model trains; the real report is :mod:`napari_mrtrans.evaluation.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoints.card import SamplerDefaults
from ..datasets.store import Decoded, Source
from ..metrics.uncertainty import crps
from ..models import Model, drawing
from ..models.drawing import Places, Way
from ..models.noise import Noise
from ..models.sampler_plan import plan
from ..scan.contrasts import Pair
from ..scan.framing import STEP, Box, Framing
from ..scan.neighbours import seen

SAMPLES = 4
SEED = 0


@dataclass(frozen=True)
class FixedSlice:
    """A slice that a training run is judged by again and again, framed as the engine frames it.

    Attributes:
        pair: What it shows and what is to be made of it.
        source: (plane, row, column) in [0, 1]: the slice itself, then its neighbours if the model sees them.
        target: (row, column) in [0, 1].
        grid: Size of the model's grid.
        box: Where in it the frame lies.
        position: Of the slice, in mm from the first one.
    """

    pair: Pair
    source: NDArray[np.float32]
    target: NDArray[np.float32]
    grid: tuple[int, int]
    box: Box
    position: float = 0.0


def fixed_slices(
    source: Source,
    pairs: tuple[Pair, ...],
    count: int,
    frame: tuple[Framing, int],
    *,
    least: float = 0.4,
    neighbours_mm: float = 0.0,
) -> list[FixedSlice]:
    """``count`` evenly spread, unaugmented slice pairs.

    Args:
        source: Whose.
        pairs: Which; sessions take turns, and so do their pairs.
        count: How many.
        frame: What a network sees of them: the framing and the network's own multiple.
        neighbours_mm: Of the network.
        least: Of the head's area in the session's largest slice, below which slices are left out.
    """
    out: list[FixedSlice] = []
    for i in range(count if source.sessions else 0):
        index = i % len(source.sessions)
        usable = [p for p in pairs if {*p} <= {*source.sessions[index].contrasts}]
        if not usable:
            continue
        decoded = source[index]
        thick = np.flatnonzero(decoded.area > least * decoded.area.max())
        wanted = thick[round((i + 0.5) / count * (len(thick) - 1))]
        pair = usable[i // len(source.sessions) % len(usable)]
        shown = np.flatnonzero(decoded.shown(pair) & (decoded.area > 0))
        places = next(some for some in (np.intersect1d(thick, shown), shown, thick) if some.size)
        z = int(places[np.abs(places - wanted).argmin()])
        out.append(fixed_slice(decoded, pair, z, frame, neighbours_mm))
    return out


def fixed_slice(
    decoded: Decoded, pair: Pair, z: int, frame: tuple[Framing, int], neighbours_mm: float = 0.0
) -> FixedSlice:
    """Slice ``z`` of a session, as a network sees it; ``frame`` and ``neighbours_mm`` as of :func:`fixed_slices`."""
    first, second = (decoded.images[decoded.contrasts.index(contrast)] for contrast in pair)
    slab = first[seen(z, len(first), decoded.spacing, neighbours_mm)]
    source, target = (np.asarray(part, dtype=np.float32) for part in (slab, second[z]))
    return framed(pair, source, target, *frame, position=z * decoded.spacing)


def framed(
    pair: Pair,
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    framing: Framing,
    multiple: int,
    position: float = 0.0,
) -> FixedSlice:
    """A slice (plane, row, column) of the model's grid, cut to its frame; ``position`` in mm from the first slice."""
    step = max(STEP, multiple)
    first, second = framing.pad(source, step), framing.pad(target, step)
    box = framing.box(first[0], step)
    return FixedSlice(pair, first[:, *box], second[box], (second.shape[0], second.shape[1]), box, position)


@torch.no_grad()
def draw(model: Model, one: FixedSlice, samples: range, device: torch.device, sampler: SamplerDefaults) -> Tensor:
    """Samples of a slice in [0, 1], (samples, 1, H, W): exactly those that the engine draws with :data:`SEED`."""
    way = Way(*plan(model, sampler.name, sampler.steps, sampler.sigma_min, sampler.sigma_max))
    x = torch.from_numpy(one.source)[None].to(device)
    places = Places(one.grid, [one.box], [one.position], sampler.mirror)
    noise = Noise(SEED, stream=model.stream)
    return drawing.draw(model, x, one.pair, places, noise, samples, way)[0, :, None].clamp(0, 1)


@torch.no_grad()
def validate(
    model: Model,
    held: list[FixedSlice],
    device: torch.device,
    board: Any | None,
    step: int,
    sampler: SamplerDefaults,
) -> dict[str, float]:
    """PSNR inside the head (dB, range 1) averaged over held-out slices.

    Unless deterministic, also mean std / RMSE and CRPS; ``psnr`` is then that of the mean of 4 samples, in antithetic
    pairs, and ``crps`` of one of each pair: with ``sampler.mirror`` of one of either side, which flatters it by some
    thousandths of it.
    """
    was_training = model.training
    model.eval()
    psnrs, stds, squares, scores, rows = [], [], [], [], []
    for one in held:
        samples = draw(model, one, range(1 if model.deterministic else SAMPLES), device, sampler)
        x, y = (torch.from_numpy(image)[None, None].to(device) for image in (one.source[0], one.target))
        mean, std = samples.mean(0, keepdim=True), samples.std(0, correction=0, keepdim=True)
        inside = x > 0
        square = (mean - y)[inside].square()
        psnrs.append(float(-10 * square.mean().log10()))
        squares.append(float(square.mean()))
        stds.append(float(std[inside].mean()))
        if not model.deterministic:
            scores.append(crps(samples[::2, 0].float().cpu().numpy(), one.target, one.source[0] > 0))
        rows.append(torch.cat([x, y, mean, (mean - y).abs(), 4 * std], dim=3)[0])
    metrics = {"psnr": sum(psnrs) / len(psnrs)}
    if not model.deterministic:
        metrics["std_over_rmse"] = (sum(stds) / len(stds)) / (sum(squares) / len(squares)) ** 0.5
        metrics["crps"] = sum(scores) / len(scores)
    if board is not None:
        for key, value in metrics.items():
            board.add_scalar(f"validation/{key}", value, step)
        board.add_image("validation/source-target-mean-error-std", rows[0].clamp(0, 1), step)
    model.train(was_training)
    return metrics
