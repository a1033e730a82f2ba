"""Model families by name; importing this imports torch."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from .base import Batch, Model
from .cgan import CGAN
from .ddpm import DDPM
from .direct import Direct
from .flow import Flow
from .ncsn import NCSN
from .residual import ResidualModel
from .resvit import ResViT
from .sigma import SigmaModel

FAMILIES: dict[str, type[Model]] = {
    "direct": Direct,
    "flow": Flow,
    "ddpm": DDPM,
    "ncsn": NCSN,
    "cgan": CGAN,
    "resvit": ResViT,
}


def build(family: str, options: dict[str, Any]) -> Model:
    """A freshly initialised model of ``family`` with the ``options`` of its card or recipe.

    Raises:
        TypeError: an option that the family does not have.
        ValueError: a value that an option cannot have.
    """
    kind = FAMILIES[family]
    for name, hint in get_type_hints(kind.__init__).items():
        if get_origin(hint) is Literal and name in options and options[name] not in get_args(hint):
            raise ValueError(f"{name} '{options[name]}' is none of {', '.join(get_args(hint))}")
    return kind(**options)


__all__ = [
    "CGAN", "DDPM", "FAMILIES", "NCSN", "Batch", "Direct", "Flow", "Model", "ResViT", "ResidualModel", "SigmaModel",
    "build",
]  # fmt: skip
