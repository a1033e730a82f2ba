"""Residuals of people whom the mean that is shown in training has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers import OPTIONS, TINY, bids_folder, tiny_checkpoint
from napari_mrtrans.checkpoints.card import Adapted
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.models import Batch, Direct, Flow
from napari_mrtrans.models.base import to_signed
from napari_mrtrans.scan.contrasts import Pair
from napari_mrtrans.training.cross_fit import CrossMeans
from napari_mrtrans.training.hardware import Hardware
from napari_mrtrans.training.initial import prepare_start
from napari_mrtrans.training.loop import train
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

PARTS = ["first", "second"]
WITHOUT = {"network": TINY, "mean_features": False, **OPTIONS.get("flow", {})}


def recipe(**changes: object) -> Recipe:
    document = {
        "name": "tiny-flow",
        "model": "flow",
        "pairs": ["T1->T2", "T2->T1"],
        "options": WITHOUT,
        "mean_checkpoint": "whole",
        "cross_means": PARTS,
        "data": {"test": ["sub-00"], "validation": ["sub-01"]},
        "stages": [{"steps": 3, "batch": 2, "crop": [16, 16], "downsample": 2}],
        "validation_slices": 1,
        **changes,
    }
    return Recipe.model_validate(document)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """Trained on are sub-02 and sub-03."""
    root = tmp_path_factory.mktemp("bids")
    return open_splits(recipe(), bids_folder(root / "data"), root / "cache")[0]


@pytest.fixture
def means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Checkpoint]:
    """Untrained networks that claim to have seen all, or one of both."""
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path))
    seen = {"whole": ["sub-02", "sub-03"], "first": ["sub-02"], "second": ["sub-03"]}
    pairs = [Pair.parse("T1->T2"), Pair.parse("T2->T1")]
    return {
        name: tiny_checkpoint(tmp_path / f"{name}.safetensors", "direct", pairs=pairs, seed=i, splits={"train": people})
        for i, (name, people) in enumerate(seen.items())
    }


def batch(sessions: list[int]) -> Batch:
    image = torch.rand(len(sessions), 1, 16, 16, generator=torch.Generator().manual_seed(3))
    one = torch.ones(len(sessions), dtype=torch.int64)
    return Batch(image, image.flip(2), 0 * one, one, torch.tensor(sessions))


def answer(checkpoint: Checkpoint, b: Batch) -> torch.Tensor:
    model = checkpoint.build()
    assert isinstance(model, Direct)
    with torch.no_grad():
        return to_signed(model.predict(b.source, b.source_contrast, b.target_contrast))


def test_each_session_is_shown_the_mean_that_has_not_seen_it(
    source: dict[str, Source], means: dict[str, Checkpoint]
) -> None:
    model = prepare_start(recipe(), source["train"], print).model
    assert isinstance(model, Flow)
    b = batch([0, 1, 0])
    condition, clean = model.conditioned(b)
    assert condition.mean is not None and condition.features is None
    for row, by in ((0, "second"), (1, "first"), (2, "second")):
        torch.testing.assert_close(condition.mean[row], answer(means[by], b)[row])
    torch.testing.assert_close(clean, (to_signed(b.target) - condition.mean) / model.scale)
    # Where it is used, it sits on the mean that has seen all.
    used = model.condition(b.source, b.source_contrast, b.target_contrast)
    torch.testing.assert_close(used.mean, answer(means["whole"], b))
    assert used.features is None


def test_the_finished_model_needs_none_of_them(
    source: dict[str, Source], means: dict[str, Checkpoint], tmp_path: Path
) -> None:
    path = train(recipe(), source, tmp_path / "out", hardware=Hardware(workers=0))
    made = read_checkpoint(path)
    assert made.card.options["mean_features"] is False
    whole = means["whole"].build().state_dict()
    kept = made.build().state_dict()
    assert {name for name in kept if not name.startswith(("net.", "mean_net."))} == set()
    for name, value in whole.items():
        torch.testing.assert_close(kept[f"mean_{name}"], value, rtol=0, atol=0)
    own = train(recipe(cross_means=()), source, tmp_path / "own", hardware=Hardware(workers=0))
    assert read_checkpoint(own).card.options["residual_std"] != made.card.options["residual_std"]


def test_it_can_start_from_one_that_saw_feature_maps(
    source: dict[str, Source], means: dict[str, Checkpoint], tmp_path: Path
) -> None:
    seeing = recipe(cross_means=(), options={**WITHOUT, "mean_features": True})
    parent = train(seeing, source, tmp_path / "seeing", hardware=Hardware(workers=0))
    started = prepare_start(recipe(start_from=str(parent)), source["train"], print).model.state_dict()
    before = read_checkpoint(parent).build().state_dict()
    stem = "net.stem.weight"
    assert started[stem].shape[1] < before[stem].shape[1]
    torch.testing.assert_close(started[stem], before[stem][:, : started[stem].shape[1]])
    for name in before.keys() - {stem}:
        torch.testing.assert_close(started[name], before[name])


def test_bad_means_are_refused(source: dict[str, Source], means: dict[str, Checkpoint]) -> None:
    for changes in ({"mean_checkpoint": None}, {"options": {"network": TINY}}):
        with pytest.raises(ValueError, match=r"cross_means needs a mean_checkpoint and options\.mean_features: false"):
            recipe(**changes)
    with pytest.raises(RecipeError, match="every checkpoint was trained on 'sub-02'; one must be without it"):
        prepare_start(recipe(cross_means=["first"]), source["train"], print)
    tiny_checkpoint(Path(means["first"].path).parent / "other.safetensors", "flow")
    with pytest.raises(RecipeError, match="'other' is no Direct model of the mean_checkpoint's kind"):
        prepare_start(recipe(cross_means=["other"]), source["train"], print)


def test_what_a_mean_started_from_has_seen_them_too(source: dict[str, Source], means: dict[str, Checkpoint]) -> None:
    model = means["whole"].build()
    assert isinstance(model, Direct)
    folder, pairs = Path(means["first"].path).parent, means["whole"].pairs
    people: dict[str, object] = {"splits": {"train": ["sub-02"]}, "pairs": pairs}
    before = tiny_checkpoint(folder / "tuned.safetensors", "direct", seen_before=["sub-03/ses-1"], **people)
    with pytest.raises(RecipeError, match="every checkpoint was trained on 'sub-03'"):
        CrossMeans([before], model, ["sub-03"], [True])
    told = Adapted(parent="x", parent_sha256="", lineage=["x"], site="Lab", people=2, sessions=2, minutes=1.0)
    adapted = tiny_checkpoint(folder / "lab.safetensors", "direct", adapted=told, **people)
    with pytest.raises(RecipeError, match=r"'lab' was adapted to 2 people of 'Lab', whom its card does not name"):
        CrossMeans([means["first"], adapted], model, ["sub-03"], [True])


def test_a_person_s_other_visit_has_been_seen(source: dict[str, Source], means: dict[str, Checkpoint]) -> None:
    model = means["whole"].build()
    assert isinstance(model, Direct)
    names, scans = ["sub-02/ses-2", "sub-03"], [True, True]
    cross = CrossMeans([means["first"], means["second"]], model, names, scans)
    assert cross.which.tolist() == [1, 0]


def test_a_mean_of_other_pairs_or_pixels_is_refused(source: dict[str, Source], means: dict[str, Checkpoint]) -> None:
    other = recipe(pairs=["T1->FLAIR"], cross_means=[])
    with pytest.raises(RecipeError, match="mean_checkpoint: 'whole' does not serve T1->FLAIR"):
        prepare_start(other, source["train"], print)
    coarse = recipe(data={"test": ["sub-00"], "validation": ["sub-01"], "spacing_mm": 2.0}, cross_means=[])
    with pytest.raises(RecipeError, match="mean_checkpoint: 'whole' has pixels of 1 mm, the recipe of 2"):
        prepare_start(coarse, source["train"], print)
    finer = recipe(options={"network": TINY | {"unshuffle": 1}}, cross_means=[])
    with pytest.raises(RecipeError, match=r"options: network\.unshuffle: 1, but the mean network"):
        prepare_start(finer, source["train"], print)


def test_a_pair_that_nobody_has_is_refused(source: dict[str, Source], means: dict[str, Checkpoint]) -> None:
    with pytest.raises(RecipeError, match="pairs: nobody to train on has both T1 and PD; leave T1->PD out"):
        prepare_start(recipe(pairs=["T1->T2", "T1->PD"]), source["train"], print)


def test_cgan_learns_around_the_mean_that_has_not_seen_the_person(
    source: dict[str, Source], means: dict[str, Checkpoint]
) -> None:
    options = {"network": TINY, "mean_features": False, **OPTIONS.get("cgan", {})}
    b, losses = batch([0, 1, 0]), []
    for parts in (PARTS, []):
        model = prepare_start(recipe(model="cgan", options=options, cross_means=parts), source["train"], print).model
        _, fake = model._fake(b, torch.Generator().manual_seed(0))
        losses.append(fake)
    assert not torch.allclose(*losses)


def test_a_run_on_one_folder_knows_the_people_of_one_on_several(means: dict[str, Checkpoint]) -> None:
    """Whose names go without the folder there."""
    model = means["whole"].build()
    assert isinstance(model, Direct)
    both = ["a/sub-02", "b/sub-02"], [True, True]
    for there, here in ((["a/sub-02"], ["sub-02", "sub-03"]), (["sub-02"], ["a/sub-02", "b/sub-03"])):
        folder = Path(means["whole"].path).parent
        pairs = [*means["whole"].pairs]
        first = tiny_checkpoint(folder / "one.safetensors", "direct", pairs=pairs, splits={"train": there})
        second = tiny_checkpoint(folder / "two.safetensors", "direct", pairs=pairs, splits={"train": ["c/sub-9"]})
        assert CrossMeans([first, second], model, here, [True, True]).which.tolist() == [1, 0]
        if there == ["a/sub-02"]:  # people of one name in two folders are two
            assert CrossMeans([first, second], model, *both).which.tolist() == [1, 0]


def test_a_mean_of_few_pairs_is_refused_among_several(source: dict[str, Source], means: dict[str, Checkpoint]) -> None:
    pairs = [Pair.parse("T1->T2")]
    folder = Path(means["whole"].path).parent
    tiny_checkpoint(folder / "few.safetensors", "direct", pairs=pairs, splits={"train": []})
    with pytest.raises(RecipeError, match="cross_means: 'few' does not serve T2->T1"):
        prepare_start(recipe(cross_means=["first", "few"]), source["train"], print)


def test_a_resumed_run_keeps_its_scale(
    source: dict[str, Source], means: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scans may have been prepared anew in the meantime, which changes what the mean leaves."""
    chosen, out = recipe(cross_means=()), tmp_path / "out"
    path = train(chosen, source, out, hardware=Hardware(workers=0), max_minutes=0)
    before = read_checkpoint(path).card.options["residual_std"]
    monkeypatch.setattr("napari_mrtrans.training.initial._residual_std", lambda *_: 9.0)
    train(chosen, source, out, hardware=Hardware(workers=0), resume=True)
    assert read_checkpoint(path).card.options["residual_std"] == before != 9.0
    again = train(chosen, source, tmp_path / "anew", hardware=Hardware(workers=0))
    assert read_checkpoint(again).card.options["residual_std"] == 9.0


def test_weights_around_a_mean_want_that_mean(
    source: dict[str, Source], means: dict[str, Checkpoint], tmp_path: Path
) -> None:
    parent = train(recipe(cross_means=()), source, tmp_path / "parent", hardware=Hardware(workers=0))
    alone = recipe(cross_means=(), mean_checkpoint=None, start_from=str(parent))
    with pytest.raises(RecipeError, match=r"is another network .* name that as mean_checkpoint, too"):
        prepare_start(alone, source["train"], print)
