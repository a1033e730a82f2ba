from __future__ import annotations

import pytest
import torch

from napari_mrtrans.models import Batch
from napari_mrtrans.training.restyle import Restyle

ALL = torch.ones(3, 4, dtype=torch.bool)
ZERO, MEDIAN = [0.0] * 4, [0.5, 0.3, 0.5, 0.4]


def batch(n: int, session: int) -> Batch:
    target = torch.full((n, 1, 4, 4), 0.4)
    target[:, :, 0] = 0
    index = torch.ones(n, dtype=torch.int64)
    return Batch(target.clone(), target, 0 * index, index, session * index)


def test_without_differences_between_sessions_nothing_changes() -> None:
    b = batch(3, 1)
    same = Restyle(torch.zeros(3, 4, 2), ALL, MEDIAN)(b, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same.target, b.target)


@pytest.mark.parametrize("pivots", [ZERO, MEDIAN])
def test_own_effects_go_and_others_come_with_the_sessions_covariance(pivots: list[float]) -> None:
    effects = torch.zeros(3, 4, 2)
    effects[:, 1] = torch.tensor([[0.2, 0.05], [-0.1, -0.02], [-0.1, -0.03]])
    after = Restyle(effects, ALL, pivots)(batch(20_000, 0), torch.Generator().manual_seed(0)).target
    assert not after[:, :, 0].any()
    inside = after[:, 0, 1, 1]
    pivot = pivots[1]
    average = pivot + (0.4 - 0.05 - pivot) / torch.tensor(0.2).exp()
    gain, offset = effects[:, 1].T
    slope = torch.stack([(average - pivot) * gain, offset])  # to first order, what each effect does to the intensity
    assert float(inside.mean()) == pytest.approx(float(average), abs=0.005)
    assert float(inside.std()) == pytest.approx(float(slope.sum(0).square().mean().sqrt()), rel=0.05)


def test_the_draw_depends_on_the_generator_alone() -> None:
    restyle = Restyle(torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1)) * 0.1, ALL, MEDIAN)
    first, again, other = (restyle(batch(2, 2), torch.Generator().manual_seed(s)).target for s in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first - other).abs().max() > 1e-3


def test_what_is_drawn_has_the_covariance_of_the_counted_sessions_only() -> None:
    effects = torch.zeros(3, 4, 2)
    effects[:, 1, 1] = torch.tensor([0.02, -0.02, 0.3])
    counted = ALL.clone()
    counted[2] = False
    after = Restyle(effects, counted, MEDIAN)(batch(20_000, 2), torch.Generator().manual_seed(0)).target[:, 0, 1, 1]
    assert float(after.mean()) == pytest.approx(0.4 - 0.3, abs=0.002)  # its own effect is lost all the same
    assert float(after.std()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_the_strength_scales_what_is_drawn_and_leaves_the_average_contrast(strength: float) -> None:
    effects = torch.zeros(3, 4, 2)
    effects[:, 1, 1] = torch.tensor([0.04, -0.01, -0.03])
    after = Restyle(effects, ALL, MEDIAN, strength)(batch(20_000, 0), torch.Generator().manual_seed(0)).target
    inside = after[:, 0, 1, 1]
    assert float(inside.mean()) == pytest.approx(0.4 - 0.04, abs=0.001)
    full = float(effects[:, 1, 1].square().mean().sqrt())
    assert float(inside.std()) == pytest.approx(strength * full, rel=0.05, abs=1e-6)
