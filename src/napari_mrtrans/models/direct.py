"""Direct model: nonlinear regression with a mean squared error (paper, "Deterministic formulation", Eq. 1).

    L(f) = 1/N sum_i || f(x_i) - y_i ||^2

Its minimiser is the conditional mean E[y | x], so it is as good as any answer in squared error and says nothing of
its own certainty.

How strong the contrast of a target came out is a matter of the scanner and its settings, which the source does not
tell. With few training sessions a network learns to recognise them and to repeat their contrast, and carries that over
to new ones. So the loss can give every training session a gain and an offset of its own for each target contrast,
centred over the sessions (a random effect), learned with the network and not used afterwards: what the network itself
answers is then the sessions' average contrast. Phantoms have effects too, but count for the average of a contrast only
where no scan shows it. Normalisation puts the brain's median m at the same value in every scan, so scanners differ in
contrast about that point:

    f_s(x) = m + exp(g_s) (f(x) - m) + o_s
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..scan.contrasts import Contrast
from ..scan.intensity import HEADROOM
from ..scan.neighbours import planes
from .base import VOCABULARY, Batch, Model, Solve, of_all_planes, to_signed, to_unit, unet

#: What session effects leave where it is: the brain's median, or (files made before 2026-11-26) black.
Pivot = Literal["median", "zero"]


def with_effects(image: Tensor, effects: Tensor, pivot: Tensor) -> Tensor:
    """``pivot + exp(g) (image - pivot) + o`` of an image (batch, 1, H, W) in [0, 1].

    Args:
        image: The sessions' average contrast.
        effects: (batch, 2): g and o.
        pivot: (batch,) in [0, 1].
    """
    log_gain, offset = effects.T.reshape(2, -1, 1, 1, 1)
    middle = pivot.reshape(-1, 1, 1, 1)
    return middle + log_gain.exp() * (image - middle) + offset


def without_effects(image: Tensor, effects: Tensor, pivot: Tensor) -> Tensor:
    """Undoes :func:`with_effects`."""
    log_gain, offset = effects.T.reshape(2, -1, 1, 1, 1)
    middle = pivot.reshape(-1, 1, 1, 1)
    return middle + (image - offset - middle) / log_gain.exp()


class Direct(Model):
    """U-Net from source to target, linear output (clamped to [0, 1] only on export).

    Args:
        network: U-Net options or the name of a preset.
        sessions: Training sessions that get a gain and an offset of their own; 0 = the plain loss.
        averaged: By contrast, the numbers of the sessions whose effects average to nothing; default: all.
        pivot: See :data:`Pivot`.
        neighbours_mm: Distance of the slices that the network sees beside each slice; 0 = it sees the slice alone.
        conditional: Tell the network the contrast pair.
    """

    deterministic = True

    def __init__(
        self,
        *,
        network: dict[str, Any] | str,
        sessions: int = 0,
        averaged: dict[str, list[int]] | None = None,
        pivot: Pivot = "zero",
        neighbours_mm: float = 0.0,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        self.neighbours_mm = neighbours_mm
        self.net = unet(network, conditional=conditional, in_channels=planes(neighbours_mm), out_channels=1, time=False)
        self.effects = nn.Parameter(torch.zeros(sessions, len(VOCABULARY), 2)) if sessions else None
        self.averaged = averaged or {}
        self.pivots = [1 / HEADROOM[contrast] if pivot == "median" else 0.0 for contrast in VOCABULARY]

    @property
    def multiple(self) -> int:
        return self.net.multiple

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        del generator  # nothing is random here
        predicted = self.net(to_signed(batch.source), None, batch.source_contrast, batch.target_contrast)
        if self.effects is not None and batch.session is not None:
            predicted = self._as_in_session(predicted, batch)
        return (predicted - to_signed(batch.target)).square().mean()

    def counted(self) -> Tensor:
        """(session, contrast): whether the session counts for the average of the contrast."""
        assert self.effects is not None
        mask = torch.ones(self.effects.shape[:2], dtype=torch.bool, device=self.effects.device)
        for contrast, members in self.averaged.items():
            column = mask[:, VOCABULARY.index(Contrast(contrast))]
            column[:] = False
            column[members] = True
        return mask

    def centred_effects(self) -> Tensor:
        """(session, contrast, 2): log gain and offset in [0, 1] units, 0 on average over the counted sessions."""
        assert self.effects is not None
        counted = self.counted()
        weights = counted / counted.sum(dim=0).clamp(min=1)
        return self.effects - torch.einsum("sc,sce->ce", weights, self.effects)

    def _as_in_session(self, predicted: Tensor, batch: Batch) -> Tensor:
        """The prediction in [-1, 1] with each session's own gain and offset inside the head."""
        effects = self.centred_effects()[batch.session, batch.target_contrast]
        pivot = torch.tensor(self.pivots, device=predicted.device)[batch.target_contrast]
        styled = with_effects(to_unit(predicted), effects, pivot)
        return torch.where(batch.source[:, :1] > 0, to_signed(styled), predicted)

    def of_contrast(self, index: int) -> list[tuple[Tensor, tuple[int | slice, ...]]]:
        effects = [] if self.effects is None else [(self.effects, (slice(None), index))]
        return [*super().of_contrast(index), *effects]

    def start_from(self, state: dict[str, Tensor]) -> None:
        given = {name: value for name, value in state.items() if name != "effects"}
        # The session effects are of this run's sessions, and a curve that the other network lacks starts at 0.
        own = {name: v for name, v in self.state_dict().items() if name == "effects" or name.startswith("net.curve.")}
        super().start_from({**own, **given})

    def predict(self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor) -> Tensor:
        """(batch, planes, H, W) in [0, 1] to the predicted target (batch, 1, H, W), same unit, not clamped."""
        return to_unit(self.net(to_signed(source), None, source_contrast, target_contrast).float())

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve,
        others: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        del noise, solve
        return of_all_planes(self.predict(source, source_contrast, target_contrast), others)
