"""Model families by name; importing this imports torch."""

from __future__ import annotations

from typing import Any

from .base import Batch, Model
from .direct import Direct
from .flow import Flow

FAMILIES: dict[str, type[Model]] = {"direct": Direct, "flow": Flow}


def build(family: str, options: dict[str, Any]) -> Model:
    """A freshly initialised model of ``family`` with the ``options`` of its card or recipe."""
    return FAMILIES[family](**options)


__all__ = ["FAMILIES", "Batch", "Direct", "Flow", "Model", "build"]
