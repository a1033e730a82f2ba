"""Whose an open image is, as far as names tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.sessions import entity
from ..scan.contrasts import guess_contrast
from ..scan.nifti import stem
from .source import layer_stem, result_record

if TYPE_CHECKING:
    from napari.layers import Layer

#: What :func:`kinship` says.
OTHERS, UNKNOWN, ONE_FOLDER, ONE_NAME = range(-1, 3)


def entities(layer: Layer) -> tuple[str, str]:
    """``sub-XX`` and ``ses-X`` in the name of a layer, else of its file or its folders; empty where there is none."""
    path = Path(layer.source.path) if layer.source.path else None
    texts = [layer.name, *([path.name, *reversed(path.parent.parts)] if path else [])]
    found = [next((hit for text in texts if (hit := entity(key, text))), "") for key in ("sub", "ses")]
    return found[0], found[1]


def kinship(first: Layer, second: Layer) -> int:
    """What names say of two images: of two people or visits, nothing, of one folder, of one name but for the contrast.

    Returns:
        :data:`OTHERS`, :data:`UNKNOWN`, :data:`ONE_FOLDER` or :data:`ONE_NAME`; larger is closer.
    """
    subject, visit = zip(entities(first), entities(second), strict=True)
    if any(all(pair) and pair[0] != pair[1] for pair in (subject, visit)):
        return OTHERS
    a, b = _origin(first), _origin(second)
    if all(subject) or _number(a.name) == _number(b.name) != ():
        return ONE_NAME
    return ONE_FOLDER if a.is_absolute() and a.parent == b.parent else UNKNOWN


def may_be_one(first: Layer, second: Layer) -> bool:
    """Whether one may be taken for an image of the same person unasked: not where names tell two, or where files of
    two folders are numbered otherwise."""
    told, (a, b) = kinship(first, second), map(_origin, (first, second))
    apart = a.is_absolute() and b.is_absolute() and () not in (_number(a.name), _number(b.name))
    return told > UNKNOWN or (told == UNKNOWN and not apart)


def _origin(layer: Layer) -> Path:
    """The file, or else the name, of the image that a layer is or was made of."""
    record = result_record(layer)
    if record.get("input"):
        return Path(record.get("input_file") or record["input"])
    return Path(layer.source.path or layer_stem(layer))


def _number(file: str) -> tuple[str, ...]:
    """The parts of a name that tell no contrast, if it numbers somebody."""
    parts = [part for part in re.split(r"[_\-.\s]+", stem(Path(file))) if part and guess_contrast(part) is None]
    return tuple(parts) if any(letter.isdigit() for letter in "".join(parts)) else ()
