"""Quick numbers and pictures while a model trains; the real report is :mod:`napari_mrtrans.evaluation.evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoints.checkpoint import SamplerDefaults
from ..datasets.store import Source
from ..models import Model
from ..models.base import contrast_index
from ..models.samplers import Predict, plan
from ..scan.contrasts import Pair
from .slices import Item

SAMPLES = 4


@torch.no_grad()
def validate(
    model: Model,
    held: list[tuple[Pair, Item]],
    device: torch.device,
    board: Any | None,
    step: int,
    sampler: SamplerDefaults,
) -> dict[str, float]:
    """PSNR inside the head (dB, range 1) averaged over held-out slices; unless deterministic, also mean std / RMSE.

    Of a model that samples, ``psnr`` is that of the mean of 4 samples.
    """
    run, sigmas = plan(model, sampler.name, sampler.steps, sampler.sigma_min, sampler.sigma_max)

    def solve(predict: Predict, start: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return run(
            predict,
            start * sigmas[0],
            sigmas,
            noise=lambda step: torch.randn(start.shape, generator=generator).to(start.device),
        )

    was_training = model.training
    model.eval()
    psnrs, stds, squares, rows = [], [], [], []
    for _, (source, target, first, second, _) in held:
        x = torch.from_numpy(source)[None, None].to(device)
        y = torch.from_numpy(target)[None, None].to(device)
        contrasts = torch.tensor([first], device=device), torch.tensor([second], device=device)
        n = 1 if model.deterministic else SAMPLES
        shape = (1, n, model.latent) if model.latent else (1, n, *source.shape)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
        samples = model.sample(x, *contrasts, noise, solve)[0, :, None].clamp(0, 1)
        mean, std = samples.mean(0, keepdim=True), samples.std(0, correction=0, keepdim=True)
        inside = x > 0
        square = (mean - y)[inside].square()
        psnrs.append(float(-10 * square.mean().log10()))
        squares.append(float(square.mean()))
        stds.append(float(std[inside].mean()))
        rows.append(torch.cat([x, y, mean, (mean - y).abs(), 4 * std], dim=3)[0])
    metrics = {"psnr": sum(psnrs) / len(psnrs)}
    if not model.deterministic:
        metrics["std_over_rmse"] = (sum(stds) / len(stds)) / (sum(squares) / len(squares)) ** 0.5
    if board is not None:
        for key, value in metrics.items():
            board.add_scalar(f"validation/{key}", value, step)
        board.add_image("validation/source-target-mean-error-std", rows[0].clamp(0, 1), step)
    model.train(was_training)
    return metrics


def fixed_slices(source: Source, pairs: tuple[Pair, ...], count: int, multiple: int) -> list[tuple[Pair, Item]]:
    """``count`` evenly spread, unaugmented slice pairs, padded to the network's multiple, for validation."""
    out: list[tuple[Pair, Item]] = []
    if not source.sessions:
        return out
    for i in range(count):
        index = i % len(source.sessions)
        usable = [p for p in pairs if {*p} <= {*source.sessions[index].contrasts}]
        if not usable:
            continue
        pair = usable[i % len(usable)]
        decoded = source[index]
        thick = np.flatnonzero(decoded.area > 0.4 * decoded.area.max())
        z = int(thick[round((i + 0.5) / count * (len(thick) - 1))])
        first, second = (
            _pad(np.asarray(decoded.images[decoded.contrasts.index(c), z], dtype=np.float32), multiple) for c in pair
        )
        out.append((pair, (first, second, contrast_index(pair.source), contrast_index(pair.target), index)))
    return out


def _pad(image: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    return np.pad(image, [(0, -n % multiple) for n in image.shape])
