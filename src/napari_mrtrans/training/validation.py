"""Quick numbers and pictures while a model trains; the real report is :mod:`napari_mrtrans.training.evaluate`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checkpoint import SamplerDefaults
from ..contrasts import Pair
from ..models import Model
from ..samplers import Predict, plan
from .data.slices import Item

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
