"""AdamW and Muon on the same slices from the same start: validation PSNR after equal steps, and the time of a step.

    python benchmarks/optimisers.py [--data DATA] [--recipe direct-whole] [--steps 300] [--every 300] [--batch 8]

Without --data on phantoms alone, which says little of scans. Also times torch.optim.Muon's orthogonalisation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch.optim._muon import _zeropower_via_newtonschulz  # what torch.optim.Muon does, without its state

from napari_mrtrans.checkpoints.checkpoint import read_checkpoint
from napari_mrtrans.training.catalogue import load_recipe
from napari_mrtrans.training.loop import train
from napari_mrtrans.training.muon import orthogonalised
from napari_mrtrans.training.setup import open_splits

RECIPE = "direct-whole"


def main() -> None:
    """Print each optimiser's validations and its end, and a line for the orthogonalisation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=300, help="steps from one validation to the next")
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    overrides = [f"stages.0.steps={arguments.steps}", f"stages.0.batch={arguments.batch}", "ema=0.99"]
    overrides += ["optimiser.warmup=50", f"validate_every={arguments.every}"]
    for name in ("adamw", "muon"):
        recipe = load_recipe(arguments.recipe, [*overrides, f"optimiser.name={name}"])
        splits, _ = open_splits(recipe, arguments.data)
        splits.setdefault("validation", splits["train"])
        with tempfile.TemporaryDirectory() as folder:
            card = read_checkpoint(train(recipe, splits, Path(folder), say=partial(print, f"{name}:"))).card
        assert card.training is not None
        seconds = 3600 * card.training.hours / card.steps
        print(f"{name}: {card.metrics['validation']}, {seconds:.2f} s a step, {card.training.device}", flush=True)
    matrix = torch.randn(128, 1152)
    print(f"orthogonalising 128 x 1152, bfloat16 over float32: {_seconds(True, matrix) / _seconds(False, matrix):.1f}")


def _seconds(bf16: bool, matrix: torch.Tensor) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        if bf16:
            _zeropower_via_newtonschulz(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7)
        else:
            orthogonalised(matrix[None])
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    main()
