"""What is compared: checkpoints, and those that can look at a head from three sides so, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import check_planes, planes_of
from ..checkpoints.shared import partners
from ..datasets.bids import data_set
from ..datasets.phantom import PREFIX
from ..errors import MrtransError
from .held_out import trained_on


@dataclass(frozen=True)
class Way:
    """A method of the report.

    Attributes:
        checkpoint: Which.
        three_planes: As :attr:`~napari_mrtrans.transformation.request.Request.three_planes`.
    """

    checkpoint: Checkpoint
    three_planes: bool = False

    @property
    def name(self) -> str:
        """Of the method."""
        return f"{self.checkpoint.name}, three planes" if self.three_planes else self.checkpoint.name

    @cached_property
    def key(self) -> dict[str, str]:
        """What tells its rows from those of others."""
        seen = {"three_planes": check_planes(self.checkpoint).sha256} if self.three_planes else {}
        return {"sha256": self.checkpoint.sha256, **seen}


def ways(checkpoints: Sequence[Checkpoint], three_planes: bool) -> list[Way]:
    """The methods: each checkpoint and, where ``three_planes`` are wanted and it has the network, it with those.

    Raises:
        CheckpointError: ``three_planes`` are wanted and none has it.
    """
    found = []
    for checkpoint in checkpoints:
        found.append(Way(checkpoint))
        if three_planes and planes_of(checkpoint) is not None:
            found.append(Way(checkpoint, three_planes=True))
    if three_planes and checkpoints and len(found) == len(checkpoints):
        check_planes(checkpoints[0])
    return found


def distinct(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Each once.

    Raises:
        MrtransError: two have one name, so that their rows could not be told apart.
    """
    found: dict[str, Checkpoint] = {}
    for checkpoint in checkpoints:
        other = found.setdefault(checkpoint.name, checkpoint)
        if other.sha256 != checkpoint.sha256:
            raise MrtransError(
                f"'{other.path}' and '{checkpoint.path}' are both called '{checkpoint.name}'; evaluate one of them, "
                "or train one under another name (--set name=...)."
            )
    return list(found.values())


def described(compared: Sequence[Way], root: Path) -> list[dict[str, Any]]:
    """For the report on people below ``root``: where each came from, and with which others it has weights in common."""
    axial = [way.checkpoint for way in compared if not way.three_planes]
    alike = {c.name: [c, *others] for c, others in zip(axial, partners(axial), strict=True)}
    found = []
    for way in compared:
        c = way.checkpoint
        found.append(
            {
                "name": way.name,
                "model": c.card.model,
                "sha256": c.sha256,
                "training": None if way.three_planes else c.card.training and c.card.training.model_dump(),
                "images": c.card.images,
                "shares": [other.name for other in compared if other != way and other.checkpoint in alike[c.name]],
                "trained_on": sorted({data_set(n) for n in trained_on(c, root) if not n.startswith(PREFIX)}),
            }
        )
    return found
