"""What every model family offers the trainer and the sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import partial
from numbers import Integral
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..networks.unet import PRESETS, UNet, UNetOptions
from ..scan.contrasts import Contrast
from ..scan.planes import AXIAL

#: Position in this list is the network's contrast index; the order is part of every checkpoint and never changes.
VOCABULARY: tuple[Contrast, ...] = (Contrast.T1, Contrast.T2, Contrast.PD, Contrast.FLAIR)

#: Solves for the clean variable: (denoiser, unit noise) -> clean; see :mod:`napari_mrtrans.models.samplers`.
Solve = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor], Tensor]


class SharedGenerator(torch.Generator):
    """Of several processes that share a batch, each draws for the whole batch and keeps what is for its own items.

    So the loss of a batch is the same however many share it. Process ``rank`` of ``world`` has items ``rank``,
    ``rank + world``, …
    """

    rank: int = 0
    world: int = 1


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Of the noise of a training step in one process; torch takes no more than 64 bits."""
    if seed < 1 << 22:
        return (seed << 40) + (rank << 32) + step
    return int(np.random.SeedSequence([seed, rank, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal numbers for a batch's items, the first axis."""
    return _own(torch.randn, shape, generator)


def noise_like(image: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise for a batch's images (batch, …), on their device.

    A GPU draws it itself, from a seed of the ``generator``: drawing for a GPU takes a processor longer than the step.
    """
    if image.device.type == "cpu" or (isinstance(generator, SharedGenerator) and generator.world > 1):
        return normal(image.shape, generator).to(image.device)
    there = torch.Generator(image.device)
    there.manual_seed(int(torch.randint(2**62, (), generator=generator)))
    return torch.randn(image.shape, generator=there, device=image.device)


def uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), as :func:`normal`."""
    return _own(torch.rand, shape, generator)


def integers(high: int, count: int, generator: torch.Generator) -> Tensor:
    """Whole numbers below ``high``, one for each of a batch's items."""
    return _own(partial(torch.randint, high), (count,), generator)


def _own(draw: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator) -> Tensor:
    rank, world = (generator.rank, generator.world) if isinstance(generator, SharedGenerator) else (0, 1)
    return draw((shape[0] * world, *shape[1:]), generator=generator)[rank::world]


@dataclass
class Batch:
    """Paired slices in normalised units [0, 1].

    Attributes:
        source: (batch, planes, H, W): the slice itself first, then its neighbours if the model sees them.
        target: (batch, 1, H, W).
        source_contrast: (batch,) int64, index into :data:`VOCABULARY`.
        target_contrast: As ``source_contrast``.
        session: (batch,) int64, number of the training session; None where nobody asks.
    """

    source: Tensor
    target: Tensor
    source_contrast: Tensor
    target_contrast: Tensor
    session: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = None if value is None else value.to(device, non_blocking=True)
        return Batch(**moved)


class Model(nn.Module, ABC):
    """One family: its loss and its way from noise to an image. Images cross this interface in [0, 1]."""

    #: One answer, no spread.
    deterministic: bool = False
    #: Contrast pairs are told to the network.
    conditional: bool
    #: Distance in mm of the two slices that the network sees beside each slice; 0 = it sees the slice alone.
    neighbours_mm: float = 0.0
    #: Length of the latent vector of each sample; 0 = samples start from noise images.
    latent: int = 0
    #: Which stream of noise samples start from, a family's own (see :class:`.noise.Noise`).
    stream: int = 0
    #: Updates of the critic for each update of the model.
    critic_steps: int = 1
    #: Sides of training crops must be at least this.
    smallest_crop: int = 1
    #: Name and number of levels of the sampler that all others are measured against; see :mod:`.sampler_plan`.
    reference: tuple[str, int] = ("", 0)

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Height and width must be multiples of this."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        """Scalar training loss; every random number comes from ``generator`` (dropout apart).

        ``critic`` is what :meth:`make_critic` made, and None for the models without one.
        """

    def make_critic(self) -> nn.Module | None:
        """The network that an adversarial model trains against; needed in training only."""
        return None

    def critic_loss(self, critic: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Scalar loss of the critic, the model held fixed."""
        raise NotImplementedError(f"{type(self).__name__} has no critic")

    def initialise(self) -> str | None:
        """Read into a new network what its training starts from besides random numbers; the answer is a notice."""
        return None

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take over the weights of another checkpoint's network.

        Raises:
            ValueError: they are another network's.
        """
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            first = (str(error).splitlines()[1:] or [str(error)])[0]  # below torch's heading
            raise ValueError(shorten(first.strip().rstrip("."), 200, placeholder=" …")) from None

    def of_contrast(self, index: int) -> list[tuple[Tensor, tuple[int | slice, ...]]]:
        """The parameters that serve one contrast of :data:`VOCABULARY` alone, with where in each; none: there are none
        that could be trained without changing the answers of pairs that it is not in."""
        net = getattr(self, "net", None)
        if not isinstance(net, UNet) or net.source is None or net.target is None:
            return []
        return [(net.source.weight, (index,)), (net.target.weight, (index,))]

    def own_levels(self, steps: int) -> list[float] | None:
        """``steps`` of the noise levels the model was trained on, descending; None where it has no such set."""
        del steps
        return None

    @abstractmethod
    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve,
        others: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Draw targets for each slice; what depends on the slice alone is computed once for all its samples.

        Args:
            source: (slices, planes, H, W) in [0, 1], as :class:`Batch`'s.
            source_contrast: (slices,) int64.
            target_contrast: As ``source_contrast``.
            noise: Standard normal: (slices, n, H, W), or (slices, n, :attr:`latent`) where that is not 0. Deterministic
                models use its shape alone, with n = 1.
            solve: The sampler.
            others: (slices, 1, H, W) in [0, 1]: what the head's coronal and sagittal slices say of these. A model of
                one answer, or one that samples around a mean, puts :func:`of_all_planes` in the place of that; others
                have no use for it.

        Returns:
            (slices, n, H, W), not clamped.
        """


def unet(options: dict[str, Any] | str, *, conditional: bool, **fixed: Any) -> UNet:
    """Build the shared U-Net from a recipe's ``network`` section or the name of a preset.

    Raises:
        TypeError: no such option.
        ValueError: no such preset, or levels without a width.
    """
    if isinstance(options, str):
        if options not in PRESETS:
            raise ValueError(f"network preset '{options}' is none of {', '.join(PRESETS)}")
        options = PRESETS[options]
    if not isinstance(options, Mapping):
        raise ValueError("network: give its sizes, or the name of a preset")
    known = [field.name for field in fields(UNetOptions)]
    for key in options.keys() - set(known):
        close = get_close_matches(str(key), known, 1)
        meant = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
        raise TypeError(f"network.{key} is unknown ({meant})")
    widths = options.get("widths", UNetOptions.widths)
    listed = isinstance(widths, Sequence | np.ndarray) and not isinstance(widths, str) and len(widths) > 0
    if not listed or not all(isinstance(width, Integral) and int(width) > 0 for width in widths):
        raise ValueError("network.widths: give whole numbers, one for each level, such as [32, 64, 128]")
    return UNet(**{**options, **fixed}, contrasts=len(VOCABULARY) if conditional else 0)


def to_signed(image: Tensor) -> Tensor:
    """[0, 1] to the [-1, 1] that networks see."""
    return 2.0 * image - 1.0


def to_unit(image: Tensor) -> Tensor:
    """[-1, 1] back to [0, 1]; not clamped."""
    return (image + 1.0) / 2.0


def of_all_planes(axial: Tensor, others: Tensor | None) -> Tensor:
    """Weighted average of what axial slices say, limited to [0, 1], and of what others do; ``axial`` where none do."""
    return axial if others is None else AXIAL * axial.clamp(0, 1) + (1 - AXIAL) * others


def contrast_index(contrast: Contrast) -> int:
    """Index of a contrast in :data:`VOCABULARY`."""
    return VOCABULARY.index(contrast)
