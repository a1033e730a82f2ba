"""Model families by name; importing this imports torch."""

from __future__ import annotations

from typing import Any

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
    """A freshly initialised model of ``family`` with the ``options`` of its card or recipe."""
    return FAMILIES[family](**options)


__all__ = [
    "CGAN", "DDPM", "FAMILIES", "NCSN", "Batch", "Direct", "Flow", "Model", "ResViT", "ResidualModel", "SigmaModel",
    "build",
]  # fmt: skip
