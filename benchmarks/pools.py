"""What taking samples of several models together brings: PSNR of the mean, width and CRPS of the spread.

On evenly spread slices of a checkpoint's validation (or test) people, six pairs. The CRPS is that of the mixture; 90 %
is how many voxels lie within the mean ± 1.64 standard deviations, as sampled; rank: Spearman's rank correlation of
standard deviation and |error|; intensity: that of plain intensity. Of a model that gives one answer (direct:1) the PSNR
alone.

    python benchmarks/pools.py --data DATA --pool flow:20 --pool flow:12,cgan:8
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from napari_mrtrans import load_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.checkpoints.correction import Z90
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.devices import describe_machine
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.metrics.uncertainty import crps, rank_correlation, rank_of_intensity
from napari_mrtrans.paths import training_cache_dir
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.validation import FixedSlice, draw, fixed_slices

CONTRASTS = (Contrast.T1, Contrast.T2, Contrast.FLAIR)
PAIRS = [Pair(a, b) for a in CONTRASTS for b in CONTRASTS if a != b]
NAMES = ("PSNR (dB)", "std / RMSE", "CRPS", "90 % holds", "rank", "intensity")


def main() -> None:
    """Print a line for each pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pool", action="append", required=True, metavar="MODEL:SAMPLES,…", type=_pool)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--slices", type=int, default=36, help="of all pairs together")
    asked = parser.parse_args()
    most: dict[str, int] = {}
    for pool in asked.pool:
        for name, count in pool.items():
            most[name] = max(count, most.get(name, 0))
    checkpoints = {name: load_checkpoint(name) for name in most}
    models = {name: checkpoint.build() for name, checkpoint in checkpoints.items()}
    multiple = next(iter(models.values())).multiple
    chosen = slices_of(asked.data, next(iter(checkpoints.values())), multiple, asked.part, asked.slices)
    rows: list[list[list[float]]] = [[] for _ in asked.pool]
    for one in chosen:
        drawn = {}
        for name, count in most.items():
            samples = draw(models[name], one, range(count), torch.device("cpu"), checkpoints[name].card.sampler)
            drawn[name] = samples[:, 0].numpy()
        for figures, pool in zip(rows, asked.pool, strict=True):
            figures.append(figures_of(one, [drawn[name][:count] for name, count in pool.items()]))
    print(f"| {asked.part}, {len(chosen)} slices | {' | '.join(NAMES)} |\n{'|---' * (len(NAMES) + 1)}|")
    for figures, pool in zip(rows, asked.pool, strict=True):
        what = ", ".join(f"{count} of {name}" for name, count in pool.items())
        print(f"| {what} | {' | '.join(cells_of(figures))} |")
    print(f"\n{describe_machine('cpu')}, torch {torch.__version__}.")


def _pool(text: str) -> dict[str, int]:
    return {name: int(count) for name, _, count in (part.partition(":") for part in text.split(","))}


def cells_of(rows: ArrayLike) -> list[str]:
    """The means of :func:`figures_of` over slices, as :data:`NAMES` has them."""
    psnr, std, rmse, score, held, rank, plain = np.mean(rows, axis=0)
    cells = ((psnr, 2), (std / rmse, 2), (score, 4), (held, 2), (rank, 3), (plain, 3))
    return ["–" if np.isnan(value) else f"{value:.{digits}f}" for value, digits in cells]


def slices_of(root: Path, checkpoint: Checkpoint, multiple: int, part: str, count: int) -> list[FixedSlice]:
    """Evenly spread ones of a checkpoint's people, six pairs."""
    sessions = sessions_of(root, checkpoint, part)
    source = Source(tuple(sessions.values()), checkpoint.card.grid.spacing_mm, training_cache_dir())
    frame = (checkpoint.card.framing, multiple)
    return [one for pair in PAIRS for one in fixed_slices(source, (pair,), count // len(PAIRS), frame)]


def figures_of(one: FixedSlice, groups: list[NDArray[np.float32]]) -> list[float]:
    """PSNR, mean std, RMSE, CRPS, what the 90 % interval holds, both ranks; samples in the order of their numbers."""
    samples = np.concatenate(groups)
    inside = (one.source[0] > 0) & (one.target > 0)
    mean = samples.mean(axis=0)
    error = one.target - mean
    square = float(np.square(error[inside]).mean())
    if len(samples) == 1:  # of a model that gives one answer
        return [-10 * np.log10(square), *[np.nan] * 6]
    std = samples.std(axis=0, ddof=1)
    strata = [number for number, group in enumerate(groups) for _ in group[::2]]
    independent = np.concatenate([group[::2] for group in groups])
    return [
        -10 * np.log10(square),
        float(samples.std(axis=0)[inside].mean()),
        square**0.5,
        crps(independent, one.target, inside, strata),
        float((np.abs(error) < Z90 * std)[inside].mean()),
        rank_correlation(std, error, inside),
        rank_of_intensity(mean, one.source[0], error, inside),
    ]


if __name__ == "__main__":
    main()
