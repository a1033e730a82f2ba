"""Slices that a :class:`~napari_mrtrans.networks.judge.SliceJudge` learns from: usual ones, and such with artefacts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..datasets.store import Decoded, Source
from ..ood.image_quality import MIN_AREA
from ..scan.contrasts import Contrast
from ..scan.intensity import HEADROOM
from ..scan.neighbours import reach
from ..training.augment import random_crop, smooth_field
from ..training.recipe_parts import Augmentation, Stage
from ..transformation.slice_signs import REACH_MM, judged, neighbours
from .slice_artefacts import CHANGES, NONE, change

#: Of the contrasts and kinds that there are to tell, in the order of the network's outputs.
CONTRASTS: tuple[Contrast, ...] = tuple(Contrast)
KINDS: tuple[str, ...] = (NONE, *CHANGES)
#: Share of slices without an artefact.
USUAL = 0.35
#: Rows and columns that the network is shown in training.
FRAME = (176, 144)
#: How far thick slices reach, in mm.
_FAR = 8.0

Item = tuple[NDArray[np.float32], int, int, int]


@dataclass(frozen=True)
class JudgeSlices(Dataset[Item]):
    """Item ``i`` is a function of (seed, i): three slices, contrast, kind and the number of the session.

    Attributes:
        source: Sessions; phantoms make up a tenth of what is drawn.
        count: How many items.
        seed: Of everything drawn.
    """

    source: Source
    count: int
    seed: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Item:
        rng = np.random.default_rng([self.seed, i])
        simulated = np.array([session.simulated for session in self.source.sessions])
        pool = np.flatnonzero(simulated == (rng.random() < 0.1 and bool(simulated.any())))
        index = int(rng.choice(pool if len(pool) else np.arange(len(simulated))))
        decoded = self.source[index]
        number = int(rng.integers(len(decoded.contrasts)))
        contrast = decoded.contrasts[number]
        kind = NONE if rng.random() < USUAL else str(rng.choice(list(CHANGES)))
        slab = _drawn(decoded, number, "thick" in kind, rng)
        before = _median(slab)
        if "thick" in kind:
            slab = _varied(change(slab, kind, decoded.spacing, rng)[_steps(decoded, slab)], rng)
        else:
            slab = change(_varied(slab, rng), kind, REACH_MM, rng)
        after = _median(slab)
        image = judged(slab * (before / after if after > 0 else 1) * HEADROOM[contrast])
        return image, CONTRASTS.index(contrast), KINDS.index(kind), index


def _drawn(decoded: Decoded, number: int, thick: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    """A slice of one contrast between its neighbours (or between all that a thick slice takes in), turned and cut."""
    usable = np.flatnonzero(decoded.area >= MIN_AREA * decoded.area.max())
    z = int(rng.choice(usable))
    if thick:
        far = max(reach(decoded.spacing, REACH_MM), round(_FAR / decoded.spacing))
        numbers = np.clip(np.arange(z - far, z + far + 1), 0, len(decoded.area) - 1)
    else:
        numbers = np.array(neighbours(z, len(decoded.area), decoded.spacing))
    images = np.asarray(decoded.images[number, numbers], dtype=np.float32)
    options = Augmentation(warp=0.4, rotate_deg=12.0, scale=0.08)
    return random_crop(images, Stage(steps=1, crop=FRAME), options, rng)


def _steps(decoded: Decoded, slab: NDArray[np.float32]) -> list[int]:
    step = min(reach(decoded.spacing, REACH_MM), len(slab) // 2)
    middle = len(slab) // 2
    return [middle - step, middle, middle + step]


def _varied(slab: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Differences between scanners that are none to speak of: gain curve, mild field, blur and noise."""
    from scipy import ndimage

    head = slab > 0
    top = np.float32(max(slab.max(), 1e-6))
    out = top * (slab / top) ** np.float32(np.exp(rng.normal(0, 0.12)))
    if rng.random() < 0.5:
        out = out * np.exp(rng.uniform(0, 0.12) * smooth_field(slab.shape[1:], rng)).astype(np.float32)
    if rng.random() < 0.4:
        out = ndimage.gaussian_filter(out, (0, *(rng.uniform(0, 0.9, 2))))
    if rng.random() < 0.5:
        sigma = np.float32(rng.uniform(0, 0.05) * _median(slab))
        real, imaginary = sigma * rng.standard_normal((2, *out.shape), dtype=np.float32)
        out = np.hypot(out + real, imaginary)
    return np.where(head, np.maximum(out, 1e-4), 0).astype(np.float32)


def _median(slab: NDArray[np.float32]) -> float:
    inside = slab[slab > 0]
    return float(np.median(inside)) if inside.size else 0.0
