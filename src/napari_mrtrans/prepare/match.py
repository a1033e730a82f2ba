"""How well two images match: what is told of a registration, and what refuses one.

Mutual information says how much, but not whether it is the tissues that agree: two heads, or a head and noise of its
outline, share a good deal. Edges inside do not run alike by chance, in any two contrasts (normalised gradient fields:
Haber, E. & Modersitzki, J. Intensity gradient based registration and fusion of multi-modal images. MICCAI 2006).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .images import to_array

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Outlines lie within this many mm of a head's border, and are no sign of a match.
BORDER_MM = 8.0
#: How far off chance agreement is measured: a gyrus' width.
BESIDE_MM = 12.0


def nmi(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """(H(a) + H(b)) / H(a, b): 1 for independent samples, 2 for one-to-one ones.

    Studholme, C. et al. An overlap invariant entropy measure of 3D medical image alignment. Pattern Recognition 32,
    71-86 (1999).
    """
    from scipy.stats import entropy

    joint = np.histogram2d(a, b, 32)[0]
    together = entropy(joint.ravel())
    return float((entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))) / together) if together > 0 else 1.0


def edges_agree(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform, head: NDArray[np.bool_]) -> float:
    """How much more alike edges run at ``transform`` than :data:`BESIDE_MM` beside it; about 1 where nothing is shared.

    Args:
        fixed: Cubes.
        moving: Any grid.
        transform: From the fixed to the moving image's millimetres.
        head: On the grid of ``fixed``; compared further than :data:`BORDER_MM` inside.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    deep = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1, 1:-1] * fixed.GetSpacing()[0] > BORDER_MM
    if not deep.any():
        return 1.0
    box = tuple(slice(max(i.min() - 4, 0), i.max() + 5) for i in np.nonzero(deep))
    inside = deep[box]
    still = _gradients(to_array(fixed)[box], inside)

    def alike(shift: tuple[float, float]) -> float:
        beside = sitk.CompositeTransform([transform, sitk.TranslationTransform(3, [*shift, 0.0])])
        moved = to_array(sitk.Resample(moving, fixed, beside, sitk.sitkLinear, 0.0))[box]
        return float(((still * _gradients(moved, inside)).sum(axis=0) ** 2).mean())

    shifts = [(BESIDE_MM, 0.0), (-BESIDE_MM, 0.0), (0.0, BESIDE_MM), (0.0, -BESIDE_MM)]
    by_chance = float(np.mean([alike(shift) for shift in shifts]))
    return alike((0.0, 0.0)) / by_chance if by_chance > 0 else 1.0


def _gradients(data: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Directions of edges, (3, voxels inside): shorter than 1 where the edge is weak against the median one."""
    from scipy import ndimage

    fields = [
        ndimage.gaussian_filter(data, 1.0, order=np.eye(3, dtype=int)[axis].tolist())[inside] for axis in range(3)
    ]
    gradients = np.stack(fields).astype(float)
    squares = (gradients**2).sum(axis=0)
    return np.asarray(gradients / np.sqrt(squares + np.median(squares) + 1e-12))
