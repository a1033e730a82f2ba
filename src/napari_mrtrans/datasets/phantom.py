"""Phantoms: an endless labelled data set of imaginary brains in T1, T2, PD and FLAIR. Needs no download.

The tissues of a random anatomy (:mod:`.anatomy`) are shown by a random scanner and protocol (:mod:`.signals`), with
partial volume, thick slices, an uneven coil and Rician noise (Gudbjartsson 1995, 10.1002/mrm.1910340618). Everything is
a function of (seed, index, options).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.card import DataSource
from ..scan.contrasts import Contrast
from ..scan.grid import interpolation_matrix
from ..scan.volume import Volume
from .anatomy import Map, draw_anatomy, random_field
from .bids import in_folder
from .phantom_options import PhantomOptions
from .signals import draw_sequences, draw_tissues, vary

#: Raise when other phantoms come of the same seed.
FORMAT = 2
#: Of the names of simulated people, who are in no data folder.
PREFIX = "sub-phantom"
#: Of the random numbers of a scanner that shows several phantoms.
SCANNER = (1, 7)
LESIONS = ("plaque", "oedema", "core")
SOURCE = DataSource(
    name="simulated phantoms (ICBM 152 2009a tissue maps)",
    licence="maps: free for any purpose with the notice (C) 1993-2009 Louis Collins, MNI, McGill University",
    citation="Fonov 2011 (10.1016/j.neuroimage.2010.07.033)",
)
#: Standard deviation of log T1 and log T2 within a tissue, at 20 mm; half as much at 3 mm.
_REGIONAL = {"cortex": 0.04, "deep": 0.06, "white": 0.04, "plaque": 0.08, "oedema": 0.1, "core": 0.2}


def people_in(folder: str, names: Iterable[str]) -> list[str]:
    """Names of sessions with the folder of their data set, where they go without; phantoms are of none."""
    return [name if name.startswith(PREFIX) else in_folder(folder, name) for name in names]


@dataclass(frozen=True)
class PhantomSubject:
    """Arrays of one shape, axes R, A, S.

    Attributes:
        volumes: Signal, at least 0 and 0 outside the brain; 1 is pure water that has all its magnetisation.
        mask: The brain.
        lesion: Where plaque, oedema and tumour core together are more than half of a voxel.
        affine: Voxel to MNI millimetres.
    """

    volumes: dict[Contrast, Map]
    mask: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    affine: NDArray[np.float64]


def phantom_subject(seed: int, index: int, options: PhantomOptions, scanner: int | None = None) -> PhantomSubject:
    """The phantom ``index`` of a seed, by a scanner and protocol of its own, or by the ``scanner`` of that number."""
    anatomy_rng, scanner_rng, tissue_rng, *scan_rngs = np.random.default_rng([seed, index]).spawn(7)
    if scanner is not None:
        scanner_rng = np.random.default_rng([*SCANNER, scanner])
        slices_rng, noise_rng = scanner_rng.spawn(2)
    anatomy = draw_anatomy(options, anatomy_rng)
    shape, brain = anatomy.brain.shape, anatomy.brain

    def field(mm: float) -> Map:
        return random_field(shape, mm / options.resolution_mm, tissue_rng)[brain]

    tissues = draw_tissues(scanner_rng)
    sequences = draw_sequences(tissues, scanner_rng)
    textures = 0.5 * field(3), 0.5 * field(3)
    for name in anatomy.fractions:
        if size := _REGIONAL.get(name):
            tissues[name] = vary(tissues[name], *(size * (field(20) + texture) for texture in textures))
    volumes = {}
    for (contrast, sequence), rng in zip(sequences.items(), scan_rngs, strict=True):
        image = np.zeros(shape, dtype=np.float32)
        image[brain] = sum(part * sequence(tissues[name]) for name, part in anatomy.fractions.items())
        bias = rng.uniform(0, 0.18)
        image[brain] *= np.exp(bias * random_field(shape, 60 / options.resolution_mm, rng)[brain])
        thickness = (rng if scanner is None else slices_rng).uniform(1, options.max_slice_mm) / options.resolution_mm
        noise = (rng if scanner is None else noise_rng).uniform(0.01, 0.05) * float(np.median(np.abs(image[brain])))
        volumes[contrast] = acquire(image, brain, max(thickness, 1.0), noise, rng)
    lesion = np.zeros(shape, dtype=bool)
    lesion[brain] = sum(anatomy.fractions[name] for name in LESIONS if name in anatomy.fractions) > 0.5
    return PhantomSubject(volumes, brain, lesion, anatomy.affine)


def acquire(image: Map, brain: NDArray[np.bool_], thickness: float, noise: float, rng: np.random.Generator) -> Map:
    """Scan in slices along the last axis, ``thickness`` voxels thick, and interpolate them back; 0 outside the brain.

    Args:
        image: Signal, 0 outside the brain; below 0 where magnetisation is inverted.
        brain: Same shape.
        thickness: At least 1, which leaves the slices as they are.
        noise: Standard deviation in each of the two channels of which the magnitude is taken.
        rng: Of the noise and of the place of the first slice.
    """
    n = image.shape[-1]
    start, count = -rng.random() * (thickness - 1), int(np.ceil(n / thickness)) + 1
    down = interpolation_matrix(count, n, start, thickness)
    up = interpolation_matrix(n, count, -start / thickness, 1 / thickness)
    weight = (brain.astype(np.float32) @ down.T).clip(1e-6)
    real = image @ down.T / weight + noise * rng.standard_normal(weight.shape, dtype=np.float32)
    seen = weight > 1e-3
    magnitude = np.hypot(real, noise * rng.standard_normal(weight.shape, dtype=np.float32)) * seen
    return np.where(brain, magnitude @ up.T / (seen @ up.T).clip(1e-6), 0)


@dataclass(frozen=True)
class Phantom:
    """A phantom as the trainer meets it: what a :class:`.bids.Session` is for files."""

    seed: int
    index: int
    options: PhantomOptions
    scanner: int | None = None

    @property
    def name(self) -> str:
        """As a BIDS subject."""
        return f"{PREFIX}{self.seed}x{self.index:04}"

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """All four."""
        return tuple(Contrast)

    @property
    def simulated(self) -> bool:
        """It is."""
        return True

    def stamp(self) -> list[object]:
        """All that the images depend on."""
        options = self.options.model_dump(exclude={"subjects", "share"})
        return ["phantom", FORMAT, self.seed, self.index, options, *([] if self.scanner is None else [self.scanner])]

    def load(self) -> tuple[dict[Contrast, Volume], NDArray[np.bool_]]:
        """The images and the lesion mask."""
        subject = phantom_subject(self.seed, self.index, self.options, self.scanner)
        volumes = {c: Volume(v, subject.affine, c, f"{self.name}_{c}") for c, v in subject.volumes.items()}
        return volumes, subject.lesion
