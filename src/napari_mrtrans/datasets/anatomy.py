"""The make-up of one imaginary brain: how much of each tissue every voxel holds.

Starts from the ICBM 152 2009a maps of grey and white matter (Fonov 2011, 10.1016/j.neuroimage.2010.07.033), which come
with nilearn. They are averages of 152 people, so a random deformation is followed by sharpening with random log-odds:
the blur between two tissues becomes an edge, in another place for every phantom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from .phantom_options import PhantomOptions

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Template:
    """Average brain, arrays of one shape in RAS order: tissue fractions, brain (0 or 1), nearness to the ventricles."""

    grey: Map
    white: Map
    brain: Map
    ventricles: Map
    affine: NDArray[np.float64]


@dataclass
class Anatomy:
    """One brain.

    Attributes:
        brain: Shape (R, A, S), as small as holds it.
        fractions: Of each tissue of :data:`.signals.TISSUES` that occurs, for the voxels of ``brain``; they sum to 1.
        affine: Voxel to MNI millimetres.
    """

    brain: NDArray[np.bool_]
    fractions: dict[str, Map]
    affine: NDArray[np.float64]


@lru_cache(maxsize=1)
def load_template(resolution_mm: int) -> Template:
    """The tissue maps at a resolution; 197 x 233 x 189 voxels at 1 mm. Needs no download.

    Raises:
        MrtransError: nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError:
        raise MrtransError("The phantoms are made of nilearn's tissue maps; install it: pip install nilearn.") from None
    from scipy import ndimage

    image = datasets.load_mni152_gm_template(resolution=resolution_mm)
    grey = np.clip(image.get_fdata(dtype=np.float32), 0, 1)
    white = np.clip(datasets.load_mni152_wm_template(resolution=resolution_mm).get_fdata(dtype=np.float32), 0, 1)
    brain = datasets.load_mni152_brain_mask(resolution=resolution_mm).get_fdata(dtype=np.float32)
    fluid = brain * np.clip(1 - grey - white, 0, 1)
    place = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in brain.shape), indexing="ij", sparse=True)
    central = ellipsoid(np.asarray(image.affine), place, centre=(0, -12, 12), radii=(30, 50, 28))
    ventricles = ndimage.gaussian_filter(fluid * central, 7 / resolution_mm)
    return Template(grey, white, brain, ventricles / ventricles.max(), np.asarray(image.affine))


def ellipsoid(
    affine: NDArray[np.float64], voxel: Sequence[Map] | Map, centre: tuple[float, ...], radii: tuple[float, ...]
) -> Map:
    """1 inside, falling to 0 over an eighth of the radii; axes along those of the grid, millimetres."""
    scaled = (
        (np.float32(affine[i, i]) * voxel[i] + np.float32(affine[i, 3] - centre[i])) / np.float32(radii[i])
        for i in range(3)
    )
    return np.clip((1 - np.sqrt(sum(d * d for d in scaled))) * 8 + 0.5, 0, 1)


