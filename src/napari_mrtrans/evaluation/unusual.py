"""Slices with an artefact and what a model makes of them, for the picture after the paper's Fig. 4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..errors import MrtransError
from ..transformation.whole_volume import transform
from .measure import View
from .ood_inputs import corrupted
from .tiles import Cutter, write_tile

#: The paper's three, a zipper, a failed reconstruction and a low signal, by what is nearest of those simulated.
KINDS = ("spike", "ghosting", "noise")


def draw_unusual(view: View, checkpoint: Checkpoint, path: Path) -> None:
    """Write source, mean and std of the middle slice with each of :data:`KINDS` into an npz file, if it is not there.

    Raises:
        MrtransError: the folder cannot be written, or TorchIO, which makes the artefacts, is not installed.
    """
    if path.exists():
        return
    opened, asked, middle = view.opened, view.sampling, view.middle
    tile: dict[str, NDArray | np.float64] = {}
    for kind in KINDS:
        try:
            volume = corrupted(opened.volume, kind, asked.seed)
        except ImportError as error:
            raise MrtransError(f"{error}; install it with pip install 'napari-mrtrans[train]'.") from None
        ensemble = transform(
            volume, checkpoint, target=view.pair.target, source=view.pair.source, n=asked.n, steps=asked.steps,
            seed=asked.seed, device=asked.device, antithetic=asked.antithetic, slices=(middle, middle + 1),
            prepare=False,
        )  # fmt: skip
        cutter = Cutter(opened.volume, opened.head)
        shown = np.where(opened.head, volume.data / np.percentile(volume.data[opened.head], 99.5), 0)
        images: dict[str, NDArray] = {"source": 0.8 * np.clip(shown, 0, 1), "mean": ensemble.mean, "std": ensemble.std}
        tile |= {f"{kind}_{name}": image for name, image in cutter.cut(images, middle).items()}
        tile["aspect"] = np.float64(cutter.aspect)
    write_tile(path, tile)
