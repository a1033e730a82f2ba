from __future__ import annotations

import pytest
import torch

from helpers import tiny_model
from napari_mrtrans.training import cost
from napari_mrtrans.training.recipe import Recipe


def recipe(rows: int = 16) -> Recipe:
    _, options = tiny_model("direct")
    stages = [{"steps": 5, "batch": 2, "crop": [rows, 16]}, {"steps": 1, "batch": 3, "crop": [rows, 16]}]
    options.pop("conditional")
    return Recipe.model_validate(
        {"name": "x", "model": "direct", "pairs": ["T1->T2", "T2->T1"], "options": options, "stages": stages}
    )


def test_three_forward_passes_for_each_image() -> None:
    """Two operations for every weight of a convolution at every place that it is applied to."""
    model, _ = tiny_model("direct")
    counted: list[int] = []

    def count(layer: torch.nn.Module, given: object, out: torch.Tensor) -> None:
        counted.append(2 * layer.weight.numel() * (out[0, 0].numel() if out.dim() == 4 else 1))

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    index = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        model.sample(torch.zeros(1, 1, 16, 16), index, index, torch.zeros(1, 1, 16, 16), lambda *_: None)
    assert cost.training_flop(recipe()) == pytest.approx(3 * (5 * 2 + 3) * sum(counted), rel=0.02)


def test_days_hours_and_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_forward", lambda *network: 3600 * cost.GPU / 39)
    assert cost.cost_line(recipe()) == "60 min GPU, 12 days CPU"
