"""Every error a user can meet derives from :class:`MrtransError` and reads as one plain line: cause and remedy.

None derives from ``RuntimeError``: a generator-based Qt worker swallows those silently.
"""

from __future__ import annotations

import re


class MrtransError(Exception):
    """Base class; its text is shown to the user verbatim (dock, command line), in one line whatever names hold."""

    def __str__(self) -> str:
        return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", super().__str__())


class VolumeError(MrtransError):
    """The input image cannot be used as one 3-D magnetic-resonance volume."""


class CheckpointError(MrtransError):
    """A checkpoint is missing, damaged, or does not serve the request."""


class RecipeError(MrtransError):
    """A training recipe or its data folder is wrong."""


class TrainingError(MrtransError):
    """A training run cannot go on."""


class DeviceError(MrtransError):
    """The requested compute device cannot be used."""


class PartOnly(MrtransError):
    """Not all slices could be computed; ``result`` holds the others where somebody gathered them."""

    result: object = None


class OutOfMemory(PartOnly):
    """The device ran out of memory even at the smallest batch."""


class SliceError(PartOnly):
    """Some slices could not be computed, and the others were."""


def fault_line(error: Exception) -> str:
    """What is said of a fault of ours that costs one of many: its kind, and its words in one line."""
    return f"Unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"
