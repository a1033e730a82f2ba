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


_NUMBERS: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float)}


def build(family: str, options: dict[str, Any]) -> Model:
    """A freshly initialised model of ``family`` with the ``options`` of its card or recipe.

    Raises:
        TypeError: an option that the family does not have.
        ValueError: a value that an option cannot have.
    """
    module, _, name = FAMILIES[family].home.partition(":")
    kind: type[Model] = getattr(import_module(f".{module}" if "." not in module else module, __name__), name)
    written = [vars(one)["__init__"] for one in kind.__mro__[::-1] if "__init__" in vars(one)]
    hints = {name: hint for one in written for name, hint in get_type_hints(one).items()}
    for option, value in options.items():
        hint: Any = hints.get(option)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"{option} '{value}' is none of {', '.join(map(str, get_args(hint)))}")
        if hint in _NUMBERS and not (isinstance(value, _NUMBERS[hint]) and isinstance(value, bool) is (hint is bool)):
            remedy = " (YAML takes 1e-3 for text: write 0.001)" if isinstance(value, str) else ""
            raise ValueError(f"{option} '{value}' is no {hint.__name__}{remedy}")
    return kind(**options)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
