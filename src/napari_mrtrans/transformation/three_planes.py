"""A head seen three ways: what a network makes of its coronal and sagittal slices, beside the axial ones.

A network that sees one slice guesses anew in the next; the same place seen from two other sides is guessed by other
surroundings, and the average of the three is nearer to the target and smooth across slices, too. The other two views
have a network of their own (:func:`~napari_mrtrans.checkpoints.planes.check_planes`). Models average them with their
own mean (:func:`~napari_mrtrans.models.base.of_all_planes`), those that sample before they sample around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import check_planes
from ..errors import MrtransError
from ..scan.planes import VIEWS, Plane, straight
from ..scan.prepared import PreparedVolume
from .job import Job, grid_of

if TYPE_CHECKING:
    from .streaming import SliceRunner

OTHERS: tuple[Plane, ...] = ("coronal", "sagittal")


class OtherPlanes:
    """The coronal and sagittal views of a job, computed when first asked for.

    Args:
        job: Of the axial slices.
        checkpoint: Of the axial view.
        start: Loads a checkpoint for a job.
        say: Told what is computed.

    Raises:
        CheckpointError: the checkpoint has no network for these views.
    """

    def __init__(
        self,
        job: Job,
        checkpoint: Checkpoint,
        start: Callable[[Job, Checkpoint], SliceRunner],
        say: Callable[[str], None],
    ) -> None:
        self._job, self._checkpoint, self._start, self._say = job, check_planes(checkpoint), start, say
        self._failure: MrtransError | None = None

    @cached_property
    def _mean(self) -> NDArray[np.float32]:
        """Of both views, in the canonical order of the axial one."""
        total = np.zeros(self._job.images.shape, dtype=np.float32)
        sides = {plane: turned(self._job, self._checkpoint, plane) for plane in OTHERS}
        counts = " and ".join(f"{len(side.order)} {plane}" for plane, side in sides.items())
        self._say(f"Three planes: {counts} slices come before the first axial one.")
        for plane, side in sides.items():
            runner, pending = self._start(side, self._checkpoint), list(side.order)
            seen = total.transpose(VIEWS[plane])  # a view of the same memory
            while pending:
                try:
                    done = runner.compute(pending)
                except MrtransError as error:  # whose slice is one of that view
                    self._failure = type(error)(f"Three planes, {plane} view: {error}")
                    raise self._failure from None
                for index, samples in done:
                    assert isinstance(samples, np.ndarray)
                    seen[index] += samples[0] / np.float32(len(OTHERS))
                del pending[: len(done)]
        return total

    def __call__(self, index: int) -> NDArray[np.float32]:
        """What the other views say of an axial slice (canonical): (row, column), in [0, 1], 0 outside the head."""
        if self._failure is not None:  # computed once, and in vain
            raise self._failure
        return self._mean[index]


def turned(job: Job, checkpoint: Checkpoint, plane: Plane) -> Job:
    """All of a job's head from another side, as a job of one sample of the checkpoint of that view."""
    axes = VIEWS[plane]
    images = np.ascontiguousarray(job.images.transpose(axes))
    mask = np.ascontiguousarray(job.mask.transpose(axes))
    spacing = [job.prepared.spacing[axis] for axis in axes]
    volume = straight(images, spacing, job.request.source, job.prepared.volume.name)
    prepared = PreparedVolume(volume, volume.data, mask.transpose(2, 1, 0), known=True)
    request = replace(
        job.request, n=1, slices=None, start_slice=None, mask=None, roi=None, roi_only=False, three_planes=False
    )  # fmt: skip
    grid = grid_of(prepared, checkpoint)
    return Job(request, prepared, images, grid, [int(index) for index in np.flatnonzero(prepared.area)])
