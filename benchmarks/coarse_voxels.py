"""Scans with large voxels: PSNR on their own grid, the way to the model's pixels linear or undone on the way back.

    python benchmarks/coarse_voxels.py --data DATA [--checkpoint t1-t2-flair-direct] [--mm 2]

Validation people's 1 mm scans, averaged in plane to voxels of ``--mm``; four slices of each pair, inside the head.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import napari_mrtrans as mt
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.scan.grid import AxisMap
from napari_mrtrans.scan.intensity import normalise
from napari_mrtrans.scan.volume import Volume


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", default="t1-t2-flair-direct")
    parser.add_argument("--mm", type=int, default=2)
    arguments = parser.parse_args()
    checkpoint = mt.load_checkpoint(arguments.checkpoint)
    scans = [session.load()[0] for session in sessions_of(arguments.data, checkpoint, "validation").values()]
    coarse = [{contrast: _averaged(volume, arguments.mm) for contrast, volume in scan.items()} for scan in scans]
    undone = AxisMap.forward
    for way, forward in (("linear", AxisMap.linear), ("undone on the way back", undone)):
        AxisMap.forward = forward  # type: ignore[method-assign]
        found = [
            _psnr(scan[pair.source], scan[pair.target], pair, checkpoint)
            for scan in coarse
            for pair in checkpoint.pairs
            if pair.source in scan and pair.target in scan
        ]
        print(f"{arguments.mm} mm, {way}: {np.mean(found):.2f} dB, mean of {len(found)}", flush=True)


def _averaged(volume: Volume, factor: int) -> Volume:
    """Axial scans: axes 0 and 1 lie in the plane."""
    rows, columns = (size // factor for size in volume.data.shape[:2])
    blocks = np.clip(volume.data[: rows * factor, : columns * factor], 0, None)
    data = blocks.reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3))
    affine = volume.affine @ np.diag([factor, factor, 1.0, 1.0])
    affine[:3, 3] = (volume.affine @ [(factor - 1) / 2, (factor - 1) / 2, 0, 1])[:3]
    return Volume(data.astype(np.float32), affine)


def _psnr(source: Volume, target: Volume, pair: mt.Pair, checkpoint: mt.Checkpoint) -> float:
    middle = source.data.shape[2] // 2
    slices = range(middle - 6, middle + 6, 3)
    ensemble = mt.transform(source, checkpoint, source=pair.source, target=pair.target, slices=slices, n=8)
    inside: NDArray[np.bool_] = source.data > 0
    wanted = normalise(target.data, target.data > 0, pair.target)
    squares = [np.square(ensemble.mean[..., z] - wanted[..., z])[inside[..., z]].mean() for z in slices]
    return float(-10 * np.log10(np.mean(squares)))


if __name__ == "__main__":
    main()
