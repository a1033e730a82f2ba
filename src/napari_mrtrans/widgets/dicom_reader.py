"""A folder of DICOM slices dropped on the window: a layer for each structural scan in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from napari.layers import Layer
from napari.utils.notifications import show_info, show_warning

from ..errors import MrtransError
from .sample_data import LayerData, layer_of

#: Files of one series that are dropped together come one by one; they are of one drop for so many seconds.
TOGETHER = 2.0
_NOTHING: list[Any] = [(None,)]
#: Where the path of a layer stands that results may tell; None there where it names the patient.
_PATH_KEY = "mrtrans_path"


@dataclass
class _Drop:
    """The files that were read last, and when."""

    files: frozenset[Path] = frozenset()
    when: float = 0.0


_last = _Drop()


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """napari's question whether this is for us; None: no DICOM, as far as a few files tell."""
    from ..dicom.files import is_dicom

    return read_layers if is_dicom(_one(path)) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """The layers of a folder, or of the series that a file is of; laid out as NIfTI files are.

    Raises:
        MrtransError: there is nothing that can be used.
    """
    from ..dicom.read import brains_at, read_stack

    given = _one(path)
    if given in _last.files and monotonic() - _last.when < TOGETHER:
        _last.when = monotonic()
        return _NOTHING
    layers, problems = [], []
    stacks = brains_at(given)
    for stack in stacks:
        try:
            if stack.refusal:
                raise MrtransError(f"'{given}' {stack.refusal}.")
            volume = read_stack(stack, given, alone=len(stacks) == 1)
        except MrtransError as error:
            problems.append(error)
            continue
        for line in volume.notices:
            show_info(line)
        data, placement, kind = layer_of(volume)
        placement["metadata"][_PATH_KEY] = volume.path and str(volume.path)
        layers.append((data, placement, kind))
    if not layers:
        raise problems[0]
    for problem in problems:
        show_warning(str(problem))
    _last.files, _last.when = frozenset(file for stack in stacks for file in stack.files), monotonic()
    return layers


def told_path(layer: Layer) -> Path | None:
    """What a layer was read from, as results may tell it."""
    if not layer.source.path:  # made of another, whose metadata it has
        return None
    path = layer.metadata.get(_PATH_KEY, layer.source.path)
    return Path(path) if path else None


def _one(path: str | Sequence[str]) -> Path:
    """Of several, as napari gives them for a stack, all are of the series of the first."""
    return Path(path if isinstance(path, str) else path[0])
