"""Every key of a recipe, with its default and what it means, as ``--keys`` and the docs list them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python


@dataclass(frozen=True)
class Key:
    """One of them.

    Attributes:
        name: With those above it: ``optimiser.lr``; ``stages[].steps`` where there are several of them.
        usual: Its value where a recipe leaves it out, as YAML has it; empty where every recipe must tell it.
        meaning: In words.
    """

    name: str
    usual: str
    meaning: str


def keys_of(model: type[BaseModel], above: str = "") -> Iterator[Key]:
    """In the order in which they are declared; a part that says what it is, then its own keys."""
    for name, field in model.model_fields.items():
        part = _part(field.annotation)
        usual = field.get_default(call_default_factory=True)
        told = usual is not PydanticUndefined and (part is None or usual is None)
        if part is None or field.description:
            written = json.dumps(to_jsonable_python(usual), ensure_ascii=False) if told else ""
            yield Key(above + name, written, field.description or "")
        if part is not None:
            several = "[]" if get_origin(field.annotation) is tuple else ""
            yield from keys_of(part, f"{above}{name}{several}.")


def _part(annotation: Any) -> type[BaseModel] | None:
    """The model that a field is one of, or a tuple or an optional one of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_part, get_args(annotation))), None)
