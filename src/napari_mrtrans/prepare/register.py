"""Rigid registration of two contrasts of one head: Mattes mutual information, from many starts, coarse to fine.

Mattes, D. et al. PET-CT image registration in the chest using free-form deformations. IEEE TMI 22, 120-128 (2003), as
SimpleITK has it. What was found is judged by :mod:`.match`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.intensity import head_mask
from ..scan.volume import Volume
from .images import centre_of, coarser, threads, to_array, working_image
from .match import edges_agree, nmi

if TYPE_CHECKING:
    import SimpleITK as sitk

COARSE, FINE = 4.0, 2.0
#: Degrees about each axis that the search starts from; Mattes' metric finds its way over about 20.
ANGLES = (-25.0, 0.0, 25.0)
#: How many of the starts are followed.
FOLLOWED = 4
#: Below this agreement of edges the two have an outline in common at most. Our pairs score 1.4 to 2.4, a head and noise
#: of its outline less than 1.2; heads of two people score 1.17 to 1.21, so what is below LEAST_SAME_EDGES is said.
LEAST_EDGES = 1.2
#: Of one stripped brain in two contrasts on one grid, edges agree 1.6 times or more and outlines overlap by 0.99; of
#: those of two people in one template, 1.3 at most and 0.95.
LEAST_SAME_EDGES, LEAST_SAME_OUTLINE = 1.4, 0.97
#: Share of the smaller head that must lie in the other's field of view.
LEAST_OVERLAP = 0.5
#: Further than a patient turns between two series.
MOST_DEGREES = 60.0


class RegistrationError(MrtransError):
    """Two volumes could not be brought onto each other."""


@dataclass(frozen=True)
class Registration:
    """A rigid motion.

    Attributes:
        matrix: 4x4, from the fixed volume's RAS millimetres to the moving volume's.
        nmi_before: Normalised mutual information by the files' own affines, 1 (nothing in common) to 2 (the same).
        nmi_after: The same after the registration.
        edges: How much more alike edges run than by chance (:func:`.match.edges_agree`).
    """

    matrix: NDArray[np.float64]
    nmi_before: float
    nmi_after: float
    edges: float

    @property
    def degrees(self) -> float:
        """Angle of the rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))

    @property
    def stays(self) -> bool:
        """Whether there is no motion."""
        return bool(np.array_equal(self.matrix, np.eye(4)))

    def inverse(self) -> Registration:
        """The motion that brings what was fixed onto what was moving."""
        return replace(self, matrix=np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))


def register(fixed: Volume, moving: Volume) -> Registration:
    """The rigid motion that brings ``moving`` onto ``fixed``; both show one head, in any contrast and orientation.

    None at all (the identity) where nothing that was found matches better than the files' own position, as of images
    registered already.

    Raises:
        VolumeError: a volume is too thin to see a head in it.
        RegistrationError: the heads do not overlap, or what was found is no match.
    """
    import SimpleITK as sitk

    with threads():
        fine = working_image(fixed, FINE), working_image(moving, FINE)
        coarse = coarser(fine[0], COARSE), coarser(fine[1], COARSE)
        found = [align(*coarse, start, share=0.3, step=4.0) for start in _starts(*coarse)]
        best = min(found, key=lambda pair: pair[1])[0]
        for share, step in ((0.2, 0.5), (0.6, 0.2)):  # few samples make the metric bumpy: the last steps take most
            best, _ = align(*fine, best, share=share, step=step)
        heads = head_mask(to_array(fine[0])), head_mask(to_array(fine[1]))
        before, there = _match(*fine, sitk.Transform(), heads)
        after, overlap = _match(*fine, best, heads)
        if after <= before:
            best, after, overlap = sitk.Transform(), before, there
        edges = edges_agree(*fine, best, heads[0])
    result = Registration(_matrix(best), before, after, edges)
    if overlap < LEAST_OVERLAP or edges < LEAST_EDGES:
        raise RegistrationError(
            f"'{moving.name}' does not match '{fixed.name}' (overlap {overlap:.0%}, NMI {after:.3f}, edges agree "
            f"{edges:.2f} times as well as by chance); are they the same head? Leave it out, or choose another "
            "--reference."
        )
    if result.degrees > MOST_DEGREES:
        raise RegistrationError(
            f"'{moving.name}' would have to turn by {result.degrees:.0f} degrees to match '{fixed.name}', which is not "
            f"plausible; check the orientation in its header."
        )
    return result


