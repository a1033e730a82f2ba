"""napari-mrtrans: brain MR contrast transformation with uncertainty, in napari and headless. Research use only.

Names load on first use: importing this package imports neither torch nor Qt nor napari.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# OpenMP reads this once, when torch is first imported: with busy-waiting threads, inference slows down several times
# as soon as anything else (a viewer, a data loader) runs on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_HOMES = {
    "Contrast": "contrasts",
    "Pair": "contrasts",
    "guess_contrast": "contrasts",
    "MrtransError": "errors",
    "Volume": "volume",
    "Checkpoint": "checkpoint",
    "list_checkpoints": "library",
    "load_checkpoint": "library",
    "checkpoints_for": "library",
    "stream": "streaming",
    "transform": "whole_volume",
    "SliceUpdate": "streaming",
    "Ensemble": "ensemble",
    "sample_volume": "sample",
    "lesion_report": "lesion",
    "LesionReport": "lesion",
}
_MODULES = ("metrics", "intensity")

if TYPE_CHECKING:
    from . import intensity, metrics
    from .checkpoint import Checkpoint
    from .contrasts import Contrast, Pair, guess_contrast
    from .ensemble import Ensemble
    from .errors import MrtransError
    from .lesion import LesionReport, lesion_report
    from .library import checkpoints_for, list_checkpoints, load_checkpoint
    from .sample import sample_volume
    from .streaming import SliceUpdate, stream
    from .volume import Volume
    from .whole_volume import transform

__all__ = [
    "Checkpoint",
    "Contrast",
    "Ensemble",
    "LesionReport",
    "MrtransError",
    "Pair",
    "SliceUpdate",
    "Volume",
    "checkpoints_for",
    "guess_contrast",
    "intensity",
    "lesion_report",
    "list_checkpoints",
    "load_checkpoint",
    "metrics",
    "sample_volume",
    "stream",
    "transform",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_MODULES])
