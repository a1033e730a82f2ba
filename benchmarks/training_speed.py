"""Seconds of a training step in float32 and bfloat16, with the weights in either memory order, and compiled.

    python benchmarks/training_speed.py [--recipes direct-whole,flow-whole,t1-t2-flair-cgan] [--batch 8]

The training loop itself, on phantoms, one thread for each OMP_NUM_THREADS; the median of the steps after the first two.
`--formats float32` leaves out bfloat16; `--compiled` adds what `napari-mrtrans-train --compile` gives, after minutes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import torch

from napari_mrtrans.devices import cpu_name, to_channels_last
from napari_mrtrans.training import loop
from napari_mrtrans.training.catalogue import load_recipe
from napari_mrtrans.training.hardware import Hardware
from napari_mrtrans.training.loop import Progress
from napari_mrtrans.training.setup import open_splits

STEPS = 8
RECIPES = "direct-whole,flow-whole,t1-t2-flair-cgan"
#: Of the recipes, what would need another checkpoint or other sessions.
ALONE = [
    "start_from=null",
    "mean_checkpoint=null",
    "restyle=false",
    "restyle_from=null",
    "restyle_strength=1",
    "data.folders=[]",
]


def main() -> None:
    """Print a line for each recipe: seconds a step by number format and memory order."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipes", default=RECIPES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--formats", default="float32,bf16")
    parser.add_argument("--compiled", action="store_true")
    arguments = parser.parse_args()
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in arguments.recipes.split(","):
        found = []
        for number_format in arguments.formats.split(","):
            for way in ("", "channels last", *(["compiled"] if arguments.compiled else [])):
                seconds = _seconds_a_step(name, arguments.batch, number_format, way)
                found.append(f"{number_format}{way and ', '}{way} {seconds:.2f}")
        print(f"{name}: {'; '.join(found)} s a step of {arguments.batch}", flush=True)


def _seconds_a_step(name: str, batch: int, number_format: str, way: str) -> float:
    stage = f"stages=[{{steps: {STEPS}, batch: {batch}, crop: [176, 144]}}]"
    recipe = load_recipe(name, [*ALONE, stage, f"precision={number_format}", "validation_slices=1"])
    splits, _ = open_splits(recipe, None)
    splits.setdefault("validation", splits["train"])
    ends: list[float] = []

    def stepped(progress: Progress) -> None:
        ends.append(time.perf_counter())

    arrange = loop.arrange
    loop.arrange = lambda model, device, number_format: to_channels_last(model) if way == "channels last" else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            hardware = Hardware("cpu", compiled=way == "compiled")
            loop.train(recipe, splits, Path(folder), hardware=hardware, say=lambda line: None, progress=stepped)
    finally:
        loop.arrange = arrange
    return statistics.median(b - a for a, b in itertools.pairwise(ends[1:]))


if __name__ == "__main__":
    main()
