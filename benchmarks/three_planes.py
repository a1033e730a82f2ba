"""What a head's coronal and sagittal slices add to its axial ones, side by side.

Every acquired pair of a checkpoint's validation (or test) people whose voxels are small enough, on a slab in the middle
of the head: PSNR and SSIM inside it, how much of the target's detail from slice to slice there is (the power of second
differences along the axis, over that of the target; a guess anew in each slice has too much), how often the target
lies in the 90 % interval of the calibrated standard deviation (models that sample), and the time.

    python benchmarks/three_planes.py t1-t2-flair-direct --data DATA --part test
    python benchmarks/three_planes.py t1-t2-flair-flow --data DATA --part test
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from napari_mrtrans import load_checkpoint, transform
from napari_mrtrans.checkpoints.correction import Z90
from napari_mrtrans.devices import describe_machine
from napari_mrtrans.evaluation.held_out import PairedVolumes, sessions_of
from napari_mrtrans.metrics.similarity import psnr, ssim
from napari_mrtrans.scan.planes import LONGEST_MM

WAYS = {"axial": False, "three planes": True}


def main() -> None:
    """Print a table: a line for each pair and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=load_checkpoint)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--slab", type=int, default=31, help="slices in the middle of the head")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    checkpoint = asked.checkpoint
    people = list(sessions_of(asked.data, checkpoint, asked.part).values())
    found: dict[str, dict[str, list[list[float]]]] = {}
    used: dict[str, None] = {}
    for session in people:
        for pair in checkpoint.pairs:
            if not {*pair} <= session.files.keys():
                continue
            opened = PairedVolumes.open(session, pair)
            volume, axis = opened.volume, opened.volume.axial_axis
            if volume.voxel_sizes.max() > LONGEST_MM:
                continue
            used[session.name] = None
            filled = np.flatnonzero(opened.head.any(axis=tuple(a for a in range(3) if a != axis)))
            first = int(filled[0] + filled[-1] + 1 - asked.slab) // 2
            slab = (slice(None),) * axis + (slice(first, first + asked.slab),)
            for way, three_planes in WAYS.items():
                began = time.perf_counter()
                ensemble = transform(
                    volume, checkpoint, target=pair.target, source=pair.source, slices=(first, first + asked.slab),
                    three_planes=three_planes, prepare=False, device=asked.device,
                )  # fmt: skip
                answer, spread = ensemble.mean[slab], ensemble.calibrated_std
                seconds, target, both = time.perf_counter() - began, opened.target[slab], opened.both[slab]
                rough = [np.square(np.diff(np.where(both, image, 0), 2, axis)).mean() for image in (answer, target)]
                held = np.nan
                if spread is not None and not checkpoint.deterministic:
                    held = float((np.abs(answer - target) <= Z90 * spread[slab])[both].mean())
                figures = [psnr(answer, target, both), ssim(answer, target, both), rough[0] / rough[1], held, seconds]
                print(session.name, pair, way, *(f"{figure:.4g}" for figure in figures), file=sys.stderr)
                found.setdefault(str(pair), {}).setdefault(way, []).append(figures)
    print("| pair | way | PSNR (dB) | SSIM3D | detail along the axis | 90 % interval | seconds |\n" + "|---" * 7 + "|")
    ways = {way: [row for pair in found.values() for row in pair[way]] for way in WAYS}
    for pair, rows in (found | {"all": ways}).items():
        for way, figures in rows.items():
            level, alike, rough, held, seconds = np.mean(figures, axis=0)
            print(f"| {pair} | {way} | {level:.2f} | {alike:.4f} | {rough:.2f} | {held:.3f} | {seconds:.1f} |")
    print(f"\n{', '.join(used)}; {asked.slab} slices each. {describe_machine(asked.device)}.")


if __name__ == "__main__":
    main()
