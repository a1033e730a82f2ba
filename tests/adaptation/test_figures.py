"""What is told of a network before and after it was adapted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mrtrans.adaptation.figures import Judge, Judged, lines
from napari_mrtrans.adaptation.held_error import HeldOut, head_of
from napari_mrtrans.adaptation.own_voxels import OwnVoxels
from napari_mrtrans.adaptation.page import text_table
from napari_mrtrans.checkpoints.card import SamplerDefaults
from napari_mrtrans.models import Model
from napari_mrtrans.scan.contrasts import Pair
from napari_mrtrans.scan.grid import AxisMap, SliceGrid
from napari_mrtrans.training.validation import FixedSlice

CPU = torch.device("cpu")
FLUID = (slice(12, 16), slice(12, 16))


@pytest.fixture
def one() -> FixedSlice:
    """A slice of a head with dark fluid that is 0 in source and target."""
    head = np.zeros((32, 32), np.float32)
    head[4:28, 4:28] = 0.4
    head[FLUID] = 0
    return FixedSlice(Pair.parse("T1->T2"), head[None], head / 2, (32, 32), (slice(0, 32), slice(0, 32)))


def scanned(one: FixedSlice) -> OwnVoxels:
    """Of a scan whose voxels are the model's pixels."""
    grid = SliceGrid(AxisMap(32, 32, 0.0, 1.0), AxisMap(32, 32, 0.0, 1.0))
    return OwnVoxels(one.source[0], one.target, head_of(one.target), (1.0, 1.0), grid, ((0, 0), (0, 0)))


def judged(monkeypatch: pytest.MonkeyPatch, one: FixedSlice, samples: np.ndarray) -> Judged:
    monkeypatch.setattr(Judge, "answer", lambda *_: samples.astype(np.float32))
    model = None  # nothing asks it
    return Judge(CPU, SamplerDefaults(steps=2, n=len(samples))).judge(model, one, scanned(one), 1)[0]  # type: ignore[arg-type]


def test_errors_in_fluid_that_is_0_count(monkeypatch: pytest.MonkeyPatch, one: FixedSlice) -> None:
    answer = one.target.copy()
    answer[FLUID] = 0.5
    found = judged(monkeypatch, one, answer[None])
    assert found.voxels == 24 * 24
    assert found.square == pytest.approx(16 * 0.25 / 24**2)
    assert head_of(one.target).sum() == 24 * 24


def test_the_weights_that_are_kept_are_judged_in_fluid_too(monkeypatch: pytest.MonkeyPatch, one: FixedSlice) -> None:
    answer = torch.from_numpy(one.target.copy())
    answer[FLUID] = 0.5
    monkeypatch.setattr("napari_mrtrans.adaptation.held_error.draw", lambda *_: answer[None, None])

    class Direct(torch.nn.Module):
        deterministic = True

    held = HeldOut([one], CPU, SamplerDefaults())
    model: Model = Direct()  # type: ignore[assignment]
    assert held.error(model) == pytest.approx((16 * 0.25 / 24**2) ** 0.5, rel=1e-4)


def test_of_two_samples_one_is_independent_and_has_no_coverage(
    monkeypatch: pytest.MonkeyPatch, one: FixedSlice
) -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal((2, 32, 32))
    pairs = np.stack([one.target + sign * part for part in noise for sign in (1, -1)])
    found = judged(monkeypatch, one, pairs[:2])
    assert found.covered is None and found.mean_std is not None
    assert lines([found], [found])[0].covered is None
    assert judged(monkeypatch, one, pairs).covered is not None


def slices() -> list[Judged]:
    """Of one person: the standard deviation is that of the errors in each slice, and the small ones err most."""
    sizes, errors = (5000, 5000, 600), (0.04, 0.05, 0.14)
    return [
        Judged("T1->T2", 1, size, std**2, 0.9, std, 0.9 if std < 0.1 else 0.6, {})
        for size, std in zip(sizes, errors, strict=True)
    ]


def test_large_slices_weigh_more_in_all_figures() -> None:
    (line,) = lines(slices(), slices())
    sizes, errors = np.array([5000, 5000, 600]), np.array([0.04, 0.05, 0.14])
    rmse = np.sqrt(np.average(errors**2, weights=sizes))
    assert line.std_over_rmse == pytest.approx([np.average(errors, weights=sizes) / rmse] * 2)
    assert line.covered == pytest.approx([np.average([0.9, 0.9, 0.6], weights=sizes)] * 2)


def test_a_column_is_of_one_coverage() -> None:
    (line,) = lines(slices(), slices())
    assert line.covered is not None
    mended = replace(line, corrected=(0.5, 0.91))
    shown = f"{line.covered[1]:.2f}"
    head, first, second, _ = text_table([mended, line])
    assert "corrected" not in head and first.split()[-1] == second.split()[-1] == shown
    head, first, second, _ = text_table([mended, replace(mended, pair="T2->T1")])
    assert "in 90 % corrected" in head and first.split()[-1] == second.split()[-1] == "0.91"
    head, first, second, _ = text_table([replace(mended, covered=None), replace(line, covered=None)])
    assert first.split()[-1] == second.split()[-1] == "–"
