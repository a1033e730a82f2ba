"""Sessions whose images are in memory already, as those of a window's layers are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..scan.contrasts import Contrast
from ..scan.grid import same_grid
from ..scan.volume import Volume


@dataclass(frozen=True)
class LoadedSession:
    """The contrasts of one person at one visit, all on one grid.

    Attributes:
        subject: Whom, as ``sub-XX``.
        volumes: One for each contrast.
        digest: Of their voxels, affines and contrasts.
    """

    subject: str
    volumes: dict[Contrast, Volume] = field(hash=False, compare=False)
    digest: tuple[str, ...] = ()

    @classmethod
    def of(cls, subject: str, volumes: dict[Contrast, Volume]) -> LoadedSession:
        """With its digest."""
        return cls(subject, volumes, tuple(f"{c}:{volume.digest()}" for c, volume in volumes.items()))

    @property
    def name(self) -> str:
        """The subject's."""
        return self.subject

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Those present."""
        return tuple(self.volumes)

    @property
    def simulated(self) -> bool:
        """It is not."""
        return False

    def stamp(self) -> list[Any]:
        """The digest."""
        return list(self.digest)

    def load(self) -> tuple[dict[Contrast, Volume], NDArray[np.bool_] | None]:
        """The images; there is no mask.

        Raises:
            RecipeError: the contrasts lie on different grids.
        """
        check_one_grid(self.name, self.volumes.values())
        return self.volumes, None


def check_one_grid(session: str, volumes: Iterable[Volume]) -> None:
    """See that the images of a session lie on one grid.

    Raises:
        RecipeError: two do not.
    """
    first, *others = volumes
    for volume in others:
        if not same_grid(volume.data.shape, volume.affine, first.data.shape, first.affine):
            raise RecipeError(
                f"{session}: '{volume.name}' and '{first.name}' lie on different grids; bring them onto one with "
                "napari-mrtrans prepare."
            )
