"""What a recipe that trains one contrast alone may change beside it: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers import SMALL_FRAME, TINY, bids_folder, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.models import Direct
from napari_mrtrans.models.base import contrast_index
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.catalogue import list_recipes, load_recipe
from napari_mrtrans.training.hardware import Hardware
from napari_mrtrans.training.initial import prepare_start
from napari_mrtrans.training.loop import train
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

PAIRS = ["T1->T2", "T2->T1", "T1->FLAIR", "FLAIR->T1"]
FRAME = SMALL_FRAME.model_dump()


def recipe(model: str = "direct", **changes: object) -> Recipe:
    """Of a parent in the folder of checkpoints."""
    document = {
        "name": "child",
        "model": model,
        "pairs": PAIRS,
        "options": {"network": TINY},
        "start_from": "parent",
        "only_contrast": "FLAIR",
        "data": {"test": ["sub-00"], "validation": ["sub-01"], "framing": FRAME},
        "stages": [{"steps": 1, "batch": 2, "crop": [32, 32]}],
        "sampler": {"steps": 3, "n": 4},
        **changes,
    }
    return Recipe.model_validate(document)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    root = tmp_path_factory.mktemp("bids")
    return open_splits(recipe(), bids_folder(root / "data"), root / "cache")[0]["train"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path))
    return tmp_path


def refusal(chosen: Recipe, source: Source) -> str:
    with pytest.raises(RecipeError) as caught:
        prepare_start(chosen, source, print)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_pair_that_nobody_has_learned_is_not_served(source: Source, folder: Path) -> None:
    tiny_checkpoint(folder / "parent.safetensors", "direct", pairs=[Pair.parse("T1->T2"), Pair.parse("T1->FLAIR")])
    line = "only_contrast: 'parent' does not serve T2->T1, which is not trained here; leave T2->T1 out."
    assert refusal(recipe(), source) == line
    prepare_start(recipe(pairs=["T1->T2", "T1->FLAIR", "FLAIR->T1"]), source, print)  # learned here


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data": {"spacing_mm": 2.0, "framing": FRAME}}, "data.spacing_mm is not that of 'parent'"),
        ({"data": {}}, "data.framing is not that of 'parent'"),
        ({"sampler": {"steps": 5, "n": 4}}, "sampler is not that of 'parent'"),
        ({"options": {"network": TINY, "neighbours_mm": 3}}, "options.neighbours_mm is not that of 'parent'"),
        ({"options": {"network": {**TINY, "groups": 8}}}, "options.network is not that of 'parent'"),
        ({"model": "ncsn"}, "model is not that of 'parent'"),
        ({"options": {"network": TINY, "sigma_data": 1.0}}, "options.sigma_data is not that of 'parent'"),
    ],
)
def test_what_answers_hang_on_must_be_the_parents(
    changes: dict[str, object], expected: str, source: Source, folder: Path
) -> None:
    tiny_checkpoint(folder / "parent.safetensors", "flow")
    line = refusal(recipe(**{"model": "flow", **changes}), source)
    assert line.startswith(f"only_contrast: {expected}, and the other pairs would answer otherwise; ")
    assert ("; leave it out." in line) == ("sigma_data" in expected) != ("; set it to " in line)
    same = recipe("flow", options={"network": TINY, "neighbours_mm": 0})  # which it is without being said
    prepare_start(same, source, print)


def mean_of(path: Path, parent: Checkpoint, *changed: str) -> Checkpoint:
    """The mean that a parent samples around with other numbers in the rows of a contrast."""
    model = parent.build()
    assert isinstance(model, Direct)
    for contrast in changed:
        for value, where in model.of_contrast(contrast_index(Contrast(contrast))):
            with torch.no_grad():
                value[where] += 0.5
    card = parent.card.model_copy(update={"name": path.stem})
    return read_checkpoint(write_checkpoint(path, model, card))


def test_a_mean_may_differ_in_that_contrast_alone(source: Source, folder: Path) -> None:
    """As the files that come with the package: ``direct`` first, then ``flow`` around it."""
    mean = tiny_checkpoint(folder / "mean.safetensors", "direct")
    whole = recipe("flow", name="parent", start_from=None, only_contrast=None, mean_checkpoint="mean")
    train(whole, {"train": source, "validation": source}, folder, hardware=Hardware(workers=0))
    mean_of(folder / "learned.safetensors", mean, "FLAIR")
    mean_of(folder / "other.safetensors", mean, "FLAIR", "T2")
    for name in ("mean", "learned"):
        prepare_start(recipe("flow", mean_checkpoint=name), source, print)
    line = refusal(recipe("flow", mean_checkpoint="other"), source)
    assert line.startswith("mean_checkpoint: 'other' is not the mean of 'parent', and with only_contrast")
    tiny_checkpoint(folder / "parent.safetensors", "flow")
    assert "'mean' is not the mean of 'parent'" in refusal(recipe("flow", mean_checkpoint="mean"), source)


def test_recipes_of_the_package_ask_for_what_their_parents_are() -> None:
    chosen = [load_recipe(name) for name in list_recipes()]
    chosen = [one for one in chosen if one.only_contrast is not None]
    assert len(chosen) == 7
    for one in chosen:
        parent = load_recipe(str(one.start_from))
        for key in ("model", "options", "sampler", "pairs"):
            assert getattr(one, key) == getattr(parent, key), (one.name, key)
        assert (one.data.spacing_mm, one.data.framing) == (parent.data.spacing_mm, parent.data.framing)
