"""The model families, the preferred ones first; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """What the rest of the package must know of a family before its model is built.

    Attributes:
        home: Module in :mod:`napari_mrtrans.models` and class in it, ``module:Class``.
        deterministic: One answer and no spread.
        single_pass: One network call for each sample: sampler and steps mean nothing.
        described: What it is, in words.
        published_weights: Millions of weights of the published network; 0 = not told.
        published_slices: Millions of slices that the published one saw; 0 = not told.
        repaired: Outliers of voxels are repaired (paper, "Evaluation of mean …") unless the user says otherwise.
        critic_option: The option that is false or 0 where it is trained without its critic; empty: it never has one.
        reference: Sampler that its others are measured against (``--sampler reference``), with its number of levels,
            unless an option ``steps`` says another; empty: there is none.
    """

    home: str
    deterministic: bool = False
    single_pass: bool = False
    described: str = ""
    published_weights: float = 0.0
    published_slices: float = 0.0
    repaired: bool = False
    critic_option: str = ""
    reference: tuple[str, int] = ("", 0)

    def has_critic(self, options: Mapping[str, Any]) -> bool:
        """Whether a model of these options is trained against a critic."""
        return bool(self.critic_option and options.get(self.critic_option, True))

    def reference_of(self, options: Mapping[str, Any]) -> dict[str, str | int]:
        """``sampler`` and ``steps`` that ``--sampler reference`` stands for with a model of these options."""
        name, levels = self.reference
        return {"sampler": name, "steps": options.get("steps", levels)}


#: In the order in which they are offered; the first that serves a pair is the default.
FAMILIES: dict[str, Family] = {
    "flow": Family("flow:Flow", described="Flow matching (not among the paper's models)", reference=("dpm++2m", 200)),
    # The weights are those of the published code at 128 x 128; the slices follow from the paper's hours of training.
    "ddpm": Family(
        "ddpm:DDPM",
        described="DDPM",
        published_weights=85.6,
        published_slices=9.6,
        repaired=True,
        reference=("ancestral", 1000),
    ),
    "ncsn": Family("ncsn:NCSN", described="NCSN", reference=("langevin", 1000)),
    "cgan": Family(
        "cgan:CGAN",
        single_pass=True,
        described="Conditional Wasserstein GAN",
        published_weights=25.7,
        critic_option="adversarial",
    ),
    "resvit": Family(
        "resvit:ResViT",
        deterministic=True,
        single_pass=True,
        described="ResViT",
        published_weights=123.1,
        critic_option="adversarial_weight",
    ),
    "direct": Family(
        "direct:Direct", deterministic=True, single_pass=True, described="Direct U-Net", published_weights=85.6
    ),
}

#: What the card of a checkpoint names that takes the samples of others in turn; each of them has its own sampler.
POOL = "pool"

_POOL = Family("", single_pass=True, described="Pool")
UNKNOWN = Family("")


def family_of(name: str) -> Family:
    """What is known of a family; one of a later version is taken for one that samples."""
    return _POOL if name == POOL else FAMILIES.get(name, UNKNOWN)
