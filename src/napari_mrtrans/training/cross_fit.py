"""Means that have not seen the person.

A network that samples what a ``direct`` network leaves learns from what that leaves of *training* people, which is less
than it leaves of others: its samples then lie too close together. So training can show it, for each person, the answer
of a network that was trained without this person (cross-fitting: Chernozhukov et al. 2018, 10.1111/ectj.12097). The
finished model sits on the network that was trained on all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checkpoints.card_text import adapted_to
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import known_by, subject_of
from ..errors import RecipeError
from ..models import Batch, Direct
from ..models.base import to_signed
from ..networks.unet import UNet


class CrossMeans:
    """The mean of each slice of a batch, by a network that has not seen the person.

    Args:
        parts: ``direct`` checkpoints, each trained without some of the people, as was what it started from.
        whole: The network that was trained on all, for sessions that all of them have seen: phantoms.
        sessions: Names of the run's training sessions, in their order.
        scans: Whether each of them is a scan.

    Raises:
        RecipeError: a checkpoint is of another kind or may have seen anybody, or all of them have seen a scan.
    """

    def __init__(
        self, parts: Sequence[Checkpoint], whole: Direct, sessions: Sequence[str], scans: Sequence[bool]
    ) -> None:
        nets: list[UNet] = []
        for checkpoint in parts:
            model = checkpoint.build()
            kind = getattr(model, "conditional", None), getattr(model, "neighbours_mm", None)
            if not isinstance(model, Direct) or kind != (whole.conditional, whole.neighbours_mm):
                raise RecipeError(f"cross_means: '{checkpoint.name}' is no Direct model of the mean_checkpoint's kind.")
            if checkpoint.card.unnamed:
                raise RecipeError(
                    f"cross_means: '{checkpoint.name}' {adapted_to(checkpoint.card)}, whom its card does not name and "
                    "who may be trained on here; take one that was trained by a recipe."
                )
            nets.append(model.net)
        self.nets = [net.eval().requires_grad_(False) for net in (*nets, whole.net)]
        seen = [set(map(subject_of, checkpoint.card.seen)) for checkpoint in parts]
        which = []
        for session, scan in zip(sessions, scans, strict=True):
            unseen = [i for i, known in enumerate(seen) if not known_by(session, known)]
            if scan and not unseen:
                raise RecipeError(f"cross_means: every checkpoint was trained on '{session}'; one must be without it.")
            which.append(unseen[0] if unseen else len(parts))
        self.which = torch.tensor(which)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """(batch, 1, H, W) in [-1, 1], not clamped."""
        assert batch.session is not None
        x = to_signed(batch.source)
        chosen = self.which.to(x.device)[batch.session]
        mean = torch.empty_like(x[:, :1], dtype=torch.float32)
        for i, net in enumerate(self.nets):
            rows = chosen == i
            if rows.any():
                net.to(x.device)
                mean[rows] = net(x[rows], None, batch.source_contrast[rows], batch.target_contrast[rows]).float()
        return mean
