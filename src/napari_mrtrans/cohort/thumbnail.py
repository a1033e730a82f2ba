"""A small picture of a result: the largest slice of the head as source, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..page.panels import in_memory
from ..paths import holds_something, write_together
from ..scan.grid import Orientation
from ..scan.prepared import PreparedVolume
from ..transformation.ensemble import Ensemble
from ..transformation.saved import saved_result

if TYPE_CHECKING:
    from .plan import Order, Scan

#: Height in pixels.
HEIGHT = 120
#: Upper ends of the scales, the same for all scans so that they compare: grey, and standard deviation.
WHITE, SPREAD = 0.8, 0.2


def save_thumbnail(path: Path, ensemble: Ensemble) -> None:
    """Write a JPEG; deterministic models have a black third part."""
    from matplotlib import colormaps
    from matplotlib.image import imsave

    volume, source = ensemble.volume, ensemble.info["source"]
    orientation = Orientation.from_affine(volume.affine)
    images = (PreparedVolume.of(volume).normalised(source), ensemble.mean, ensemble.std)
    head, mean, std = (orientation.to_canonical(image) for image in images)
    answered = mean.any(axis=(1, 2))
    index = int(np.where(answered | ~answered.any(), (head > 0).sum(axis=(1, 2)), 0).argmax())
    planes = head[index], mean[index], std[index]
    rows, columns = (np.flatnonzero((head[index] > 0).any(axis=1 - axis)) for axis in (0, 1))
    sizes = volume.voxel_sizes[list(orientation.order)][1:]
    source_image, mean_image, std_image = (
        _scaled(plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], sizes) for plane in planes
    )
    grey, magma = colormaps["gray"], colormaps["magma"]
    parts = [grey(source_image / WHITE), grey(mean_image / WHITE), magma(std_image / SPREAD)]
    picture = np.hstack([np.asarray(part)[..., :3] for part in parts])
    in_memory(lambda file: imsave(file, picture, format="jpg", pil_kwargs={"quality": 85}))(path)


def _scaled(plane: NDArray[np.float32], sizes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Square pixels, anterior up and the subject's right on the left."""
    from skimage.transform import resize

    width = round(HEIGHT * plane.shape[1] * sizes[1] / (plane.shape[0] * sizes[0]))
    return np.clip(resize(plane[::-1, ::-1], (HEIGHT, max(width, 1)), anti_aliasing=True), 0, None)


def redraw(order: Order, scans: Iterable[Scan]) -> None:
    """Draw the pictures that finished scans lack, of what is saved; none where that or the scan cannot be read."""
    for scan in scans:
        path, record = order.thumbnail(scan), order.record(scan)
        if holds_something(path) or not holds_something(record):
            continue
        with suppress(MrtransError, OSError, ValueError):
            result, found = saved_result(record)
            if found:
                write_together(path.parent, {path.name: partial(save_thumbnail, ensemble=result)})
