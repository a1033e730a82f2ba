"""What the mirror image of a slice is worth: each checkpoint with its samples on both sides, and on one.

On evenly spread slices of the validation (or test) people, six pairs; figures as of pools.py.

    python benchmarks/mirror.py t1-t2-flair-direct t1-t2-flair-flow --data DATA [--part test] [--slices 96] [-n 12]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from pools import NAMES, cells_of, figures_of, slices_of

from napari_mrtrans import load_checkpoint
from napari_mrtrans.devices import bf16_is_fast, describe_machine
from napari_mrtrans.models.drawing import mirrored
from napari_mrtrans.models.families import POOL
from napari_mrtrans.training.validation import draw


def main() -> None:
    """Print a line for each checkpoint and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--slices", type=int, default=96, help="of all pairs together")
    parser.add_argument("-n", type=int, default=12, help="samples")
    asked = parser.parse_args()
    device = torch.device("cpu")
    print(f"| {asked.part}, n = {asked.n} | {' | '.join(NAMES)} | slices better |\n{'|---' * (len(NAMES) + 2)}|")
    for name in asked.checkpoints:
        checkpoint = load_checkpoint(name)
        if checkpoint.card.model == POOL:
            parser.error(f"'{name}' is a pool; give its members")
        model, sampler = checkpoint.build(), checkpoint.card.sampler
        chosen = slices_of(asked.data, checkpoint, model.multiple, asked.part, asked.slices)
        found = {}
        for mirror in (False, True):
            own = sampler.model_copy(update={"mirror": mirror})
            rows = []
            for one in chosen:
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_fast("cpu")):
                    drawn = draw(model, one, range(1 if model.deterministic else asked.n), device, own)
                samples = drawn[:, 0].float().numpy()
                sides = [[k for k in range(len(samples)) if mirrored(k) == side] for side in (False, True)]
                groups = [samples[side] for side in sides] if mirror and len(samples) > 1 else [samples]
                rows.append(figures_of(one, groups))
            found[mirror] = np.array(rows)
        better = int((found[True][:, 0] > found[False][:, 0]).sum())
        for mirror, told in ((False, "–"), (True, f"{better} of {len(chosen)}")):
            cells = " | ".join(cells_of(found[mirror]))
            print(f"| {name}, {'both sides' if mirror else 'one side'} | {cells} | {told} |", flush=True)
    print(f"\n{describe_machine('cpu')}, torch {torch.__version__}.")


if __name__ == "__main__":
    main()
