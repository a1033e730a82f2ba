"""Muon: matrices take orthogonal steps, everything else AdamW's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from napari_mrtrans.training.muon import Muon, is_matrix, orthogonalised

OPTIONS = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0, "fused": True}


@pytest.mark.parametrize("shape", [(32, 90), (90, 32), (64, 64)])
def test_all_directions_get_about_the_same_weight(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    wide = u @ torch.diag(torch.logspace(-1, 1, len(v))) @ v
    values = torch.linalg.svdvals(orthogonalised(wide[None])[0])
    assert values.min() > 0.4 and values.max() < 1.4
    assert torch.nn.functional.cosine_similarity(orthogonalised(wide[None]).flatten(), (u @ v).flatten(), dim=0) > 0.97


def test_what_is_no_matrix_goes_as_with_adamw() -> None:
    torch.manual_seed(0)
    start = [torch.randn(64), torch.randn(4, 64), torch.randn(5, 4, 2), torch.randn(8, 64, 3, 3)]
    assert not any(is_matrix(value) for value in start)
    results = []
    for kind in (Muon, torch.optim.AdamW):
        parameters = [nn.Parameter(value.clone()) for value in start]
        optimiser = kind(parameters, **OPTIONS)
        for step in range(3):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 0.1 * (step + 1)) * parameter.detach()
            optimiser.step()
        results.append(parameters)
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_memory_order_changes_nothing() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(32, 16, 3, 3), torch.randn(4, 32, 16, 3, 3)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        parameter = nn.Parameter(start.clone(memory_format=layout))
        optimiser = Muon([parameter], **OPTIONS)
        for gradient in gradients:
            parameter.grad = gradient.clone(memory_format=layout)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        assert parameter.is_contiguous(memory_format=layout)
        results.append(parameter)
    torch.testing.assert_close(*results)


def test_a_state_can_be_put_into_a_new_optimiser() -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(16, 20)), nn.Parameter(torch.randn(5))]

    def go(optimiser: Muon, steps: int) -> None:
        for _ in range(steps):
            sum(parameter.square().sum() for parameter in parameters).backward()
            optimiser.step()
            optimiser.zero_grad()

    optimiser = Muon(parameters, **OPTIONS)
    go(optimiser, 3)
    kept, state = [p.detach().clone() for p in parameters], copy.deepcopy(optimiser.state_dict())
    go(optimiser, 2)
    straight = [p.detach().clone() for p in parameters]
    for parameter, value in zip(parameters, kept, strict=True):
        parameter.data.copy_(value)
    resumed = Muon(parameters, **OPTIONS)
    resumed.load_state_dict(state)
    go(resumed, 2)
    for parameter, value in zip(parameters, straight, strict=True):
        assert torch.equal(parameter, value)


def test_weights_of_one_shape_are_stepped_together_as_they_would_be_alone() -> None:
    torch.manual_seed(0)
    start = [torch.randn(32, 16, 3, 3) for _ in range(3)]
    slopes = [torch.randn_like(value) for value in start]

    def stepped(members: list[int]) -> list[torch.Tensor]:
        weights = [nn.Parameter(start[i].clone()) for i in members]
        optimiser = Muon(weights, **OPTIONS)
        for _ in range(2):
            for i, weight in zip(members, weights, strict=True):
                weight.grad = slopes[i].clone()
            optimiser.step()
        return [weight.detach() for weight in weights]

    together = stepped([0, 1, 2])
    for i in range(3):
        torch.testing.assert_close(together[i], stepped([i])[0], atol=1e-6, rtol=1e-5)
