"""The built-in brain extraction: an affine template, then the volume's own intensities near its border.

Needs no trained network and no download, and works on T1, T2, PD and FLAIR: both steps learn from the volume itself
what its tissues look like. It is approximate; docs/results/brain-mask.md says how much.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.intensity import fill_holes, head_mask, largest_component
from ..scan.volume import Volume
from .images import affine_of, coarser, threads, to_array, to_image, working_image
from .match import edges_agree
from .register import COARSE, align, best_starts
from .template import SPACING, template

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Nods of the head (degrees) and shifts of its top (mm) that the search starts from, and how many it follows.
NODS, LIFTS, FOLLOWED = (-25.0, 0.0, 25.0), (-20.0, 0.0, 20.0), 4
#: From the top of the head, how far down it takes part in finding its centre: not the neck.
HEAD_MM = 150.0
#: The template's mask hugs the cortex; masks in use take in the fluid around it. How far outside it the border is
#: expected, how sure that is (scale of a logistic), and from which depth inside and outside the expected border on
#: there is no doubt.
GROW_MM, SURE_MM, CORE_MM, REACH_MM = 2.5, 2.5, 6.0, 8.0
#: Weight of the intensity's log likelihood ratio (and its bound), and of the neighbours.
INTENSITY, BOUND, NEIGHBOURS = 0.5, 3.0, 4.0
#: Below this agreement of edges with the template's, what was found is no brain. Five whole heads score 1.3 to 1.7; a
#: ball, and a head that holds noise, up to 1.03; a brain that was missed (Dice 0.70) 1.10.
LEAST_EDGES = 1.12
#: Millilitres outside which what was found is no brain.
PLAUSIBLE_ML = (300.0, 2500.0)


class BrainError(MrtransError):
    """No plausible brain was found."""


def brain_mask(volume: Volume) -> NDArray[np.bool_]:
    """The brain of a whole head, with the fluid around it, on the volume's own grid.

    Raises:
        VolumeError: the volume is too thin to see a head in it.
        BrainError: what was found is no brain.
    """
    import SimpleITK as sitk

    with threads():
        image = working_image(volume, SPACING)
        start, edges = _affine_brain(image)
        if edges < LEAST_EDGES:
            raise BrainError(
                f"No brain found in '{volume.name}': what was taken for one has edges that agree with a brain's only "
                f"{edges:.2f} times as well as by chance; give a brain mask with --mask."
            )
        level = refine(to_array(image), start)
        millilitres = float((level > 0).sum()) * SPACING**3 / 1000.0
        if not PLAUSIBLE_ML[0] <= millilitres <= PLAUSIBLE_ML[1]:
            raise BrainError(
                f"No plausible brain found in '{volume.name}' ({millilitres:.0f} ml); give a brain mask with --mask."
            )
        found = to_image(level.astype(np.float32), affine_of(image))
        own = to_image(np.zeros(volume.data.shape, dtype=np.uint8), volume.affine)
        return to_array(sitk.Resample(found, own, sitk.Transform(), sitk.sitkLinear, -1.0)) > 0


def _affine_brain(image: sitk.Image) -> tuple[NDArray[np.bool_], float]:
    """The template's brain on the grid of ``image``, by an affine registration with Mattes mutual information.

    And how well edges inside agree with the template's (:func:`.match.edges_agree`).
    """
    import SimpleITK as sitk

    head = template()
    small, target = coarser(image, COARSE), coarser(head.head, COARSE)
    wide = sitk.Resample(head.wide, target, sitk.Transform(), sitk.sitkNearestNeighbor)
    centre, goal = _top_centre(to_array(target) > 0.2, target), _top_centre(head_mask(to_array(small)), small)
    starts = []
    for nod, lift in itertools.product(np.radians(NODS), LIFTS):
        start = sitk.Similarity3DTransform()
        start.SetCenter(centre)
        start.SetRotation((1.0, 0.0, 0.0), float(nod))
        start.SetTranslation(goal - centre + (0.0, 0.0, lift))
        starts.append(start)
    followed = best_starts(target, small, starts, FOLLOWED, wide)
    found = min((align(target, small, start, share=0.3, step=4.0, mask=wide) for start in followed), key=lambda f: f[1])
    similar = sitk.Similarity3DTransform(found[0])
    affine = sitk.AffineTransform(similar.GetMatrix(), similar.GetTranslation(), similar.GetCenter())
    align(target, small, affine, share=0.5, step=1.0, mask=wide)
    align(head.head, image, affine, share=0.1, step=0.5, mask=head.near)
    brain = sitk.Resample(head.brain, image, affine.GetInverse(), sitk.sitkLinear, 0.0)
    return np.asarray(to_array(brain) > 0.5), edges_agree(head.head, image, affine, to_array(head.brain) > 0)


def _top_centre(head: NDArray[np.bool_], image: sitk.Image) -> NDArray[np.float64]:
    """Centre of mass of the upper part of a head, in SimpleITK's millimetres."""
    affine = affine_of(image)
    points = np.argwhere(head) @ affine[:3, :3].T + affine[:3, 3]
    top = np.percentile(points[:, 2], 99.9)
    return np.asarray(points[points[:, 2] > top - HEAD_MM].mean(axis=0) * (-1, -1, 1))


