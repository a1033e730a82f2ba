"""What a preview can be made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import helpers
from napari_mrtrans import Contrast, Volume
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.follow.run import _runners
from napari_mrtrans.transformation.job import open_job
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.transformation.slice_update import Hooks


@pytest.mark.parametrize(
    ("options", "previews"), [({"prediction": "noise"}, False), ({"prediction": "preconditioned"}, True)]
)
def test_a_network_that_knows_noise_alone_gives_no_preview(
    options: dict[str, str], previews: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(helpers.OPTIONS, "ddpm", {**helpers.OPTIONS.get("ddpm", {}), **options})
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors", "ddpm")
    job = open_job(Volume(helpers.head((40, 48, 8)), helpers.RAS, Contrast.T1), checkpoint, Request(Contrast.T2, n=8))
    with torch.inference_mode():
        assert (True in _runners(job, checkpoint, Hooks())) == previews


def test_nor_does_a_pool_with_such_a_member(tmp_path: Path) -> None:
    noise, flow = (helpers.tiny_checkpoint(tmp_path / f"{name}.safetensors", name) for name in ("ddpm", "flow"))
    assert noise.card.options.get("prediction", "noise") == "noise"
    pool = make_pool("pool", [flow, noise], tmp_path)
    job = open_job(Volume(helpers.head((40, 48, 8)), helpers.RAS, Contrast.T1), pool, Request(Contrast.T2, n=8))
    assert True not in _runners(job, pool, Hooks())
