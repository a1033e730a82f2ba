"""Vectors of contrasts, learned."""

from __future__ import annotations

from torch import nn


class Embedding(nn.Embedding):
    """``nn.Embedding``; on the meta device it draws nothing, for that would load PyTorch's compiler (seconds)."""

    def reset_parameters(self) -> None:
        """Standard normal, as ever."""
        if not self.weight.is_meta:
            super().reset_parameters()
