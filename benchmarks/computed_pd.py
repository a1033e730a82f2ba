"""How well checkpoints know PD: PSNR in dB on slices of people held out, whose PD is computed, and of new phantoms.

    python benchmarks/computed_pd.py CHECKPOINT … --data DATA [--part validation] [--slices 96] [-n 8] [--phantoms 6]

"fitted" allows each slice one gain and one offset, for scanners differ in how bright they make what. The look-up table
is the best monotone curve from source to target intensity, fitted to the very slices that it is judged on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import napari_mrtrans as mt
from napari_mrtrans.datasets.phantom import Phantom
from napari_mrtrans.datasets.phantom_options import PhantomOptions
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.evaluation.lookup import best_curve
from napari_mrtrans.metrics import psnr
from napari_mrtrans.paths import training_cache_dir
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.validation import FixedSlice, draw, fixed_slices

#: Of computed PD, as the recipes of the shipped files have it (but ``ncsn``'s, whose is 15); of phantoms that no recipe
#: draws.
PD_SEED, PHANTOM_SEED = 4, 1_000
LOOKUP = "look-up table"

Scores = dict[Pair, list[tuple[float, float]]]


def score(answer: NDArray[np.floating], one: FixedSlice) -> tuple[float, float]:
    """PSNR inside the head, plain and with a gain and an offset."""
    inside = one.source[0] > 0
    x, y = answer[inside].astype(float), one.target[inside].astype(float)
    return psnr(x, y), psnr(np.polyval(np.polyfit(x, y, 1), x), y)


def of_table(chosen: list[FixedSlice]) -> Scores:
    """The look-up table's, of each pair's slices."""
    scores: Scores = {}
    for pair in dict.fromkeys(one.pair for one in chosen):
        mine = [one for one in chosen if one.pair == pair]
        x = np.concatenate([one.source[0][one.source[0] > 0] for one in mine])
        y = np.concatenate([one.target[one.source[0] > 0] for one in mine])
        best = best_curve(x, y)
        scores[pair] = [score(best.predict(one.source[0].ravel()).reshape(one.target.shape), one) for one in mine]
    return scores


def of_checkpoint(checkpoint: mt.Checkpoint, chosen: list[FixedSlice], n: int) -> Scores:
    """A checkpoint's: of its answer, or of the mean of ``n`` samples."""
    model, scores = checkpoint.build().eval(), Scores()
    samples = range(1 if model.deterministic else n)
    for one in chosen:
        mean = draw(model, one, samples, torch.device("cpu"), checkpoint.card.sampler).mean(0)[0].numpy()
        scores.setdefault(one.pair, []).append(score(mean, one))
    return scores


def show(name: str, scores: Scores) -> None:
    """One line."""
    every = np.mean([pair for pairs in scores.values() for pair in pairs], axis=0)
    means = {pair.key: np.mean(values, axis=0) for pair, values in scores.items()}
    told = ", ".join(f"{key} {plain:.2f} ({fitted:.2f})" for key, (plain, fitted) in means.items())
    print(f"  {name:<28} {every[0]:.2f} ({every[1]:.2f} fitted): {told}", flush=True)


def main() -> None:
    """Print a line for each checkpoint, and one of the look-up table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="validation")
    parser.add_argument("--slices", type=int, default=96)
    parser.add_argument("-n", type=int, default=8, help="samples")
    parser.add_argument("--phantoms", type=int, default=6)
    arguments = parser.parse_args()
    files = [mt.load_checkpoint(name) for name in arguments.checkpoints]
    first = files[0]
    model = first.build()
    pairs = tuple(pair for pair in first.pairs if Contrast.PD in pair)
    found = sessions_of(arguments.data, first, arguments.part).values()
    of_people = tuple(replace(session, pd_seed=PD_SEED) for session in found)
    of_phantoms = tuple(Phantom(PHANTOM_SEED, index, PhantomOptions()) for index in range(arguments.phantoms))
    for kind, sessions in ((f"{arguments.part} people", of_people), ("phantoms", of_phantoms)):
        if not sessions:
            continue
        source = Source(sessions, first.card.grid.spacing_mm, training_cache_dir())
        frame = (first.card.framing, model.multiple)
        chosen = fixed_slices(source, pairs, arguments.slices, frame, least=0.02, neighbours_mm=model.neighbours_mm)
        print(f"{kind}, {len(chosen)} slices")
        show(LOOKUP, of_table(chosen))
        for name, file in zip(arguments.checkpoints, files, strict=True):
            show(Path(name).stem, of_checkpoint(file, chosen, arguments.n))


if __name__ == "__main__":
    main()
