"""Dice of the built-in brain mask: the table of docs/results/brain-mask.md.

    python benchmarks/brain_mask.py --data ../shared/data

Whole heads have no truth here; deepbet (pip install deepbet), an independent network for T1, stands for it, carried
onto the other contrasts by our rigid registration; without it these rows are left out. Stripped subjects, whose
brain is known, are put into a synthetic shell of fluid, skull and scalp with noise.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import napari_mrtrans as mt
from napari_mrtrans.datasets.raw import sessions_to_prepare
from napari_mrtrans.datasets.sessions import find_sessions
from napari_mrtrans.prepare.brain import BrainError, brain_mask
from napari_mrtrans.prepare.images import resample
from napari_mrtrans.prepare.register import register
from napari_mrtrans.prepare.tools import TOOLS, extract
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import clean, head_mask

#: Intensity of fluid and scalp as multiples of the brain's median.
SHELL = {Contrast.T1: (0.3, 1.6), Contrast.T2: (2.2, 1.3), Contrast.FLAIR: (0.2, 0.9)}


def scanned(data: Path) -> Iterator[tuple[str, mt.Volume, NDArray[np.bool_]]]:
    """Whole heads and deepbet's mask."""
    for session in sessions_to_prepare([data / "ms-raw", data / "ixi-t1"])[0]:
        t1 = mt.Volume.load(session.files[Contrast.T1], Contrast.T1)
        brain = extract(t1, "deepbet")
        carried = replace(t1, data=brain.astype(np.float32))
        group = "ms-raw" if "ms-raw" in str(session.files[Contrast.T1]) else "ixi-t1"
        for contrast, path in session.files.items():
            volume = mt.Volume.load(path, contrast)
            same = contrast is Contrast.T1
            yield (
                f"{group} {contrast}",
                volume,
                brain if same else resample(carried, volume, np.linalg.inv(register(t1, volume).matrix)) > 0.5,
            )


def in_shells(data: Path, rng: np.random.Generator) -> Iterator[tuple[str, mt.Volume, NDArray[np.bool_]]]:
    """Stripped subjects on 2 mm, each in one contrast, put into a synthetic head."""
    sessions = find_sessions([data / "glioma", data / "ms-mni"])[0]
    for session, contrast in zip(sessions, itertools.cycle(SHELL), strict=False):
        skull, scalp = rng.uniform(5, 9), rng.uniform(4, 9)
        full = mt.Volume.load(session.files[contrast], contrast)
        coarse = np.pad(clean(full.data)[::2, ::2, ::2], 16)
        affine = full.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] -= affine[:3, :3] @ (16, 16, 16)
        brain = head_mask(coarse)
        fluid, fat = (factor * np.median(coarse[brain]) for factor in SHELL[contrast])
        outside = ndimage.distance_transform_edt(~ndimage.binary_closing(brain, iterations=8)) * 2.0
        faces = [outside <= 2.0, outside <= 2.0 + skull, outside <= 2.0 + skull + scalp]
        shell = np.select(faces, [fluid, 0.05 * fat, fat], 0.0)
        noise = rng.rayleigh(0.03 * np.median(coarse[brain]), brain.shape)
        whole = (np.where(brain, coarse, shell) + noise).astype(np.float32)
        yield f"in a shell {contrast}", mt.Volume(whole, affine, contrast, session.stem), brain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"'{options.data}' is not there; nothing measured.")
    heads = in_shells(options.data, np.random.default_rng(options.seed))
    if shutil.which(TOOLS["deepbet"].program):
        heads = itertools.chain(scanned(options.data), heads)
    rows: dict[str, list[tuple[float, float]]] = {}
    for kind, volume, truth in heads:
        began = time.process_time()
        try:
            found = brain_mask(volume)
            dice = float(2 * (found & truth).sum() / (found.sum() + truth.sum()))
        except BrainError as refusal:
            print(refusal)
            dice = np.nan
        rows.setdefault(kind, []).append((dice, time.process_time() - began))
        print(f"{kind:18} {volume.name:28} {dice:.3f}  {rows[kind][-1][1]:5.1f} CPU s", flush=True)
    print(f"\n{platform.machine()}, seed {options.seed}\n")
    print("| heads | volumes | Dice, mean | Dice, least | refused | CPU s, median |\n|---|---|---|---|---|---|")
    for kind, found_rows in rows.items():
        scores, seconds = np.array(found_rows).T
        mean, least, refused = np.nanmean(scores), np.nanmin(scores), np.isnan(scores).sum()
        print(f"| {kind} | {len(scores)} | {mean:.3f} | {least:.3f} | {refused} | {np.median(seconds):.1f} |")


if __name__ == "__main__":
    main()
