"""The model families, the preferred ones first; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What the rest of the package must know of a family before its model is built.

    Attributes:
        home: Module in :mod:`napari_mrtrans.models` and class in it, ``module:Class``.
        deterministic: One answer and no spread.
        single_pass: One network call for each sample: sampler and steps mean nothing.
        repaired: Outliers of voxels are repaired (paper, "Evaluation of mean …") unless the user says otherwise.
    """

    home: str
    deterministic: bool = False
    single_pass: bool = False
    repaired: bool = False


#: In the order in which they are offered; the first that serves a pair is the default.
FAMILIES: dict[str, Family] = {
    "flow": Family("flow:Flow"),
    "ddpm": Family("ddpm:DDPM", repaired=True),
    "ncsn": Family("ncsn:NCSN"),
    "cgan": Family("cgan:CGAN", single_pass=True),
    "resvit": Family("resvit:ResViT", deterministic=True, single_pass=True),
    "direct": Family("direct:Direct", deterministic=True, single_pass=True),
}

UNKNOWN = Family("")


def family_of(name: str) -> Family:
    """What is known of a family; one of a later version is taken for one that samples."""
    return FAMILIES.get(name, UNKNOWN)
