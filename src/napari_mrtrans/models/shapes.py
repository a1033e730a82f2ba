"""A model that answers without weights and images: of their shapes alone, on torch's meta device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..scan.neighbours import planes
from .base import Model
from .samplers import Predict


def answer_once(model: Model, rows: int, columns: int) -> None:
    """One image of this size through a model that was built on the meta device, once."""
    with torch.device("meta"), torch.no_grad():
        image = torch.zeros(1, planes(model.neighbours_mm), rows, columns)
        index = torch.zeros(1, dtype=torch.int64)
        noise = torch.zeros(1, 1, model.latent) if model.latent else torch.zeros(1, 1, rows, columns)

        def once(predict: Predict, start: Tensor) -> Tensor:
            return predict(start, torch.ones(len(start)))

        model.sample(image, index, index, noise, once)
