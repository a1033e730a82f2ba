"""Samples of a slice and of its mirror image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from helpers import tiny_model
from napari_mrtrans.models import FAMILIES
from napari_mrtrans.models.drawing import Places, Way, draw, mirrored
from napari_mrtrans.models.noise import Noise
from napari_mrtrans.models.sampler_plan import plan
from napari_mrtrans.scan.contrasts import Pair

SIZE, GRID = 32, (32, 48)
BOX = (slice(0, SIZE), slice(0, SIZE))
T1_TO_T2 = Pair.parse("T1->T2")


def slices(count: int = 2) -> torch.Tensor:
    return torch.rand((count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(3))


def drawn(family: str, source: torch.Tensor, numbers: list[int], *others: torch.Tensor, **options: Any) -> torch.Tensor:
    model = tiny_model(family)[0].eval()
    for parameter in model.parameters():  # untrained, some families hardly look at the slice
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4))
    boxes = options.get("boxes", [BOX] * len(source))
    places = Places(GRID, boxes, [7.0 * k for k in range(len(source))], options["symmetric"])
    way = Way(*plan(model, "dpm++2m", 3, 0.02, 20.0), options.get("tell"))
    with torch.inference_mode():
        return draw(
            model, source, T1_TO_T2, places, Noise(1, turned=options.get("turned", False)), numbers, way, *others
        )


SAMPLING = [family for family in FAMILIES if not tiny_model(family)[0].deterministic]
SINGLE = [family for family in FAMILIES if family not in SAMPLING]


@pytest.mark.parametrize("family", SINGLE)
def test_one_answer_is_the_mean_of_both_sides_and_as_symmetric_as_they_are(family: str) -> None:
    source = slices()
    both = drawn(family, source, [0], symmetric=True)
    here = drawn(family, source, [0], symmetric=False)
    there = drawn(family, source.flip(-1), [0], symmetric=False).flip(-1)
    assert (here - there).abs().max() > 1e-3  # or nothing could be averaged
    torch.testing.assert_close(both, (here + there) / 2)
    torch.testing.assert_close(drawn(family, source.flip(-1), [0], symmetric=True).flip(-1), both)


@pytest.mark.parametrize("family", SAMPLING)
def test_samples_are_drawn_on_either_side_in_pairs(family: str) -> None:
    source, numbers = slices(), [0, 1, 2, 3, 4, 9]
    both = drawn(family, source, numbers, symmetric=True)
    here = drawn(family, source, numbers, symmetric=False)
    there = drawn(family, source.flip(-1), numbers, symmetric=False, turned=True).flip(-1)
    for place, number in enumerate(numbers):
        torch.testing.assert_close(both[:, place], (there if mirrored(number) else here)[:, place], atol=1e-4, rtol=0)
        assert (there - here)[:, place].abs().max() > 1e-3


@pytest.mark.parametrize("family", SAMPLING)
def test_a_sample_is_the_same_whatever_others_are_drawn_with_it(family: str) -> None:
    source = slices(1)
    few = [drawn(family, source, [number], symmetric=True)[:, 0] for number in (0, 3, 5)]
    many = drawn(family, source, [5, 0, 3], symmetric=True)
    torch.testing.assert_close(torch.stack(few, dim=1), many[:, [1, 2, 0]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("turned", [False, True])
def test_noise_stays_at_its_place_in_the_head_where_the_box_of_a_slice_moves(turned: bool) -> None:
    noise, boxes = Noise(1, turned=turned), [BOX, (BOX[0], slice(1, SIZE + 1))]
    first, second = noise.framed(GRID, [2], boxes, [3.0, 3.0])[:, 0]
    if turned:
        first, second = first[:, ::-1], second[:, ::-1]
    np.testing.assert_array_equal(first[:, 1:], second[:, :-1])
    np.testing.assert_array_equal(first, Noise(1).of(GRID, 2, 3.0)[BOX])


def test_half_of_the_pairs_of_a_checkpoint_and_of_each_of_a_pool_are_mirrored() -> None:
    assert [number for number in range(8) if mirrored(number)] == [2, 3, 4, 5]
    assert sum(map(mirrored, range(20))) == 10
    for members in range(2, 7):  # which take turns, a pair each
        for member in range(members):
            mine = [k for k in range(20 * members) if k // 2 % members == member]
            assert 6 <= sum(map(mirrored, mine)) <= 14, (members, member)


def test_other_views_are_turned_with_the_slice() -> None:
    source, view = slices(), slices(2) * 0.3
    both = drawn("direct", source, [0], view, symmetric=True)
    here = drawn("direct", source, [0], view, symmetric=False)
    there = drawn("direct", source.flip(-1), [0], view.flip(-1), symmetric=False).flip(-1)
    torch.testing.assert_close(both, (here + there) / 2)


def test_progress_of_both_sides_is_told_as_one() -> None:
    told: list[tuple[int, int]] = []
    drawn("flow", slices(1), [0, 1, 2, 3], symmetric=True, tell=lambda done, total: told.append((done, total)))
    assert list(dict.fromkeys(told)) == [
        (0, 2),
        *((done, 6) for done in range(3)),
        (1, 2),
        *((done, 6) for done in range(3, 6)),
    ]


@pytest.mark.parametrize("family", ["direct", "cgan"])
def test_what_takes_one_pass_may_be_stopped_before_either_side(family: str) -> None:
    told: list[tuple[int, int]] = []
    drawn(
        family, slices(1), [0] if family == "direct" else [0, 1, 2, 3], symmetric=True, tell=lambda *so: told.append(so)
    )
    assert told == [(0, 2), (1, 2)]
