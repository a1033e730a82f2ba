"""The brain's rim on scans whose voxels are not the model's pixels: PSNR and bias, as it comes back and divided by how
much of the head the model's pixels hold.

    python benchmarks/rim.py --data DATA [--checkpoint t1-t2-flair-direct] [--part train] [--people 6]

Two slices of each pair of the sessions with other voxels than the model's pixels, inside the heads of source and
target; the rim is their outermost voxel in the slice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from scipy import ndimage

import napari_mrtrans as mt
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.devices import describe_machine
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation.held_out import PairedVolumes, sessions_of
from napari_mrtrans.scan import grid


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", default="t1-t2-flair-direct")
    parser.add_argument("--part", choices=["train", "validation", "test"], default="train")
    parser.add_argument("--people", type=int, default=6)
    asked = parser.parse_args()
    checkpoint = mt.load_checkpoint(asked.checkpoint)
    least, figures = grid.LEAST_HEAD, []
    for opened, pair in islice(_pairs(asked.data, checkpoint, asked.part), asked.people * len(checkpoint.pairs)):
        row = []
        for share in (1.0, least):  # 1: nothing is magnified
            grid.LEAST_HEAD = share
            row.append(_figures(opened, pair, checkpoint))
        figures.append(row)
    psnr, bias, share = np.mean(figures, axis=0).T
    print(f"{asked.part}, {len(figures)} scans and pairs, {describe_machine('cpu')}; rim: {share[0]:.1%} of the head")
    for way, db, rim in zip(("as it comes back", "divided"), psnr, bias, strict=True):
        print(f"{way}: {db:.2f} dB, bias of the rim {rim:+.3f}")
    gains = np.diff(np.array(figures)[..., 0], axis=1)[:, 0]
    print(f"gain: {np.mean(gains):+.2f} dB, {(gains > 0).sum()} of {len(gains)} better")


def _pairs(data: Path, checkpoint: Checkpoint, part: str) -> Iterator[tuple[PairedVolumes, mt.Pair]]:
    for session in sessions_of(data, checkpoint, part).values():
        for pair in checkpoint.pairs:
            if {*pair} <= session.files.keys():
                try:
                    opened = PairedVolumes.open(session, pair)
                except MrtransError:
                    continue
                sizes = np.delete(opened.volume.voxel_sizes, opened.volume.axial_axis)
                if np.abs(sizes - checkpoint.card.grid.spacing_mm).max() > 0.05:
                    yield opened, pair


def _figures(opened: PairedVolumes, pair: mt.Pair, checkpoint: Checkpoint) -> tuple[float, float, float]:
    """PSNR inside the head, mean error of the rim, and its share."""
    axis, middle = opened.volume.axial_axis, opened.volume.n_slices // 2
    slices = range(middle, middle + 2)
    made = mt.transform(
        opened.volume, checkpoint, source=pair.source, target=pair.target, slices=slices, prepare=False, n=8
    )
    error, both = (np.moveaxis(a, axis, 0)[list(slices)] for a in (made.mean - opened.target, opened.both))
    cross = ndimage.generate_binary_structure(2, 1)[None]
    rim = both & ~ndimage.binary_erosion(both, cross, border_value=1)
    return -10 * np.log10(np.square(error[both]).mean()), float(error[rim].mean()), rim.sum() / both.sum()


if __name__ == "__main__":
    main()
