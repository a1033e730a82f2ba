from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import helpers
from napari_mrtrans import Contrast, Pair, Volume, devices, stream
from napari_mrtrans.errors import MrtransError, OutOfMemory
from napari_mrtrans.scan.framing import Framing
from napari_mrtrans.scan.grid import SliceGrid
from napari_mrtrans.scan.intensity import normalise
from napari_mrtrans.training.validation import SEED, draw, framed
from napari_mrtrans.transformation.engine import Engine
from napari_mrtrans.transformation.job import open_job
from napari_mrtrans.transformation.request import Request

#: Halved four times behind a stem of half the resolution: sides must be multiples of 32.
DEEP = {"widths": [8, 8, 8, 8, 8], "blocks": 1, "unshuffle": 2, "groups": 4}


@pytest.mark.parametrize("shape", [(20, 24, 8), (50, 60, 8), (60, 66, 8)])
def test_a_deep_network_meets_sides_that_it_can_halve(
    shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of the grid (16) are too small for it; more black around the head, and the same samples as validation's."""
    monkeypatch.setattr(helpers, "TINY", DEEP)
    monkeypatch.setattr(devices, "bf16_is_fast", lambda *_: False)
    framing = Framing(rows=32, columns=32)
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors", framing=framing)
    assert checkpoint.build().multiple == 32
    data = helpers.head(shape)
    (update,) = stream(
        Volume(data, helpers.RAS), checkpoint, source="T1", target="T2", n=2, seed=SEED, slices=(4, 5)
    )  # fmt: skip
    canonical = data.transpose(2, 1, 0)
    grid = SliceGrid.fit(canonical > 0, (1.0, 1.0), 1.0, 16)
    image = grid.to_model(normalise(canonical, canonical > 0, Contrast.T1))[4]
    one = framed(Pair(Contrast.T1, Contrast.T2), image[None], image, framing, 32, 4.0)
    samples = draw(checkpoint.build(), one, range(2), torch.device("cpu"), checkpoint.card.sampler)[:, 0].numpy()
    theirs = update.samples.transpose(0, 2, 1)[:, canonical[4] > 0]
    np.testing.assert_allclose(samples[:, one.source[0] > 0], theirs, atol=1e-4)


def test_the_grid_is_left_as_it_is_where_it_fits(tmp_path: Path) -> None:
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors")
    job = open_job(Volume(helpers.head((50, 60, 8)), helpers.RAS, Contrast.T1), checkpoint, Request(Contrast.T2))
    engine = Engine(job, checkpoint, torch.device("cpu"), None, None)
    assert engine.job.grid == job.grid == engine.with_job(job).job.grid


@pytest.mark.parametrize("voxel", [0.5, 0.72, 0.91, 1.0, 1.6, 3.0])
def test_the_rim_of_the_brain_is_as_bright_as_the_network_says(voxel: float, tmp_path: Path) -> None:
    """A network that answers rightly, black outside the head as its targets were, and 0.6 within."""
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors", "direct")
    rows, columns = np.ogrid[:60, :66]
    disc = np.hypot((rows - 30) / 22, (columns - 32) / 25) < 1
    data = np.repeat((disc * (1 + 0.1 * np.sin(rows / 3) * np.cos(columns / 4)))[..., None], 4, axis=2)
    affine = np.diag([voxel, voxel, 3, 1])
    job = open_job(Volume(data.astype(np.float32), affine, Contrast.T1), checkpoint, Request(Contrast.T2))
    engine = Engine(job, checkpoint, torch.device("cpu"), None, None)
    inside = engine.job.mask[2]
    target = engine.job.grid.to_model(0.6 * inside.astype(np.float32))
    back = engine._to_source(2, target[engine._slice(2)[1]][None])[0]
    assert not back[~inside].any()
    assert abs(back[inside] - 0.6).max() < (1e-6 if voxel == 1 else 0.06)


@pytest.mark.parametrize("error", [RuntimeError("mine"), RuntimeError("out of memory"), MemoryError(), KeyError()])
@pytest.mark.parametrize("hook", ["cancel", "on_step"])
def test_an_error_of_the_callers_own_hook_is_not_the_devices(hook: str, error: Exception, tmp_path: Path) -> None:
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors")

    def raises(*_: object) -> bool:
        raise error

    volume = Volume(helpers.head((20, 24, 8)), helpers.RAS, Contrast.T1)
    with pytest.raises(type(error)) as caught:
        list(stream(volume, checkpoint, target="T2", n=1, slices=(4, 5), **{hook: raises}))  # type: ignore[arg-type]
    assert caught.value is error


def test_an_error_of_the_device_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors")

    def fails(*_: object) -> None:
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(Engine, "_draw", fails)
    volume = Volume(helpers.head((20, 24, 8)), helpers.RAS, Contrast.T1)
    with pytest.raises(MrtransError, match=r"^The cpu device failed: no kernel$"):
        list(stream(volume, checkpoint, target="T2", n=1, slices=(4, 5)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("CUDA error: no kernel image is available\nmore"), MrtransError),
    ],
)
def test_what_a_device_cannot_load_is_one_line(
    error: Exception, told: type[MrtransError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = helpers.tiny_checkpoint(tmp_path / "tiny.safetensors")

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch.nn.Module, "to", fails)
    volume = Volume(helpers.head((20, 24, 8)), helpers.RAS, Contrast.T1)
    with pytest.raises(MrtransError) as caught:
        list(stream(volume, checkpoint, target="T2", n=1, slices=(4, 5)))
    assert type(caught.value) is told
    lines = {
        OutOfMemory: f"The computer ran out of memory as '{checkpoint.name}' was loaded. Close other programs.",
        MrtransError: "The cpu device failed: CUDA error: no kernel image is available",
    }
    assert str(caught.value) == lines[told]