def refine(data: NDArray[np.float32], start: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Move the border of ``start`` to where the intensities say, within :data:`REACH_MM` and :data:`CORE_MM`.

    Each voxel is brain or not with a probability from three sources: its depth in ``start``, how often its intensity
    occurs inside and just outside, and its neighbours (mean field of a Potts model with Gaussian neighbourhood).

    Args:
        data: [0, 1], cubes of ``SPACING`` mm.
        start: The brain so far.

    Returns:
        Depth in mm, positive inside the refined brain.
    """
    from scipy import ndimage
    from scipy.special import expit

    box = tuple(
        slice(max(low - 10, 0), high + 11)
        for low, high in zip(np.argwhere(start).min(axis=0), np.argwhere(start).max(axis=0), strict=True)
    )
    data, prior = data[box], _depth(start[box]) + GROW_MM
    bins = 40
    shade = np.clip((data * bins).astype(int), 0, bins - 1)
    core, beyond = prior > CORE_MM, prior < -REACH_MM
    depth = prior
    for _ in range(2):  # the second time with the intensities of the first result
        inside, outside = (_histogram(shade[part], bins) for part in (depth > 1.0, (depth < -2.0) & (depth > -12.0)))
        ratio = np.clip(np.log(inside) - np.log(outside), -BOUND, BOUND)[shade]
        evidence = prior / SURE_MM + INTENSITY * ratio
        brain = expit(evidence)
        for _ in range(12):
            brain = expit(evidence + NEIGHBOURS * (2.0 * ndimage.gaussian_filter(brain, 1.0) - 1.0))
            brain[core], brain[beyond] = 1.0, 0.0
        depth = _depth(_tidy((brain > 0.5), core))
    out = np.full(start.shape, -REACH_MM)
    out[box] = depth
    return out


def _histogram(shades: NDArray[np.int_], bins: int) -> NDArray[np.float64]:
    """Smoothed shares, none of them 0."""
    from scipy import ndimage

    counts = ndimage.gaussian_filter1d(np.bincount(shades, minlength=bins).astype(float), 1.0)
    return np.asarray((counts + 1e-3 * counts.sum() / bins) / max(counts.sum(), 1.0))


def _tidy(brain: NDArray[np.bool_], core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One piece without thin bridges, holes or fjords."""
    from scipy import ndimage

    brain = largest_component(ndimage.binary_opening(brain, iterations=2) | core)
    closed = ndimage.binary_closing(np.pad(brain, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    return fill_holes(closed)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Millimetres from the border, which lies half-way between voxels; positive inside."""
    from scipy import ndimage

    inside, outside = (ndimage.distance_transform_edt(part) for part in (mask, ~mask))
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside) * SPACING)
