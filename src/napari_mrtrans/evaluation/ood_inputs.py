"""Inputs that a model has not learned: artefacts put into real scans (paper, "Datasets", out-of-distribution sets).

Each keeps the grid. Artefacts of the acquisition leave the head mask as it is, for brain extraction comes after them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..lesion.measure import box_around
from ..scan.intensity import clean
from ..scan.volume import Volume

Image = NDArray[np.float32]


def _torchio(name: str, *, boxed: bool = False, **options: Any) -> Callable[[Volume, np.random.Generator], Image]:
    """A random transform of TorchIO, its random numbers drawn from ours.

    ``boxed``: of the head's box alone; what lies beside it is 0 before, and masked away after, at a price.
    """

    def apply(volume: Volume, rng: np.random.Generator) -> Image:
        import torch
        import torchio

        box = (box_around(volume.data > 0, 0) if boxed else None) or ...
        part = torch.from_numpy(volume.data[box][None].copy())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            image = torchio.ScalarImage(tensor=part, affine=volume.affine)
            made = getattr(torchio, name)(**options)(image).data[0].numpy()
        out = volume.data.copy()
        out[box] = made
        return out

    return apply


def _noise(volume: Volume, rng: np.random.Generator) -> Image:
    """Rician noise of 12 to 25 % of the brain's median."""
    data = volume.data
    sigma = rng.uniform(0.12, 0.25) * float(np.median(data[data > 0]))
    return np.hypot(data + rng.normal(0, sigma, data.shape), rng.normal(0, sigma, data.shape))


def _cropped(volume: Volume, rng: np.random.Generator) -> Image:
    """A third to half of the head is missing on one side, that of the first voxels."""
    data = volume.data.copy()
    axis = int(np.argmax(np.abs(volume.affine[0, :3])))
    along = np.moveaxis(data, axis, 0)
    filled = np.flatnonzero(along.any(axis=(1, 2)))
    along[: filled[0] + int(rng.uniform(0.35, 0.5) * len(filled))] = 0
    return data


def _rotated(volume: Volume, rng: np.random.Generator) -> Image:
    """Turned about the axial axis by 35 to 60 degrees, either way."""
    from scipy.ndimage import rotate

    plane = [axis for axis in range(3) if axis != volume.axial_axis]
    angle = rng.uniform(35, 60) * rng.choice([-1, 1])
    return rotate(volume.data, angle, axes=(plane[0], plane[1]), reshape=False, order=1)


def _thick(volume: Volume, rng: np.random.Generator) -> Image:
    """Slices of 8 to 14 mm, and of at least two of the thin ones, on the grid of these."""
    from scipy.ndimage import uniform_filter1d

    axis = volume.axial_axis
    slices = max(2, round(rng.uniform(8, 14) / float(volume.voxel_sizes[axis])))
    return uniform_filter1d(volume.data, slices, axis=axis, mode="nearest")


#: Name to what makes it. All but ``rotation`` keep the head's outline, or (``cropped``) a part of it.
ARTEFACTS: dict[str, Callable[[Volume, np.random.Generator], Image]] = {
    "motion": _torchio("RandomMotion", boxed=True, degrees=(5, 12), translation=(5, 12), num_transforms=6),
    "ghosting": _torchio("RandomGhosting", boxed=True, num_ghosts=(4, 9), axes=(0, 1), intensity=(1.0, 2.0)),
    "spike": _torchio("RandomSpike", boxed=True, num_spikes=(1, 1), intensity=(0.3, 0.8)),
    "bias field": _torchio("RandomBiasField", coefficients=(0.4, 0.7)),
    "noise": _noise,
    "rotation": _rotated,
    "cropped": _cropped,
    "thick slices": _thick,
}

#: What a kept measurement of a kind needs to say of how it was made, where it was made otherwise before.
MADE: dict[str, dict[str, int]] = {"thick slices": {"made": 2}}


def corrupted(volume: Volume, kind: str, seed: int) -> Volume:
    """``volume`` (skull-stripped) with an artefact, a function of the volume, ``kind`` and ``seed``.

    Raises:
        MrtransError: no such kind.
    """
    if kind not in ARTEFACTS:
        raise MrtransError(f"Unknown artefact '{kind}'; choose from {', '.join(ARTEFACTS)}.")
    digest = hashlib.sha256(f"{volume.name} {kind}".encode()).digest()
    source = replace(volume, data=clean(volume.data))
    made = ARTEFACTS[kind](source, np.random.default_rng([seed, *digest[:8]]))
    made = np.maximum(np.nan_to_num(made), 0)  # transforms in k-space leave real parts below 0
    keeps_outline = kind != "rotation"
    return replace(volume, data=np.where(source.data > 0, made, 0).astype(np.float32) if keeps_outline else made)
