"""How far the mean of n samples is from the mean of many: antithetic pairs against independent samples.

    python benchmarks/pairs.py [--checkpoint flow] [--many 64]

One slice of the built-in sample brain; the mean of many comes from other seeds. Root mean square over the head.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import napari_mrtrans as mt
from napari_mrtrans.transformation.engine import MAX_HELD

SLICE = 90
COUNTS = (2, 4, 10, 20)


def samples(checkpoint: mt.Checkpoint, n: int, seed: int) -> NDArray[np.float32]:
    """(n, H, W) of the slice."""
    (update,) = mt.stream(mt.sample_volume(), checkpoint, target="T2", slices=(SLICE, SLICE + 1), n=n, seed=seed)
    assert update.samples is not None
    return update.samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="flow")
    parser.add_argument("--many", type=int, default=64)
    arguments = parser.parse_args()
    if not max(COUNTS) * 2 <= arguments.many <= MAX_HELD:
        parser.error(f"--many {arguments.many}: {max(COUNTS) * 2} to {MAX_HELD}, for the samples themselves are kept.")
    checkpoint = mt.load_checkpoint(arguments.checkpoint)
    seeds = 3
    drawn = [samples(checkpoint, arguments.many, seed) for seed in range(seeds + 1)]
    head = drawn[0].any(axis=0)
    print("  n   pairs   independent   ratio")
    for n in COUNTS:
        error = {"pairs": 0.0, "independent": 0.0}
        for mine in drawn[:seeds]:
            truth = np.mean([other.mean(axis=0) for other in drawn if other is not mine], axis=0)
            for name, some in (("pairs", mine[:n]), ("independent", mine[::2][:n])):
                error[name] += float(np.square(some.mean(axis=0) - truth)[head].mean()) / seeds
        pairs, independent = (np.sqrt(error[name]) for name in ("pairs", "independent"))
        print(f"{n:3d}  {pairs:.4f}        {independent:.4f}    {independent / pairs:.2f}")


if __name__ == "__main__":
    main()