def random_field(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Map:
    """White noise smoothed by a Gaussian of ``scale`` voxels: standard deviation 1 everywhere."""
    weights = []
    for n in shape:
        nodes = np.arange(-3 * scale, n + 3 * scale, scale)
        kernel = np.exp(-0.5 * ((np.arange(n)[:, None] - nodes) / scale) ** 2)
        weights.append((kernel / np.sqrt((kernel**2).sum(axis=1, keepdims=True))).astype(np.float32))
    field = rng.standard_normal([kernel.shape[1] for kernel in weights], dtype=np.float32)
    for kernel in weights:  # takes the first axis, gives it back as the last
        field = np.tensordot(field, kernel, (0, 1))
    return field


def draw_anatomy(options: PhantomOptions, rng: np.random.Generator) -> Anatomy:
    """A random brain, perhaps with multiple-sclerosis lesions or with a tumour."""
    from scipy import ndimage

    resolution_mm = options.resolution_mm
    template = load_template(resolution_mm)
    place = _deform(template, resolution_mm, rng)
    brain = ndimage.map_coordinates(template.brain, place, order=1) > rng.uniform(0.3, 0.95)
    inside = place[:, brain]
    box = ndimage.find_objects(brain.astype(np.int8))[0]
    brain, affine = brain[box], template.affine @ nib.affines.from_matvec(np.eye(3), [side.start for side in box])
    grey, white, near = (
        ndimage.map_coordinates(image, inside, order=1)
        for image in (template.grey, template.white, template.ventricles)
    )
    fluid = np.clip(1 - grey - white, 0, 1)

    def field(mm: float) -> Map:
        return random_field(brain.shape, mm / resolution_mm, rng)[brain]

    sharpness = rng.uniform(1.5, 2.5)
    odds = np.stack(
        [
            (grey + 1e-3) ** sharpness * np.exp(0.4 * field(6)),
            (white + 1e-3) ** sharpness * np.exp(rng.uniform(0.3, 2.2) + 0.4 * field(6)),
            fluid**sharpness * np.exp(rng.uniform(-0.7, 2.3) + 0.5 * field(25) + 0.5 * field(6)),
        ]
    )
    grey, white, fluid = odds / odds.sum(axis=0)
    central = ellipsoid(template.affine, inside, centre=(0, -5, 3), radii=(34, 33, 18))
    fractions = {"cortex": grey * (1 - central), "deep": grey * central, "white": white, "fluid": fluid}
    disease = rng.random()
    if disease < options.lesions:
        _add_plaques(fractions, brain, near, resolution_mm, rng)
    elif disease < options.lesions + options.tumours:
        _add_tumour(fractions, brain, resolution_mm, rng)
    return Anatomy(brain, fractions, affine)


def _deform(template: Template, resolution_mm: int, rng: np.random.Generator) -> Map:
    """Where each voxel comes from in the template, in voxels, shape (3, R, A, S).

    Affine, plus smooth displacements of 3 mm at 45 mm and 1 mm at 14 mm, plus wider or narrower ventricles.
    """
    from scipy.spatial.transform import Rotation

    shape = template.brain.shape
    stretch = np.diag(np.exp(rng.normal(0, 0.04) + rng.normal(0, 0.03, 3))) + rng.normal(0, 0.01, (3, 3))
    matrix = Rotation.from_euler("xyz", rng.normal(0, 4, 3), degrees=True).as_matrix() @ stretch
    centre = (np.asarray(shape) - 1) / 2
    voxel = [np.arange(n, dtype=np.float32) - np.float32(c) for n, c in zip(shape, centre, strict=True)]
    axes = np.meshgrid(*voxel, indexing="ij", sparse=True)
    widening = rng.uniform(-40, 140) / resolution_mm**2
    out = np.empty((3, *shape), dtype=np.float32)
    for i in range(3):
        out[i] = sum(np.float32(matrix[i, j]) * axes[j] for j in range(3)) + np.float32(centre[i])
        for mm, size in ((45, 3.0), (14, 1.0)):
            out[i] += size / resolution_mm * random_field(shape, mm / resolution_mm, rng)
        out[i] += np.float32(widening) * np.gradient(template.ventricles, axis=i)
    return out


def _add_plaques(
    fractions: dict[str, Map], brain: NDArray[np.bool_], near: Map, resolution_mm: int, rng: np.random.Generator
) -> None:
    """5 to 40 lesions, most of them beside the ventricles."""
    chance = fractions["white"] ** 2 * (near + 0.03)
    level = np.zeros(brain.shape, dtype=np.float32)
    rough = random_field(brain.shape, 3 / resolution_mm, rng)
    for _ in range(int(rng.integers(5, 41))):
        radius = np.clip(rng.lognormal(np.log(3), 0.5), 1.5, 9)
        _blob(level, _draw_voxel(brain, chance, rng), radius * np.exp(rng.normal(0, 0.25, 3)) / resolution_mm, rough)
    _replace(fractions, "plaque", level[brain], {"white": 1, "deep": 0.7, "cortex": 0.5})


def _add_tumour(
    fractions: dict[str, Map], brain: NDArray[np.bool_], resolution_mm: int, rng: np.random.Generator
) -> None:
    """One core in or near white matter; oedema around it follows the white matter."""
    centre = _draw_voxel(brain, fractions["white"] ** 2, rng)
    radius = rng.uniform(7, 22)
    aspect = np.exp(rng.normal(0, 0.15, 3)) / resolution_mm
    for name, reach, share in (
        ("oedema", radius + rng.uniform(3, 18), {"white": 1.0, "deep": 0.7, "cortex": 0.4}),
        ("core", radius, dict.fromkeys(("white", "deep", "cortex", "oedema"), 1.0)),
    ):
        level = np.zeros(brain.shape, dtype=np.float32)
        _blob(level, centre, reach * aspect, random_field(brain.shape, 0.6 * reach / resolution_mm, rng))
        _replace(fractions, name, level[brain], share)


def _draw_voxel(brain: NDArray[np.bool_], chance: Map, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random voxel of the brain, by its chance."""
    total = np.cumsum(chance, dtype=np.float64)
    chosen = int(np.searchsorted(total, rng.random() * total[-1]))
    return np.asarray(np.unravel_index(np.flatnonzero(brain)[chosen], brain.shape))


def _blob(level: Map, centre: NDArray[np.intp], radii: NDArray[np.float64], rough: Map) -> None:
    """Raise ``level`` to 1 inside a rough ellipsoid (voxels), with an edge of two voxels in which it falls to 0."""
    low = np.maximum(centre - np.ceil(2 * radii).astype(int), 0)
    box = tuple(slice(a, b) for a, b in zip(low, centre + np.ceil(2 * radii).astype(int) + 1, strict=True))
    away = np.ogrid[tuple(slice(s.start, min(s.stop, n)) for s, n in zip(box, level.shape, strict=True))]
    squared = sum(((a - c) / r) ** 2 for a, c, r in zip(away, centre, radii, strict=True))
    depth = (1 + 0.25 * rough[box].clip(-2, 2) - np.sqrt(squared)) * radii.mean()
    level[box] = np.maximum(level[box], np.clip(depth / 2 + 0.5, 0, 1))


def _replace(fractions: dict[str, Map], name: str, level: Map, share: dict[str, float]) -> None:
    """Turn ``level`` times a tissue's ``share`` of each tissue into the tissue ``name``."""
    fractions[name] = np.zeros_like(level)
    for tissue, part in share.items():
        taken = part * level * fractions[tissue]
        fractions[tissue] = fractions[tissue] - taken
        fractions[name] += taken
