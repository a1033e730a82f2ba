"""Proton density of a real person, computed: tissue fractions from T1, T2 and FLAIR, shown by a spin-echo protocol.

Few archives hold PD beside the other contrasts. But what a spin echo of long TR and short TE shows follows from how
much of each tissue a voxel holds, and that the other contrasts tell. So every voxel is taken for a mixture of two
tissues: of all pairs, the one whose mixing line in the space of intensities passes nearest. The tissues' intensities
are the person's own. What is dark on T2, too, is none of them: bone, air, quickly flowing blood, the rim of a mask.
Relaxation times and protocol are drawn as those of phantoms (:mod:`.signals`).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..scan.contrasts import Contrast
from .signals import draw_tissues, spin_echo

#: Raise when other images come of the same scans.
FORMAT = 2
#: Intensities over the brain's median, where the search for a person's own begins.
TYPICAL: dict[str, dict[Contrast, float]] = {
    "white": {Contrast.T1: 1.2, Contrast.T2: 0.9, Contrast.FLAIR: 0.95},
    "cortex": {Contrast.T1: 0.9, Contrast.T2: 1.15, Contrast.FLAIR: 1.1},
    "fluid": {Contrast.T1: 0.4, Contrast.T2: 2.6, Contrast.FLAIR: 0.45},
    "lesion": {Contrast.T1: 0.8, Contrast.T2: 1.8, Contrast.FLAIR: 1.8},
    "void": {Contrast.T1: 0.15, Contrast.T2: 0.25, Contrast.FLAIR: 0.15},
}
#: Which relaxation times a class has; none: it gives no signal.
TISSUE_OF = {"white": "white", "cortex": "cortex", "fluid": "fluid", "lesion": "oedema"}
#: Fewest contrasts that tell tissues apart.
NEEDED = 2
#: Of protocols in use, ms.
TR, TE = (2000.0, 6000.0), (8.0, 35.0)
#: Lesions at fluid: the line passes near that of cortex at fluid, which is everywhere.
UNLIKELY = (2, 3)
_SAMPLE, _ROUNDS = 40_000, 10

Map = NDArray[np.float32]


def computed_pd(images: dict[Contrast, Map], head: NDArray[np.bool_], rng: np.random.Generator) -> Map:
    """A PD-weighted image, any unit, 0 outside the head.

    Args:
        images: At least two of T1, T2 and FLAIR on one grid, any unit, non-negative.
        head: The brain, same shape.
        rng: Of relaxation times, protocol and noise.

    Raises:
        ValueError: fewer than :data:`NEEDED` contrasts, or no voxel in the head.
    """
    fractions = tissue_fractions(images, head)
    tissues = draw_tissues(rng)
    tr, te = rng.uniform(*TR), rng.uniform(*TE)
    shown = {name: float(np.asarray(spin_echo(tissues[tissue], tr, te))) for name, tissue in TISSUE_OF.items()}
    signal = np.sum([fractions[name] * level for name, level in shown.items()], axis=0)
    noise = rng.uniform(0.005, 0.03) * float(np.median(signal))
    real, imaginary = noise * rng.standard_normal((2, len(signal)))
    out = np.zeros(head.shape, dtype=np.float32)
    out[head] = np.hypot(signal + real, imaginary)
    return out


def tissue_fractions(images: dict[Contrast, Map], head: NDArray[np.bool_]) -> dict[str, Map]:
    """How much of each class of :data:`TYPICAL` the voxels of ``head`` hold, shape (voxels,); they sum to 1.

    Without T2, which alone tells voids from fluid, there are none.

    Raises:
        ValueError: fewer than :data:`NEEDED` contrasts, or no voxel in the head.
    """
    used = [contrast for contrast in (Contrast.T1, Contrast.T2, Contrast.FLAIR) if contrast in images]
    if len(used) < NEEDED or not head.any():
        raise ValueError(f"{NEEDED} of T1, T2 and FLAIR are needed, and a head")
    values = np.stack([images[c][head] / max(float(np.median(images[c][head])), 1e-12) for c in used], axis=1)
    values = np.log(np.clip(values, 0.05, 5)).astype(np.float32)  # contrast is a matter of ratios
    names = [name for name in TYPICAL if name in TISSUE_OF or Contrast.T2 in used]
    levels = _own_levels(values, np.log([[TYPICAL[name][c] for c in used] for name in names]))
    return dict(zip(names, _mix(np.exp(values), np.exp(levels)).T, strict=True))


def _own_levels(values: NDArray[np.float32], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The classes' log intensities in this person: medians of what lies nearest, drawn a little to the typical ones."""
    rng = np.random.default_rng(0)
    sample = values[rng.permutation(len(values))[:_SAMPLE]]
    typical = levels.copy()
    for _ in range(_ROUNDS):
        nearest = np.square(sample[:, None] - levels[None]).sum(axis=2).argmin(axis=1)
        for k in range(len(levels)):
            mine = sample[nearest == k]
            weight = len(mine) / (len(mine) + 0.01 * len(sample))
            if len(mine):
                levels[k] = weight * np.median(mine, axis=0) + (1 - weight) * typical[k]
    return levels


def _mix(values: NDArray[np.float32], levels: NDArray[np.float64]) -> NDArray[np.float32]:
    """(voxels, classes): the shares of the two classes on whose mixing line each voxel's intensities lie nearest."""
    best = np.full(len(values), np.inf, dtype=np.float32)
    out = np.zeros((len(values), len(levels)), dtype=np.float32)
    for a, b in combinations(range(len(levels)), 2):
        if (a, b) == UNLIKELY:
            continue
        line = (levels[b] - levels[a]).astype(np.float32)
        share = np.clip((values - levels[a].astype(np.float32)) @ line / (line @ line), 0, 1)
        distance = np.square(values - levels[a] - share[:, None] * line).sum(axis=1).astype(np.float32)
        nearer = distance < best
        best[nearer] = distance[nearer]
        out[nearer] = 0
        out[nearer, a], out[nearer, b] = 1 - share[nearer], share[nearer]
    return out
