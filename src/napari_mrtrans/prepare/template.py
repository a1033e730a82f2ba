"""A head to search for: the ICBM152 template, which nilearn ships without skull, in a shell that we put around it.

Registering the bare brain to a whole head fails: nothing tells scalp from cortex. In mutual information only the
classes count, not their brightness, so fluid, skull, scalp and air each get an intensity of their own, and one
template serves every contrast. Below the brain, where heads differ most, the shell is left out of the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .images import to_image

if TYPE_CHECKING:
    import SimpleITK as sitk

SPACING = 2.0
#: Room around the template's own field of view for the shell.
PAD_MM = 24.0
#: Outer face of fluid, skull and scalp in mm from the smoothed brain; and intensities of these and of air.
FACES = (3.0, 9.0, 16.0)
SHADES = (0.3, 0.05, 0.95, 0.0)


@dataclass(frozen=True)
class Template:
    """The template head on cubes of 2 mm.

    Attributes:
        head: Brain and shell, [0, 1].
        brain: 1 inside the brain, else 0.
        near: Where a close comparison makes sense: the brain and 9 mm around it, 4 mm below.
        wide: The same with the whole shell.
    """

    head: sitk.Image
    brain: sitk.Image
    near: sitk.Image
    wide: sitk.Image


@cache
def template() -> Template:
    """The template head, built once for each process (about two seconds)."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
    from scipy import ndimage

    image = load_mni152_template(resolution=int(SPACING))
    pad = round(PAD_MM / SPACING)
    data = np.pad(np.asarray(image.get_fdata(dtype=np.float32)), pad)
    brain = np.pad(load_mni152_brain_mask(resolution=int(SPACING)).get_fdata() > 0, pad)
    affine = image.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ (pad, pad, pad)

    def distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(ndimage.distance_transform_edt(~mask) * SPACING)

    hull = ndimage.binary_closing(np.pad(brain, pad), iterations=8)[pad:-pad, pad:-pad, pad:-pad]
    from_brain, from_hull = distance(brain), distance(hull)
    shell = np.select([from_hull <= face for face in FACES], SHADES[:-1], SHADES[-1])
    i, j, k = np.indices(brain.shape)
    y, z = (affine[axis, :3] @ np.array([i.ravel(), j.ravel(), k.ravel()]) + affine[axis, 3] for axis in (1, 2))
    # Above the plane from the bridge of the nose to the back of the head, a head is scalp around skull around brain.
    vault = (z > 0.35 * np.clip(y, 0.0, None) - 15.0).reshape(brain.shape)
    near = ((from_brain <= 9.0) & vault) | (from_brain <= 4.0)
    wide = ((from_hull <= 22.0) & vault) | (from_brain <= 4.0)
    return Template(
        to_image(np.where(brain, data, shell).astype(np.float32), affine),
        to_image(brain.astype(np.float32), affine),
        to_image(near.astype(np.uint8), affine),
        to_image(wide.astype(np.uint8), affine),
    )
