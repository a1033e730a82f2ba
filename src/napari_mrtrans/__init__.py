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
    "Contrast": "scan.contrasts",
    "Pair": "scan.contrasts",
    "guess_contrast": "scan.contrasts",
    "MrtransError": "errors",
    "Volume": "scan.volume",
    "Checkpoint": "checkpoints.checkpoint",
    "list_checkpoints": "checkpoints.library",
    "load_checkpoint": "checkpoints.library",
    "checkpoints_for": "checkpoints.library",
    "adapt": "adaptation.run",
    "stream": "transformation.streaming",
    "transform": "transformation.whole_volume",
    "SliceUpdate": "transformation.streaming",
    "Ensemble": "transformation.ensemble",
    "sample_volume": "scan.sample",
    "lesion_report": "lesion.measure",
    "LesionReport": "lesion.measure",
}
_MODULES = {"metrics": "metrics", "intensity": "scan.intensity"}

if TYPE_CHECKING:
    from . import metrics
    from .adaptation.run import adapt
    from .checkpoints.checkpoint import Checkpoint
    from .checkpoints.library import checkpoints_for, list_checkpoints, load_checkpoint
    from .errors import MrtransError
    from .lesion.measure import LesionReport, lesion_report
    from .scan import intensity
    from .scan.contrasts import Contrast, Pair, guess_contrast
    from .scan.sample import sample_volume
    from .scan.volume import Volume
    from .transformation.ensemble import Ensemble
    from .transformation.streaming import SliceUpdate, stream
    from .transformation.whole_volume import transform

__all__ = [
    "Checkpoint",
    "Contrast",
    "Ensemble",
    "LesionReport",
    "MrtransError",
    "Pair",
    "SliceUpdate",
    "Volume",
    "adapt",
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
        return import_module(f".{_MODULES[name]}", __name__)
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_MODULES])
