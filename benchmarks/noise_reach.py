"""Coherence of neighbouring slices, and how far σ̂ moves with the seed, over the reach of the starting noise.

Twelve neighbouring slices tell the coherence (SCSSIM of the mean and of one sample, SSIM of neighbours), slices spread
over the head how σ̂ depends on the seed. A reach of 1e6 mm is the same noise for all slices.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mrtrans import Volume, metrics, transform
from napari_mrtrans.checkpoints.library import load_checkpoint
from napari_mrtrans.models import noise
from napari_mrtrans.scan.intensity import clean, head_mask, normalise

NEIGHBOURS = 12


def neighbours(volume: NDArray) -> float:
    """Mean SSIM of neighbouring slices, the last axis."""
    return float(np.mean([metrics.ssim(volume[..., i], volume[..., i + 1]) for i in range(volume.shape[-1] - 1)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="skull-stripped, slices along the last axis")
    parser.add_argument("target", type=Path)
    parser.add_argument("--checkpoint", default="t1-t2-flair-flow")
    parser.add_argument("--reach", type=float, nargs="+", default=[1e6, 32, 16, 8, 0.5], help="mm")
    parser.add_argument("--first", type=int, help="of the neighbouring slices; default: about the middle of the head")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-n", type=int, default=4)
    options = parser.parse_args()
    checkpoint, source, acquired = (
        load_checkpoint(options.checkpoint),
        *map(Volume.load, (options.source, options.target)),
    )
    assert acquired.contrast is not None
    data = clean(acquired.data)
    truth = normalise(data, head_mask(data), acquired.contrast)
    filled = np.flatnonzero(clean(source.data).any(axis=(0, 1)))
    first = int(filled[len(filled) // 2]) - NEIGHBOURS // 2 if options.first is None else options.first
    slab = slice(first, first + NEIGHBOURS)
    apart = range(int(filled[0]) + 20, int(filled[-1]) - 10, 9)
    for reach in options.reach:
        noise.REACH = reach
        noise._sheet.cache_clear()
        asked = {"target": acquired.contrast, "n": options.n}
        one = transform(source, checkpoint, slices=(slab.start, slab.stop), keep_samples=True, **asked)
        assert one.samples is not None
        mean, sample = one.mean[..., slab], one.samples[0][..., slab]
        true = np.where(mean > 0, truth[..., slab], 0)
        found = {"SCSSIM of the mean": metrics.scssim(mean, true, axis=2)}
        found["of a sample"] = metrics.scssim(sample, true, axis=2)
        for name, image in (("mean", mean), ("sample", sample), ("target", true)):
            found[f"neighbours, {name}"] = neighbours(image)
        hats = [
            transform(source, checkpoint, slices=apart, seed=seed, **asked).sigma_hat for seed in range(options.seeds)
        ]
        found["σ̂"], found["σ̂, cv over seeds"] = float(np.mean(hats)), float(np.std(hats, ddof=1) / np.mean(hats))
        print(f"reach {reach:g} mm: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
