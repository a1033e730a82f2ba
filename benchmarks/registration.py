"""How often a random rigid offset of a real pair of contrasts is undone: the table of docs/results/registration.md.

    python benchmarks/registration.py --data ../shared/data [--trials 50] [--seed 0]

Raw pairs (whole heads, thick slices, each contrast on its own grid) have no known truth: the registration from where
the scanner put them stands for it, so the figure is how far the answer depends on the start. Stripped pairs lie on one
grid. The error is the mean distance over the points of the head, in mm.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import napari_mrtrans as mt
from napari_mrtrans.datasets.sessions import find_sessions
from napari_mrtrans.prepare.register import RegistrationError, register
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import clean, head_mask

MOST_MM, MOST_DEGREES, GOAL_MM = 30.0, 20.0, 1.0


def random_motion(rng: np.random.Generator, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """4x4: a turn of up to 20 degrees about a random axis through the centre, then a shift of up to 30 mm."""
    from scipy.spatial.transform import Rotation

    axis, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(axis * np.radians(rng.uniform(0, MOST_DEGREES))).as_matrix()
    motion[:3, 3] = centre - motion[:3, :3] @ centre + direction * rng.uniform(0, MOST_MM)
    return motion


load = cache(mt.Volume.load)


def head_points(volume: mt.Volume) -> NDArray[np.float64]:
    """RAS millimetres of every 500th voxel of the head, homogeneous, (4, points)."""
    voxels = np.argwhere(head_mask(clean(volume.data)))[::500]
    return volume.affine @ np.vstack([voxels.T, np.ones(len(voxels))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"'{options.data}' is not there; nothing measured.")
    pairs = []
    for folder in ("ms-raw", "glioma"):
        sessions = find_sessions([options.data / folder])[0]
        found = [(folder, session, c) for session in sessions for c in session.files if c is not Contrast.T1]
        pairs.append(found)
    rng = np.random.default_rng(options.seed)
    truths: dict[str, NDArray[np.float64]] = {}
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for trial in range(options.trials):
        folder, session, contrast = (group := pairs[trial % 2])[int(rng.integers(len(group)))]
        fixed, moving = (load(session.files[c], c) for c in (Contrast.T1, contrast))
        points, name = head_points(fixed), f"{session.stem} T1-{contrast}"
        motion = random_motion(rng, points[:3].mean(axis=1))
        if name not in truths:
            truths[name] = register(fixed, moving).matrix if folder == "ms-raw" else np.eye(4)
        began = time.process_time()
        try:
            found = register(fixed, replace(moving, affine=motion @ moving.affine))
            distances = np.linalg.norm(((found.matrix - motion @ truths[name]) @ points)[:3], axis=0)
            error, edges = float(distances.mean()), found.edges
        except RegistrationError as failure:
            print(failure)
            error, edges = float("inf"), 0.0
        rows.setdefault(folder, []).append((error, edges, time.process_time() - began))
        seconds = rows[folder][-1][2]
        print(f"{trial:3} {name:32} {error:7.3f} mm  edges {edges:.2f}  {seconds:5.1f} CPU s", flush=True)
    print(f"\n{platform.machine()}, seed {options.seed}\n")
    print(
        "| pairs | trials | below 1 mm | median error (mm) | largest (mm) | edges, least | CPU s, median |\n"
        "|---|---|---|---|---|---|---|"
    )
    for folder, found in rows.items():
        errors, edges, seconds = np.array(found).T
        share = f"{np.mean(errors < GOAL_MM):.0%}"
        print(
            f"| {folder} | {len(errors)} | {share} | {np.median(errors):.2f} | {errors.max():.2f} "
            f"| {edges.min():.2f} | {np.median(seconds):.1f} |"
        )


if __name__ == "__main__":
    main()
