"""What a checkpoint loses or gains by another framing: PSNR of validation slices, side by side, in dB.

    python benchmarks/framing.py CHECKPOINT --data DATA [--slices 48]

A network's normalisations take in the black margin, so each was trained for one framing (see scan/framing.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import napari_mrtrans as mt
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.paths import training_cache_dir
from napari_mrtrans.scan.framing import Framing
from napari_mrtrans.training.validation import FixedSlice, draw, fixed_slices

FRAMES = (Framing(rows=32, columns=32), Framing(rows=128, columns=128), Framing(rows=176, columns=144))
#: Slices with less head than this share of the largest are small ones.
SMALL = 0.5


def main() -> None:
    """Print one line for each framing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=48)
    arguments = parser.parse_args()
    checkpoint = mt.load_checkpoint(arguments.checkpoint)
    sessions = tuple(sessions_of(arguments.data, checkpoint, "validation").values())
    source = Source(sessions, checkpoint.card.grid.spacing_mm, training_cache_dir())
    model = checkpoint.build()
    count = 1 if model.deterministic else 4

    def psnr(one: FixedSlice) -> float:
        mean = draw(model, one, range(count), torch.device("cpu"), checkpoint.card.sampler).mean(0)[0].numpy()
        return float(-10 * np.log10(np.square(mean - one.target)[one.source[0] > 0].mean()))

    for framing in FRAMES:
        chosen = fixed_slices(
            source,
            tuple(checkpoint.pairs),
            arguments.slices,
            (framing, model.multiple),
            least=0.02,
            neighbours_mm=model.neighbours_mm,
        )
        areas = np.array([(one.source[0] > 0).sum() for one in chosen])
        values = np.array([psnr(one) for one in chosen])
        small = areas < SMALL * areas.max()
        print(
            f"{checkpoint.name}  at least {framing.rows} x {framing.columns}: {values.mean():.3f} dB, "
            f"{small.sum()} small slices {values[small].mean():.3f} dB, others {values[~small].mean():.3f} dB",
            flush=True,
        )


if __name__ == "__main__":
    main()
