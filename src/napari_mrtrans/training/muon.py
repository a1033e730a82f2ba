"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): equal steps in all directions of a weight matrix.

    B ← μ B + G,   O = NS(G + μ B) ≈ U Vᵀ  where  G + μ B = U S Vᵀ,   W ← (1 - η λ) W - 0.2 η sqrt(max(rows, columns)) O

The factor before O gives its elements the size that AdamW's steps have (Liu et al. 2025, arXiv 2502.16982), so that one
learning rate serves both. torch.optim.Muon takes neither convolutions nor float32: its bfloat16 products take twenty
times as long on processors that have no such unit (``benchmarks/optimisers.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .recipe_parts import Optimiser

#: Coefficients of the quintic Newton-Schulz iteration, and how often it is done (Jordan et al. 2024).
QUINTIC, ROUNDS = (3.4445, -4.775, 2.0315), 5
MOMENTUM = 0.95

#: Weights with fewer rows or channels than this are no matrices to speak of: stems, heads, embeddings.
SMALLEST = 16


def make_optimiser(parameters: list[nn.Parameter], options: Optimiser) -> torch.optim.Optimizer:
    """What a recipe asks for."""
    kind = Muon if options.name == "muon" else torch.optim.AdamW
    return kind(parameters, lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=True)


class Muon(torch.optim.AdamW):
    """Muon for the weights of convolutions and linear layers, AdamW for all others; arguments as AdamW's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. The gradients of matrices are gone after it."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            matrices: dict[tuple[int, ...], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None and is_matrix(weight):
                    matrices.setdefault(tuple(weight.shape), []).append(weight)
            for alike in matrices.values():
                self._step_matrices(alike, group["lr"], group["weight_decay"])
        super().step()
        return loss

    def _step_matrices(self, weights: list[Tensor], lr: float, weight_decay: float) -> None:
        """Weights of one shape, together: a GPU's time goes into starting the many small products."""
        gradients, momenta = [], []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros(())  # AdamW expects one
                state["momentum"] = torch.zeros_like(weight)
            state["step"] += 1
            momenta.append(state["momentum"])
            assert weight.grad is not None
            gradients.append(weight.grad)
            weight.grad = None
        torch._foreach_mul_(momenta, MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        wanted = torch.stack(gradients).add(torch.stack(momenta), alpha=MOMENTUM)
        directions = orthogonalised(wanted.flatten(2)).view_as(wanted)
        first = weights[0]
        directions.mul_(-0.2 * lr * math.sqrt(max(len(first), first[0].numel())))
        torch._foreach_mul_(weights, 1 - lr * weight_decay)
        torch._foreach_add_(weights, list(directions))


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon is for it: a linear layer's (out, in) or a convolution's (out, in, rows, columns), not too thin."""
    return weight.dim() in (2, 4) and min(weight.shape[:2]) >= SMALLEST


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U Vᵀ of matrices U S Vᵀ (n, rows, columns), their singular values between 0.5 and 1.5 rather than 1."""
    a, b, c = QUINTIC
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[1] > matrices.shape[2] else x
