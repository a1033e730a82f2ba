from __future__ import annotations

import pytest
import torch

from napari_mrtrans.networks.critic import Critic, mean_of_parts


@pytest.mark.parametrize("size", [(11, 9), (6, 5), (8, 16), (1, 3)])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_where_torch_has_no_pooling_of_such_sides_the_means_are_the_same(size: tuple[int, int], count: int) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(mean_of_parts(x, count), torch.nn.functional.adaptive_avg_pool2d(x, count))


def test_a_critic_of_whole_slices_can_be_trained_where_torch_pools_only_sides_that_divide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its gradient penalty; as on Apple's GPUs, told by the device of the tensor."""
    critic = Critic(width=4, grid=8, unshuffle=2)
    source, image = torch.randn(2, 2, 1, 176, 144)
    image.requires_grad_()
    zero = torch.zeros(2, dtype=torch.int64)
    expected = critic(source, image, zero, zero + 1)

    def refuse(x: torch.Tensor, count: object) -> torch.Tensor:
        raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes")

    monkeypatch.setattr(torch.nn.functional, "adaptive_avg_pool2d", refuse)
    with pytest.raises(RuntimeError, match="must be divisible"):
        critic(source, image, zero, zero + 1)
    monkeypatch.setattr("napari_mrtrans.networks.critic._LACKING", "cpu")
    score = critic(source, image, zero, zero + 1)
    torch.testing.assert_close(score, expected)
    (slope,) = torch.autograd.grad(score.sum(), image, create_graph=True)
    slope.square().sum().backward()
    assert image.grad is not None and image.grad.isfinite().all()
