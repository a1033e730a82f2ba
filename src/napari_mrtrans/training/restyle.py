"""Targets with the contrast of another session.

A ``direct`` network trained with session effects answers with the sessions' average contrast, and knows what gain and
offset set each training session apart from it. Models that sample around that network should treat the contrast of a
new session as unknown: so every training target loses its own session's effects and gets others, drawn from a normal
distribution with the covariance of those that were learned (from scans, where there are scans of the contrast).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..models import Batch
from ..models.base import normal
from ..models.direct import with_effects, without_effects


class Restyle:
    """Random session effects for a batch's targets.

    Args:
        effects: (sessions, contrasts, 2): log gain and offset in [0, 1] units, as ``Direct`` learned and centred them.
        counted: (sessions, contrasts): whose covariance is drawn from.
        pivots: What the gain leaves where it is, for each contrast, in [0, 1] units.
        strength: Standard deviation of the drawn effects over that of the learned ones; 0 = every target gets the
            sessions' average contrast.
    """

    def __init__(self, effects: Tensor, counted: Tensor, pivots: list[float], strength: float = 1.0) -> None:
        self.pivots = pivots
        self.effects = effects.detach().float()
        self.spread = strength * self.effects * (counted / counted.sum(dim=0).clamp(min=1).sqrt())[:, :, None]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The same batch, its targets with random effects; air stays air, and [0, 1] is kept."""
        assert batch.session is not None
        own = self.effects.to(batch.target.device)[batch.session, batch.target_contrast]
        weights = normal((len(own), len(self.effects)), generator).to(own.device)
        drawn = torch.einsum("bs,sbe->be", weights, self.spread.to(own.device)[:, batch.target_contrast])
        pivot = torch.tensor(self.pivots, device=own.device)[batch.target_contrast]
        restyled = with_effects(without_effects(batch.target, own, pivot), drawn, pivot).clamp(0, 1)
        return replace(batch, target=torch.where(batch.target > 0, restyled, batch.target))
