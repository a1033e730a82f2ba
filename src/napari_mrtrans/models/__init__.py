"""Model families by name. Names load on first use: importing this imports no torch, using it does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from .families import FAMILIES

if TYPE_CHECKING:
    from .base import Batch, Model
    from .cgan import CGAN
    from .ddpm import DDPM
    from .direct import Direct
    from .flow import Flow
    from .ncsn import NCSN
    from .residual import ResidualModel
    from .resvit import ResViT
    from .sigma import SigmaModel

_HOMES = {
    "Batch": "base",
    "Model": "base",
    "ResidualModel": "residual",
    "SigmaModel": "sigma",
    **{family.home.partition(":")[2]: family.home.partition(":")[0] for family in FAMILIES.values()},
}

__all__ = [
    "CGAN", "DDPM", "FAMILIES", "NCSN", "Batch", "Direct", "Flow", "Model", "ResViT", "ResidualModel", "SigmaModel",
    "build",
]  # fmt: skip


def build(family: str, options: dict[str, Any]) -> Model:
    """A freshly initialised model of ``family`` with the ``options`` of its card or recipe.

    Raises:
        TypeError: an option that the family does not have.
        ValueError: a value that an option cannot have.
    """
    module, _, name = FAMILIES[family].home.partition(":")
    kind: type[Model] = getattr(import_module(f".{module}" if "." not in module else module, __name__), name)
    for option, hint in get_type_hints(kind.__init__).items():
        if get_origin(hint) is Literal and option in options and options[option] not in get_args(hint):
            raise ValueError(f"{option} '{options[option]}' is none of {', '.join(get_args(hint))}")
    return kind(**options)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
