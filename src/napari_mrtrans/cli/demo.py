"""The headless demo: transform the built-in sample and leave NIfTI files and a picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..checkpoints.library import choose_checkpoint
from ..page.panels import in_memory
from ..paths import check_folder, write_together
from ..scan.contrasts import Contrast
from ..scan.grid import Orientation
from ..scan.prepared import PreparedVolume
from ..scan.sample import sample_volume
from ..transformation.ensemble import Ensemble
from ..transformation.whole_volume import transform

#: A slab that two old cores finish in a minute; the whole head is a matter of leaving this out.
SLICES = (84, 96)
SAMPLES = 20


def run_headless(output: Path, say: Callable[[str], None]) -> list[Path]:
    """T1→T2 of a slab of the sample brain; returns the files written.

    Raises:
        MrtransError: no checkpoint serves T1→T2, or the folder cannot be written.
    """
    check_folder(output)
    volume = sample_volume()
    checkpoint = choose_checkpoint("flow", Contrast.T1, Contrast.T2)
    first, last = SLICES
    say(f"{volume.name}: {volume.contrast}→T2, {checkpoint.name}, {SAMPLES} samples, slices {first} to {last - 1}")
    ensemble = transform(
        volume, checkpoint, target=Contrast.T2, n=SAMPLES, slices=SLICES, keep_samples=True,
        progress=lambda update: say(f"slice {update.index}  ({update.done}/{update.total})"), status=say,
    )  # fmt: skip
    written = list(ensemble.save(output).values())
    written.append(save_panel(ensemble, output / f"{volume.name}_T2.png", sum(SLICES) // 2))
    return written


def save_panel(ensemble: Ensemble, path: Path, index: int) -> Path:
    """Write a picture of one axial slice: source, mean, std and the first two samples (which must have been kept)."""
    from matplotlib.figure import Figure

    volume = ensemble.volume
    assert ensemble.samples is not None, "the panel shows samples; keep them"
    assert volume.contrast is not None
    orientation = Orientation.from_affine(volume.affine)
    canonical = orientation.slice_index(index, volume.n_slices)
    target = ensemble.info["target"]
    images = {
        f"{volume.contrast} (input)": PreparedVolume.of(volume).normalised(volume.contrast),
        f"{target} mean of {ensemble.info['n']}": ensemble.mean,
        f"{target} std": ensemble.std,
        f"{target} sample 1": ensemble.samples[0],
        f"{target} sample 2": ensemble.samples[min(1, len(ensemble.samples) - 1)],
    }
    figure = Figure(figsize=(15, 3.9), facecolor="black", layout="constrained")
    for axis, (title, array) in zip(figure.subplots(1, len(images)), images.items(), strict=True):
        plane = orientation.to_canonical(array)[canonical][::-1, ::-1]  # anterior up, the subject's right on the left
        spread = title.endswith("std")
        top = max(float(np.percentile(ensemble.std[ensemble.std > 0], 99)), 1e-3) if spread else 1.0
        shown = axis.imshow(plane, cmap="magma" if spread else "gray", vmin=0, vmax=top)
        axis.set_title(title, color="white", fontsize=11)
        axis.set_axis_off()
        if spread:
            bar = figure.colorbar(shown, ax=axis, shrink=0.7)
            bar.ax.tick_params(colors="white", labelsize=8)
    note = f"{ensemble.info['checkpoint']} · seed {ensemble.info['seed']} · normalised units [0, 1] · research use only"
    figure.text(0.5, 0.01, note, color="#bbbbbb", ha="center", fontsize=8)
    write_together(path.parent, {path.name: in_memory(partial(figure.savefig, dpi=110, format="png"))})
    return path
