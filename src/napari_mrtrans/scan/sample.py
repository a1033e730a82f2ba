"""The built-in sample: the ICBM152 2009a T1 template at 1 mm, a real average brain that nilearn ships."""

from __future__ import annotations

from ..errors import MrtransError
from .contrasts import Contrast
from .volume import Volume


def sample_volume() -> Volume:
    """The template as a T1 volume: skull-stripped, 197 x 233 x 189 voxels of 1 mm. Needs no download.

    Raises:
        MrtransError: nilearn is not installed.
    """
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        raise MrtransError("The sample brain comes with nilearn; install it: pip install nilearn.") from None
    image = load_mni152_template(resolution=1)
    return Volume(image.get_fdata(dtype="float32"), image.affine, Contrast.T1, "icbm152_T1w", None, image.header)
