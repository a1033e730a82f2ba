"""Networks that judge slices: what they learn from, that they learn it, and that nobody is judged by what knew them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import bids_folder
from napari_mrtrans.checkpoints.judge_file import Judge, JudgeCard, load_judge, write_judge
from napari_mrtrans.datasets.phantom import Phantom
from napari_mrtrans.datasets.phantom_options import PhantomOptions
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.errors import CheckpointError, MrtransError
from napari_mrtrans.evaluation.judge_slices import CONTRASTS, FRAME, KINDS, JudgeSlices
from napari_mrtrans.evaluation.slice_artefacts import CHANGES, change
from napari_mrtrans.evaluation.train_judge import FOLDS, Settings, folds_of, train_judge
from napari_mrtrans.networks.judge import SliceJudge
from napari_mrtrans.paths import judge_file
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

RECIPE = Recipe.model_validate(
    {"name": "r", "model": "direct", "pairs": ["T1->T2", "T2->T1"], "stages": [{"steps": 1}], "options": {}}
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    root = tmp_path_factory.mktemp("judge")
    return open_splits(RECIPE, bids_folder(root / "data"), root / "cache")[0]["train"]


def slab() -> np.ndarray:
    row, column = np.mgrid[-1:1:96j, -1:1:80j]
    inside = row**2 + column**2 < 0.7
    texture = np.random.default_rng(0).normal(0, 0.02, (3, 96, 80)) + 0.1 * np.sin(12 * row) * np.cos(9 * column)
    return np.where(inside, 0.5 + texture, 0).astype(np.float32)


@pytest.mark.parametrize("kind", CHANGES)
def test_each_artefact_changes_the_head_and_nothing_else_is_lit(kind: str) -> None:
    image = slab()
    made = change(image, kind, 3.0, np.random.default_rng(1))
    again = change(image, kind, 3.0, np.random.default_rng(1))
    np.testing.assert_array_equal(made, again)
    assert made.shape == image.shape and made.dtype == np.float32
    assert np.isfinite(made).all() and made.min() >= 0
    assert np.abs(made - image)[image > 0].mean() > 0.002
    if kind not in ("rotation", "thick slices"):
        assert not made[image == 0].any()


@pytest.mark.parametrize("spacing", [4.0, 5.0, 7.0, 20.0])
def test_slices_that_are_thick_already_are_made_thicker(spacing: float) -> None:
    image = slab()
    for seed in range(20):
        made = change(image, "thick slices", spacing, np.random.default_rng(seed))
        assert np.abs(made - image)[image > 0].mean() > 0.001


def test_noise_is_rician_of_the_size_that_is_said() -> None:
    flat = np.where(slab() > 0, 0.5, 0).astype(np.float32)
    for seed in range(5):
        made = change(flat, "noise", 3.0, np.random.default_rng(seed))[flat > 0]
        assert 0.1 * 0.5 * 0.9 < made.std() < 0.3 * 0.5 * 1.1
        assert np.mean(made**2) == pytest.approx(0.5**2 + 2 * made.std() ** 2, rel=0.05)


def test_a_slice_is_a_function_of_its_number(source: Source) -> None:
    slices = JudgeSlices(source, 20, seed=3)
    for i in range(8):
        image, contrast, kind, session = slices[i]
        assert image.shape == (3, *FRAME) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
        assert CONTRASTS[contrast] in source.sessions[session].contrasts and kind < len(KINDS)
        np.testing.assert_array_equal(image, slices[i][0])
    assert len({slices[i][2] for i in range(20)}) > 3


def test_the_black_around_a_head_does_not_matter() -> None:
    torch.manual_seed(0)
    net = SliceJudge(4, 9).eval()
    image = torch.zeros(1, 3, 96, 96)
    image[:, :, 32:64, 32:64] = torch.rand(1, 3, 32, 32) + 0.1
    wide = torch.nn.functional.pad(image, (32, 32, 16, 48))
    for small, large in zip(net(image), net(wide), strict=True):
        torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-4)


def test_training_writes_networks_each_without_some_people(source: Source, tmp_path: Path) -> None:
    folds = folds_of(source)
    if len(set(folds.values())) < FOLDS:
        pytest.fail(f"the test's data set has too few people: {folds}")
    lines: list[str] = []
    path = tmp_path / "judge.safetensors"
    trained = train_judge(source, path, Settings(slices=64, batch=16, workers=0), JudgeCard(), lines.append)
    loaded = load_judge(path)
    assert loaded.card == trained.card and loaded.card.folds == folds and loaded.card.slices == 64
    assert len(loaded.networks) == FOLDS and "people left out" in lines[-1]
    images = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)
    for name, fold in folds.items():
        with torch.inference_mode():
            own = torch.cat([p.log_softmax(1) for p in loaded.networks[fold](torch.from_numpy(images))], dim=1)
        np.testing.assert_allclose(loaded(images, name), own, rtol=1e-5, atol=1e-5)
    stranger = loaded(images, "sub-nobody")
    np.testing.assert_array_equal(stranger, loaded(images, f"another-site/{next(iter(folds)).split('/')[-1]}"))
    assert stranger.shape == (2, len(loaded.card.contrasts) + len(loaded.card.kinds))
    for part in (stranger[:, : len(CONTRASTS)], stranger[:, len(CONTRASTS) :]):
        np.testing.assert_allclose(np.exp(part).sum(axis=1), 1, rtol=1e-5)
    assert not any(np.allclose(stranger, loaded(images, name)) for name in folds)


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    few = Source((Phantom(0, 0, PhantomOptions()),), 1.0, tmp_path)
    with pytest.raises(MrtransError, match="at least 4 people"):
        train_judge(few, tmp_path / "x.safetensors", Settings(slices=64), JudgeCard())


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_file_that_holds_no_judge_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "judge.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no file of judging networks"):
        load_judge(path)


def test_written_numbers_are_read_back(tmp_path: Path) -> None:
    card = JudgeCard(contrasts=list(CONTRASTS), kinds=list(KINDS), folds={"sub-1": 1}, slices=7)
    judge = Judge(card, [SliceJudge(len(CONTRASTS), len(KINDS)).eval() for _ in range(2)])
    write_judge(tmp_path / "a.safetensors", judge)
    images = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(load_judge(tmp_path / "a.safetensors")(images), judge(images), atol=5e-3)


def test_the_shipped_networks_know_the_package_contrasts() -> None:
    card = load_judge().card
    assert card.contrasts == list(CONTRASTS) and card.kinds == list(KINDS)
    assert judge_file().stat().st_size < 1_000_000 and card.data
    assert card.folds and all("/" in name for name in card.folds)


def test_no_other_file_is_replaced(tmp_path: Path) -> None:
    """And a folder is said to be one before the training, not after it."""
    from napari_mrtrans.cli.judge import judge

    other = tmp_path / "mine.safetensors"
    other.write_bytes(b"mine")
    for place in (other, tmp_path):
        with pytest.raises(MrtransError, match="is there and holds no networks that judge; give -o another file name"):
            judge(Path("phantom"), place)
    assert other.read_bytes() == b"mine"