def agreement(fixed: Volume, moving: Volume) -> float:
    """How much more alike the edges of two volumes run where they lie than by chance (:func:`.match.edges_agree`).

    Raises:
        VolumeError: one is too thin to see a head in it.
    """
    import SimpleITK as sitk

    with threads():
        images = working_image(fixed, FINE), working_image(moving, FINE)
        return edges_agree(*images, sitk.Transform(), head_mask(to_array(images[0])))


def metric(share: float, mask: sitk.Image | None = None) -> sitk.ImageRegistrationMethod:
    """Mattes mutual information of 32 bins, on a random share of the fixed image's voxels (inside ``mask``)."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(share, 1)
    method.SetInterpolator(sitk.sitkLinear)
    if mask is not None:
        method.SetMetricFixedMask(mask)
    return method


def align(
    fixed: sitk.Image,
    moving: sitk.Image,
    transform: sitk.Transform,
    *,
    share: float,
    step: float,
    mask: sitk.Image | None = None,
) -> tuple[sitk.Transform, float]:
    """Move ``transform`` downhill from where it is, in steps of at most ``step`` mm; the transform and its metric."""
    method = metric(share, mask)
    method.SetOptimizerAsRegularStepGradientDescent(step, 0.01 * step, 100, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # the images drifted apart: no samples overlap
        return transform, 0.0
    return transform, method.GetMetricValue()


def best_starts(
    fixed: sitk.Image,
    moving: sitk.Image,
    starts: Iterable[sitk.Transform],
    count: int,
    mask: sitk.Image | None = None,
) -> list[sitk.Transform]:
    """The ``count`` transforms from which the two images match best before any search."""
    method = metric(0.1, mask)

    def value(start: sitk.Transform) -> float:
        method.SetInitialTransform(start, True)
        try:
            return float(method.MetricEvaluate(fixed, moving))
        except RuntimeError:  # no overlap
            return 0.0

    return sorted(starts, key=value)[:count]


def _starts(fixed: sitk.Image, moving: sitk.Image) -> list[sitk.Transform]:
    """The header's own position, and the best of many turns about the centres of mass."""
    import SimpleITK as sitk

    centre, target = (centre_of(head_mask(to_array(image)), image) for image in (fixed, moving))
    turned = []
    for angles in itertools.product(np.radians(ANGLES), repeat=3):
        start = sitk.Euler3DTransform(centre, *angles)
        start.SetTranslation(target - centre)
        turned.append(start)
    return [sitk.Euler3DTransform(centre), *best_starts(fixed, moving, turned, FOLLOWED)]


def _match(
    fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform, heads: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> tuple[float, float]:
    """NMI inside the fixed head where both fields of view overlap, and the overlap's share of the smaller head."""
    import SimpleITK as sitk

    seen = np.ones_like(to_array(moving))
    ones = sitk.GetImageFromArray(np.ascontiguousarray(seen.T))
    ones.CopyInformation(moving)
    inside = (to_array(sitk.Resample(ones, fixed, transform, sitk.sitkNearestNeighbor, 0.0)) > 0) & heads[0]
    overlap = inside.sum() / max(min(heads[0].sum(), heads[1].sum()), 1)
    if not inside.any():
        return 1.0, 0.0
    resampled = to_array(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0))
    return nmi(to_array(fixed)[inside], resampled[inside]), float(overlap)


def _matrix(transform: sitk.Transform) -> NDArray[np.float64]:
    """4x4 in RAS millimetres of a rigid transform in LPS millimetres."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    moved = np.array([transform.TransformPoint(point) for point in (corners * (-1, -1, 1)).tolist()]) * (-1, -1, 1)
    matrix = np.eye(4)
    matrix[:3, :3] = (moved[1:] - moved[0]).T
    matrix[:3, 3] = moved[0]
    return matrix
