"""What docs/architecture.md promises: one new module and one line, and everything else follows."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_mrtrans as mt
from helpers import RAS, bids_folder, head, tiny_checkpoint
from napari_mrtrans.checkpoints import library
from napari_mrtrans.datasets import readers
from napari_mrtrans.models.base import Batch, Model
from napari_mrtrans.models.families import FAMILIES, Family
from napari_mrtrans.models.sampler_plan import SAMPLERS
from napari_mrtrans.training.hardware import Hardware
from napari_mrtrans.training.loop import train
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import check_model, open_splits


class Scaled(Model):
    """The target is the source times one number."""

    deterministic = True
    multiple = 4

    def __init__(self, *, conditional: bool = False) -> None:
        super().__init__()
        self.conditional = conditional
        self.net = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.net.weight)

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        return (self.net(batch.source) - batch.target).square().mean()

    def sample(self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve) -> Tensor:
        return self.net(source)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return bids_folder(tmp_path / "bids")


def recipe(**changes: object) -> Recipe:
    document = {
        "name": "mine", "model": "direct", "pairs": ["T1->T2"], "validation_slices": 1,
        "stages": [{"steps": 2, "batch": 2, "crop": [32, 32]}],
        "data": {"validation": ["sub-00"], "test": ["sub-01"]},
        **changes,
    }  # fmt: skip
    return Recipe.model_validate(document)


def test_a_model_family(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("napari_mrtrans.models.scaled")
    module.Scaled = Scaled  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FAMILIES, "scaled", Family("scaled:Scaled", deterministic=True, single_pass=True))
    chosen = recipe(model="scaled")
    check_model(chosen)
    splits, _ = open_splits(chosen, data, tmp_path / "cache")
    path = train(chosen, splits, tmp_path / "run", hardware=Hardware("cpu", workers=0), say=lambda _: None)
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(path.parent))
    checkpoint = mt.load_checkpoint("scaled")
    assert checkpoint in library.checkpoints_for(mt.Contrast.T1, mt.Contrast.T2)
    ensemble = mt.transform(mt.Volume(head(), RAS, "T1"), checkpoint, target="T2")
    assert ensemble.mean.any() and ensemble.info["model"] == "scaled" and not ensemble.std.any()


def test_a_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_step(predict, x, sigmas, *, noise=None, callback=None):
        return predict(x, torch.full((len(x),), sigmas[0]))

    monkeypatch.setitem(SAMPLERS, "one-step", one_step)
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors")
    ensemble = mt.transform(mt.Volume(head(), RAS, "T1"), checkpoint, target="T2", n=2, sampler="one-step")
    assert ensemble.info["sampler"] == "one-step" and np.isfinite(ensemble.mean).all()


def test_a_data_set(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files under another naming: ``sub-00/anat/sub-00_T1w.nii.gz`` becomes ``p00/t1.nii.gz``."""
    for path in data.rglob("*.nii.gz"):
        person, suffix = path.name.removesuffix(".nii.gz").split("_")
        folder = tmp_path / "ours" / f"p{person[4:]}"
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / f"{suffix.removesuffix('w').lower()}.nii.gz")

    class Ours:
        EXAMPLE, SHARES = "p01/t1.nii.gz", None

        @staticmethod
        def place(path: str):
            from napari_mrtrans.datasets.layout import Place

            folder, _, name = path.partition("/")
            contrast = name.removesuffix(".nii.gz").upper()
            return Place(f"sub-{folder[1:]}", "", mt.Contrast.parse(contrast)) if folder.startswith("p") else None

    monkeypatch.setitem(readers.READERS, "ours", Ours)
    splits, skipped = open_splits(recipe(), tmp_path / "ours", tmp_path / "cache")
    assert not skipped
    assert [session.name for session in splits["train"].sessions] == ["sub-02", "sub-03"]


def test_a_recipe_of_an_unknown_family_or_format_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="'other' is none of flow, ddpm"):
        recipe(model="other")
    with pytest.raises(ValueError, match="'other' is none of auto, ixi"):
        recipe(data={"format": "other"})
