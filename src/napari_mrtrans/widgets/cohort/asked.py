"""What the user asks for: scans, what is made of them, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...transformation.request import Request
from ..source import LayerSource

if TYPE_CHECKING:
    from ...checkpoints.checkpoint import Checkpoint

#: Below the output folder: images that were in memory only.
SOURCES = "sources"


@dataclass(frozen=True, eq=False)
class Asked:
    """All that the queue depends on.

    Attributes:
        folder: Of the scans; None: they are images of the window.
        images: These, each with its file where it has one.
        out: Output folder.
        checkpoint: Serves the pair.
        request: What is wanted of each scan.
        workers: 1: here; more: so many processes of Dask.
    """

    folder: Path | None
    images: tuple[tuple[LayerSource, Path | None], ...]
    out: Path
    checkpoint: Checkpoint
    request: Request
    workers: int = 1
