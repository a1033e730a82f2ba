"""Synthetic whole heads: the stripped template in a shell of fluid, skull and scalp, in two contrasts."""

from __future__ import annotations

from functools import cache

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.volume import Volume

#: What a T1-like shade looks like in another contrast: fluid bright, white matter darker than grey, fat bright.
T2_OF_T1 = ([0.0, 0.06, 0.3, 0.6, 0.9, 1.0], [0.0, 0.1, 1.0, 0.6, 0.4, 0.7])


@cache
def _shapes() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """T1-like head, brain, affine on cubes of 3 mm; the shell is thicker on one side than the searched template's."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
    from scipy import ndimage

    image = load_mni152_template(resolution=3)
    brain = np.pad(load_mni152_brain_mask(resolution=3).get_fdata() > 0, 6)
    affine = image.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ (6, 6, 6)
    outside = ndimage.distance_transform_edt(~ndimage.binary_closing(brain, iterations=5)) * 3.0
    skull = 8.0 + 4.0 * (np.arange(brain.shape[1]) / brain.shape[1])[:, None]
    shell = np.select([outside <= 2.5, outside <= skull, outside <= skull + 6.0], [0.3, 0.05, 0.95], 0.0)
    data = np.where(brain, np.pad(image.get_fdata(dtype=np.float32), 6), shell)
    return data.astype(np.float32), brain, affine


def head(contrast: Contrast = Contrast.T1, motion: NDArray | None = None, seed: int = 0) -> tuple[Volume, NDArray]:
    """A head in scanner-like units with noise everywhere, moved in space by a 4x4; and its brain."""
    data, brain, affine = _shapes()
    shade = data if contrast is Contrast.T1 else np.interp(data, *T2_OF_T1)
    noise = np.random.default_rng(seed).rayleigh(8.0, data.shape)
    volume = Volume(
        (600 * shade + noise).astype(np.float32), affine if motion is None else motion @ affine, contrast, f"{contrast}"
    )
    return volume, brain


def motion(degrees: tuple[float, float, float] = (0, 0, 0), shift: tuple[float, float, float] = (0, 0, 0)) -> NDArray:
    """4x4: turns about the axes, then a shift in mm."""
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*np.radians(degrees)), shift)


def dice(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))
