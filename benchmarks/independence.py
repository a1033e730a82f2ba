"""Are models that sample models of their own? From one seed, how alike are the deviations of their samples?

    python benchmarks/independence.py CHECKPOINT CHECKPOINT... --data DATA [--slices 12] [-n 6] [--one-noise]

As they are drawn, each family has noise of its own; with --one-noise all start from the same. On slices of the first
checkpoint's validation people. For each model PSNR of the mean and mean std / RMSE; for each two of them the
correlation of (sample - mean) and of std over the head, and whether they have weights in common.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import napari_mrtrans as mt
from napari_mrtrans.checkpoints.shared import sharing
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.paths import training_cache_dir
from napari_mrtrans.scan.framing import Framing
from napari_mrtrans.training.validation import draw, fixed_slices

FRAME = (Framing(rows=176, columns=144), 16)


def main() -> None:
    """Print a line for each model, and for each two of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("-n", type=int, default=6)
    parser.add_argument("--one-noise", action="store_true")
    arguments = parser.parse_args()
    checkpoints = [mt.load_checkpoint(name) for name in arguments.checkpoints]
    sessions = tuple(sessions_of(arguments.data, checkpoints[0], "validation").values())
    source = Source(sessions, checkpoints[0].card.grid.spacing_mm, training_cache_dir())
    pairs = tuple(p for p in checkpoints[0].pairs if all(p in c.pairs for c in checkpoints))
    chosen = fixed_slices(source, pairs, arguments.slices, FRAME)
    deviations: list[NDArray[np.float32]] = []
    spreads: list[NDArray[np.float32]] = []
    for checkpoint in checkpoints:
        model, psnr, squares, parts, stds = checkpoint.build(), [], [], [], []
        count = 1 if model.deterministic else arguments.n
        if arguments.one_noise:
            model.stream = 0
        for one in chosen:
            samples = draw(model, one, range(count), torch.device("cpu"), checkpoint.card.sampler)[:, 0].numpy()
            inside, mean = one.source[0] > 0, samples.mean(axis=0)
            square = np.square(mean - one.target)[inside].mean()
            psnr.append(-10 * np.log10(square))
            squares.append(square)
            parts.append((samples - mean)[:, inside].ravel())
            stds.append(samples.std(axis=0)[inside])
        deviations.append(np.concatenate(parts))
        spreads.append(np.concatenate(stds))
        ratio = np.mean([std.mean() for std in stds]) / np.sqrt(np.mean(squares))
        print(f"{checkpoint.name}: mean of {count} {np.mean(psnr):.2f} dB, std / RMSE {ratio:.2f}", flush=True)
    for first, second in itertools.combinations(range(len(checkpoints)), 2):
        names = f"{checkpoints[first].name}, {checkpoints[second].name}"
        shared = "weights in common" if sharing([checkpoints[first], checkpoints[second]]) else "no common weights"
        if deviations[first].shape == deviations[second].shape and deviations[first].any() and deviations[second].any():
            alike = np.corrcoef(deviations[first], deviations[second])[0, 1]
            maps = np.corrcoef(spreads[first], spreads[second])[0, 1]
            print(f"{names}: deviations correlate {alike:.3f}, std maps {maps:.3f}, {shared}")
        else:
            print(f"{names}: {shared}")


if __name__ == "__main__":
    main()
