"""What a training run is judged by is what the engine gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers import RAS, SMALL_FRAME, bids_folder, head, tiny_checkpoint
from napari_mrtrans import Contrast, Pair, Volume, devices, stream
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.datasets.readers import read_folder
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.models import FAMILIES
from napari_mrtrans.scan.framing import Framing
from napari_mrtrans.scan.grid import SliceGrid
from napari_mrtrans.scan.intensity import normalise
from napari_mrtrans.training.validation import SEED, draw, fixed_slices, framed

PAIR = Pair(Contrast.T1, Contrast.T2)


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bf16_is_fast", lambda *_: False)


def as_decoded(data: np.ndarray, index: int) -> np.ndarray:
    """A slice as the trainer decodes it: normalised, on a grid that knows no framing."""
    canonical = data.transpose(2, 1, 0)
    mask = canonical > 0
    grid = SliceGrid.fit(mask, (1.0, 1.0), 1.0, 16)
    return grid.to_model(normalise(canonical, mask, PAIR.source))[index]


@pytest.mark.parametrize("framing", [SMALL_FRAME, Framing(rows=80, columns=48)], ids=["head", "frame"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_engine_gives_what_validation_computes(family: str, framing: Framing, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", family, framing=framing)
    data = head((40, 62, 20))
    n = 1 if checkpoint.deterministic else 3
    (update,) = stream(Volume(data, RAS), checkpoint, source="T1", target="T2", n=n, seed=SEED, slices=(12, 13))
    model = checkpoint.build()
    one = framed(PAIR, as_decoded(data, 12)[None], as_decoded(data, 12), framing, model.multiple, 12.0)
    samples = draw(model, one, range(n), torch.device("cpu"), checkpoint.card.sampler)[:, 0].numpy()
    theirs = update.samples.transpose(0, 2, 1)[:, (data[:, :, 12] > 0).T]  # canonical: rows run along the second axis
    np.testing.assert_allclose(samples[:, one.source[0] > 0], theirs, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_slice_with_one_head_pixel_works(family: str, tmp_path: Path) -> None:
    checkpoint: Checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", family, framing=Framing())
    data = head()
    data[:, :, 17:] = 0
    data[20, 24, 17] = 300
    (update,) = stream(Volume(data, RAS), checkpoint, source="T1", target="T2", n=2, slices=(17, 18))
    assert update.voxels == 1
    assert np.isfinite(update.mean).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("spacing", "beside"), [(1.0, (9, 15)), (2.9, (11, 13)), (6.0, (12, 12))])
def test_a_model_that_sees_neighbours_gets_those_about_3_mm_away(
    family: str, spacing: float, beside: tuple[int, int], tmp_path: Path
) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", family, neighbours_mm=3.0)
    data = head((40, 62, 20))
    n = 1 if checkpoint.deterministic else 2
    asked: Any = {"source": "T1", "target": "T2", "n": n, "seed": SEED, "slices": (12, 13)}
    (update,) = stream(Volume(data, np.diag([1, 1, spacing, 1])), checkpoint, **asked)
    model = checkpoint.build()
    slab = np.stack([as_decoded(data, z) for z in (12, *beside)])
    one = framed(PAIR, slab, slab[0], SMALL_FRAME, model.multiple, 12 * spacing)
    samples = draw(model, one, range(n), torch.device("cpu"), checkpoint.card.sampler)[:, 0].numpy()
    theirs = update.samples.transpose(0, 2, 1)[:, (data[:, :, 12] > 0).T]
    np.testing.assert_allclose(samples[:, one.source[0] > 0], theirs, atol=1e-4)
    alone = framed(PAIR, slab[[0, 0, 0]], slab[0], SMALL_FRAME, model.multiple, 12 * spacing)
    others = draw(model, alone, range(n), torch.device("cpu"), checkpoint.card.sampler)[:, 0].numpy()
    assert np.array_equal(others, samples) == (beside == (12, 12))


def test_every_pair_of_every_person_is_looked_at(tmp_path: Path) -> None:
    bids_folder(tmp_path / "data", 2, (24, 28, 12))
    for missing in (tmp_path / "data" / "sub-01").rglob("*FLAIR.nii.gz"):
        missing.unlink()
    sessions = read_folder(tmp_path / "data").sessions
    source = Source(tuple(sessions), 1.0, tmp_path / "cache")
    pairs = [Pair.parse(pair) for pair in ("T1->T2", "T1->FLAIR", "T2->T1", "T2->FLAIR")]
    looked_at = [one.pair for one in fixed_slices(source, pairs, 16, (SMALL_FRAME, 4))]
    assert {*looked_at} == {*pairs}
    assert [looked_at[::2].count(pair) for pair in pairs] == [2, 2, 2, 2]
    assert [looked_at[1::2].count(pair) for pair in pairs] == [4, 0, 4, 0]
