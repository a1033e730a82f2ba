from __future__ import annotations

import runpy
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from napari_mrtrans.checkpoints.library import list_checkpoints
from napari_mrtrans.datasets.readers import READERS
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.models import FAMILIES
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.catalogue import list_recipes, load_recipe
from napari_mrtrans.training.recipe_parts import Stage
from napari_mrtrans.training.setup import check_model, check_parents

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL: dict[str, Any] = {
    "name": "small",
    "model": "direct",
    "pairs": ["T1->T2", "T2->T1"],
    "options": {"network": {"widths": [8, 16], "blocks": 1, "unshuffle": 2, "groups": 4}},
    "stages": [{"steps": 3, "batch": 2, "crop": [16, 16]}, {"steps": 5}],
}


@pytest.fixture
def write(tmp_path: Path):
    def write(document: object = SMALL, name: str = "small.yaml") -> Path:
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
        return path

    return write


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, list(overrides))
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_can_be_built(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    check_model(recipe)
    if list_recipes()[name].parent.name != "shipped":
        held_out = recipe.data.test or recipe.data.holdout_fraction or READERS[recipe.data.format].SHARES
        assert held_out, "somebody is held out"
        return
    assert recipe.data.test, "a shipped checkpoint is judged on named subjects"
    assert not set(recipe.data.test) & set(recipe.data.validation)
    assert recipe.data.sources
    for source in recipe.data.sources:
        assert source.licence
        assert source.citation
    assert load_recipe(name).sha256 == recipe.sha256


def test_every_family_is_shipped_for_six_pairs_or_more() -> None:
    six = {Pair(a, b) for a in ("T1", "T2", "FLAIR") for b in ("T1", "T2", "FLAIR") if a != b}
    shipped = [load_recipe(name) for name, path in list_recipes().items() if path.parent.name == "shipped"]
    assert {recipe.model for recipe in shipped if set(recipe.pairs) >= six} == FAMILIES.keys()


def test_recipes_serve_the_pairs_of_the_files_that_they_made() -> None:
    shipped = {checkpoint.name: checkpoint for checkpoint in list_checkpoints() if checkpoint.name in list_recipes()}
    assert len(shipped) == len(FAMILIES)
    for name, checkpoint in shipped.items():
        recipe = load_recipe(name)
        assert (checkpoint.card.model, set(checkpoint.pairs)) == (recipe.model, set(recipe.pairs))


@pytest.mark.parametrize("distance", [-2, float("nan"), "far"])
def test_neighbours_are_some_way_off(distance: object) -> None:
    recipe = load_recipe("own-direct")
    check_model(recipe.model_copy(update={"options": {**recipe.options, "neighbours_mm": 3}}))
    with pytest.raises(RecipeError, match=r"options\.neighbours_mm: \S+ is no distance; give mm, or 0"):
        check_model(recipe.model_copy(update={"options": {**recipe.options, "neighbours_mm": distance}}))


@pytest.mark.parametrize(
    ("name", "crop", "enough"),
    [("resvit-crops", 16, False), ("resvit-crops", 32, True), ("t1-t2-flair-cgan", 8, False)],
)
def test_a_crop_must_suit_the_critic(name: str, crop: int, enough: bool) -> None:
    stage = {"steps": 1, "batch": 1, "crop": [crop, crop]}
    overrides = ["options.network=fast"] if name == "t1-t2-flair-cgan" else []
    recipe = load_recipe(name, overrides).model_copy(update={"stages": (Stage(**stage),)})
    if enough:
        check_model(recipe)
    else:
        with pytest.raises(RecipeError, match=r"stages.0.crop: \w+ needs at least"):
            check_model(recipe)


def test_a_recipe_as_it_is_written(write) -> None:
    recipe = load_recipe(write())
    assert recipe.pairs == (Pair(Contrast.T1, Contrast.T2), Pair(Contrast.T2, Contrast.T1))
    assert recipe.conditional
    assert recipe.total_steps == 8
    assert recipe.stages[0].crop == (16, 16)
    assert recipe.stages[1].batch == 8


def test_one_pair_needs_no_telling_which(write) -> None:
    assert not load_recipe(write({**SMALL, "pairs": ["T1->T2"]})).conditional


def test_a_recipe_cannot_be_changed_after_loading(write) -> None:
    with pytest.raises(ValidationError):
        load_recipe(write()).seed = 3  # type: ignore[misc]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"epochs": 3}, "epochs: Extra inputs are not permitted"),
    "unknown key below": ({"optimiser": {"learning_rate": 1}}, "optimiser.learning_rate: Extra inputs"),
    "unknown key in a stage": ({"stages": [{"steps": 1, "size": 2}]}, "stages.0.size: Extra inputs"),
    "no list": ({"data": {"test": "sub-01"}}, "data.test: expected a list, such as [a, b]"),
    "no keys": ({"data": None}, "data: expected keys below it"),
    "wrong type": ({"seed": "zero"}, "seed: Input should be a valid integer"),
    "fraction of a step": ({"stages": [{"steps": 2.5}]}, "stages.0.steps: Input should be a valid integer"),
    "no number": ({"optimiser": {"lr": "fast"}}, "optimiser.lr: Input should be a valid number"),
    "list for a mapping": ({"data": [1]}, "data: "),
    "mapping for a list": ({"stages": {"steps": 1}}, "stages: "),
    "missing": ({"model": None}, "model: "),
    "unknown model": ({"model": "gan"}, "model: 'gan' is none of flow, ddpm, ncsn, cgan, resvit, direct"),
    "unknown format": ({"data": {"format": "dicom"}}, "data.format: "),
    "out of range": ({"ema": 1.5}, "ema: "),
    "pixels of no size": ({"data": {"spacing_mm": 1e-30}}, "data.spacing_mm: Input should be greater than or"),
    "pixels without end": ({"data": {"spacing_mm": float("inf")}}, "data.spacing_mm: Input should be less than or"),
    "frames of a mile": ({"data": {"framing": {"rows": 10**9}}}, "data.framing.rows: Input should be less than or"),
    "crop of a mile": ({"stages": [{"steps": 1, "crop": [10**9, 16]}]}, "stages.0.crop.0: Input should be less than"),
    "crowd for a batch": ({"stages": [{"steps": 1, "batch": 10**7}]}, "no memory holds 10000000 images of 128 x 128;"),
    "steps without end": ({"stages": [{"steps": 10**12}]}, "stages.0.steps: Input should be less than"),
    "watched without end": ({"validation_slices": 10**9}, "validation_slices: Input should be less than"),
    "downsampled to nothing": ({"stages": [{"steps": 1, "downsample": 10**9}]}, "stages.0.downsample: Input should be"),
    "blur without end": ({"augmentation": {"source_blur": float("inf")}}, "augmentation.source_blur: Input should be"),
    "blur of a mile": ({"augmentation": {"source_blur": 1e9}}, "augmentation.source_blur: Input should be less than"),
    "noise without end": ({"augmentation": {"source_noise": float("inf")}}, "source_noise: Input should be a finite"),
    "slab of a mile": ({"augmentation": {"source_slab_mm": 1e9}}, "augmentation.source_slab_mm: Input should be less"),
    "negative": ({"optimiser": {"lr": -1}}, "optimiser.lr: "),
    "no stages": ({"stages": []}, "stages: "),
    "no steps": ({"stages": [{}]}, "stages.0.steps: Field required"),
    "crop of three": ({"stages": [{"steps": 1, "crop": [1, 2, 3]}]}, "stages.0.crop"),
    "no pairs": ({"pairs": []}, "pairs: "),
    "pairs in one text": ({"pairs": "T1->T2"}, "pairs: expected a list such as [T1->T2]"),
    "pair unknown": ({"pairs": ["T1->T2", "T1->T9"]}, "pairs: Unknown contrast 'T9'"),
    "pair without arrow": ({"pairs": ["T1"]}, "pairs: 'T1' is no pair"),
    "pair twice": ({"pairs": ["T1->T2", "T1w->T2w"]}, "pairs: one is named twice"),
    "folder elsewhere": ({"data": {"folders": ["../x"]}}, "data.folders: '../x' is not below --data"),
    "pair of one": ({"pairs": ["T1->T1w"]}, "same contrast"),
    "name with a space": ({"name": "my run"}, "name: "),
    "name of a run's state": ({"name": "state"}, "name: 'state' is what the state of a run is called"),
    "checkpoint called so": ({"checkpoint": "state"}, "checkpoint: 'state' is what the state of a run"),
    "name that is a path": ({"name": "../x"}, "name: "),
    "source without licence": ({"data": {"sources": [{"name": "x", "citation": "y"}]}}, "data.sources.0.licence"),
    "sampler": ({"sampler": {"steps": 0}}, "sampler.steps: "),
    "sampler backwards": ({"sampler": {"sigma_min": 80, "sigma_max": 0.1}}, "sigma_min (80) must be less than"),
    "a mean without its file": ({"options": {"mean_network": "tiny"}}, "options.mean_network comes from a mean_check"),
    "effects by hand": ({"options": {"sessions": 3}}, "options.sessions comes from session_effects"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named_by_its_key(kind: str, write) -> None:
    changes, expected = WRONG[kind]
    line = refusal(write({**SMALL, **changes}))
    assert line.startswith("Recipe 'small.yaml': ")
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty or not a mapping"),
        ("- a\n- b\n", "is empty or not a mapping"),
        ("just words", "is empty or not a mapping"),
        ("name: [1\nmodel: x\n", "is not YAML"),
        ("name: 'x\n", "is not YAML"),
        ("a: b: c\n", "is not YAML"),
        ("name: x\ndata: {seed: 1}\ndata: {seed: 2}\n", "'data' stands twice, line 3"),
        ("name: x\n\tmodel: y\n", ". Indent with spaces instead of tabs."),
        ("name: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    ],
)
def test_no_recipe_at_all(text: str, expected: str, write) -> None:
    assert expected in refusal(write(text))


def test_merges_and_a_key_that_they_bring_are_no_key_twice(write) -> None:
    shared = "a: &a {seed: 1, ema: 0.5}\nb: &b {seed: 2}\nc:\n  <<: *a\n  <<: *b\n  seed: 3\n"
    assert "stands twice" not in refusal(write(shared))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "gone.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot be read" in refusal(tmp_path / "folder.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"description: \xe9\n")
    assert "is not in UTF-8; save it" in refusal(tmp_path / "latin.yaml")


def test_unknown_name_lists_what_is_shipped() -> None:
    line = refusal(Path("t9-t2"))
    assert line.startswith("No recipe 't9-t2'. Shipped recipes: ")
    assert all(name in line for name in list_recipes() if not name.startswith("paper-"))
    assert "paper-DATASET-SOURCE-TARGET-MODEL (see --list)" in line


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=7", lambda r: r.seed == 7),
        ("optimiser.lr=0.002", lambda r: r.optimiser.lr == 0.002),
        ("optimiser.lr=2e-3", lambda r: r.optimiser.lr == 0.002),
        ("stages.0.steps=11", lambda r: (r.stages[0].steps, r.stages[0].batch, r.stages[1].steps) == (11, 2, 5)),
        ("stages.1.crop=[32, 64]", lambda r: r.stages[1].crop == (32, 64)),
        ("stages.1={steps: 9}", lambda r: r.stages[1].steps == 9),
        ("options.network.widths=[16]", lambda r: r.options["network"]["widths"] == [16]),
        ("options.new.thing=yes", lambda r: r.options.get("new") == {"thing": True}),
        ("data.test=[sub-01]", lambda r: r.data.test == ("sub-01",)),
        ("pairs=[FLAIR->T1]", lambda r: r.pairs == (Pair(Contrast.FLAIR, Contrast.T1),)),
        ("pairs.1=T2->FLAIR", lambda r: [str(p) for p in r.pairs] == ["T1→T2", "T2→FLAIR"]),
        ("description=a=b", lambda r: r.description == "a=b"),
    ],
)
def test_override(override: str, read, write) -> None:
    before = load_recipe(write())
    after = load_recipe(write(), [override])
    assert read(after)
    assert not read(before)
    assert after.sha256 != before.sha256


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("optimiser.=3", "write it as key=value"),
        ("optimiser.lr=[1", "the value is not YAML"),
        ("optimiser.rate=1", "optimiser.rate: Extra inputs"),
        ("optimizer.lr=1", "optimizer: Extra inputs are not permitted; did you mean 'optimiser'?"),
        ("checkpoint_minute=1", "did you mean 'checkpoint_minutes'?"),
        ("nothing.here=1", "nothing: Extra inputs are not permitted; --show lists the keys."),
        ("optimiser.lr=quick", "optimiser.lr: "),
        ("stages.2.steps=1", "the recipe has no place for 'stages.2.steps'"),
        ("stages.last.steps=1", "the recipe has no place for"),
        ("stages.0.size=1", "stages.0.size: Extra inputs"),
        ("name.first=x", "the recipe has no place for 'name.first'"),
        ("stages.0.steps=", "stages.0.steps: "),
        ("stages.1.crop.0=24", "stages.1.crop: "),
        ("optimiser.betas=[0.9, 1.5]", "optimiser.betas.1: "),
    ],
)
def test_bad_override(override: str, expected: str, write) -> None:
    assert expected in refusal(write(), override)


def test_minus_nothing_is_nothing(write) -> None:
    """Random numbers refuse a width of -0."""
    names = ("scale", "source_gamma", "source_gain", "source_noise", "source_blur", "target_gain")
    changes = load_recipe(write(), [f"augmentation.{name}=-0.0" for name in names]).augmentation
    assert all(np.copysign(1, getattr(changes, name)) == 1 for name in names)


def test_overrides_apply_in_order(write) -> None:
    assert load_recipe(write(), ["seed=1", "seed=2"]).seed == 2


def test_digest_depends_on_content_alone(write) -> None:
    reference = load_recipe(write()).sha256
    turned = {key: SMALL[key] for key in reversed(SMALL)}
    assert load_recipe(write(yaml.safe_dump(turned, sort_keys=False), "other.yaml")).sha256 == reference
    spelled = textwrap.dedent(
        """
        # the same, in other words
        name:   small
        model: "direct"
        pairs: [T1w -> T2w, T2→T1]
        seed: 0
        options: {network: {groups: 4, widths: [8, 16], blocks: 1, unshuffle: 2}}
        stages:
          - {steps: 3, batch: 2, crop: [16, 16]}
          - {steps: 5, batch: 8}
        """
    )
    assert load_recipe(write(spelled)).sha256 == reference
    for changes in ({"seed": 1}, {"ema": 0.9}, {"pairs": ["T2->T1", "T1->T2"]}, {"options": {}}):
        assert load_recipe(write({**SMALL, **changes})).sha256 != reference


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("options.netwrok=3", "options: "),
        ("options.network.widths=abc", "options: "),
        ("options.network.widths=[]", "options: "),
        ("options.network=null", "options: "),
        ("options.network.groups=3", "options: "),
        ("options.network.heads=3", "options: heads: 3 do not divide 16 channels."),
        ("options.network.unshuffle=0", "options: unshuffle: give 1 or more."),
        ("options.network.latent=5", "options: "),
        ("options.network.context_channels=2", "options: "),
        ("options.network.attention=[2]", "options.network.attention: no level 2; they are 0 (the finest) to 1."),
        ("options.network.attention=[1.5]", "options.network.attention: no level 1.5"),
        ("stages.0.crop=[15, 16]", "stages.0.crop: not a multiple of 4"),
        ("stages.1.crop=[16, 0]", "stages.1.crop: not a multiple of 4"),
        ("sampler.name=dpmpp2m", "sampler.name: Unknown sampler 'dpmpp2m'; choose one of dpm++2m, "),
    ],
)
def test_what_the_network_cannot_do_is_said_before_training(override: str, expected: str, write) -> None:
    check_model(load_recipe(write()))
    with pytest.raises(RecipeError) as caught:
        check_model(load_recipe(write(), [override]))
    assert str(caught.value).startswith(f"Recipe 'small': {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["augmentation.flip=0", "data.planes=[coronal]", "data.planes=[axial, sagittal]"])
def test_mirror_images_are_for_networks_that_saw_mirrored_axial_slices(override: str, write) -> None:
    check_model(load_recipe(write(), ["sampler.mirror=true"]))
    with pytest.raises(RecipeError, match=r"'small': sampler\.mirror is for networks that see axial slices, mirrored"):
        check_model(load_recipe(write(), ["sampler.mirror=true", override]))


def test_shipped_files_are_of_the_recipes_that_their_cards_name() -> None:
    """A key that comes later must not change the digests of before: finished runs would be trained anew."""
    cards = [one.card for one in list_checkpoints() if one.card.recipe and not one.card.adapted]
    assert len(cards) >= 6
    for card in cards:
        assert card.recipe_sha256 == load_recipe(card.recipe).sha256, card.name


def test_benchmarks_of_training_name_recipes_that_need_no_other_checkpoint() -> None:
    if not BENCHMARKS.is_dir():
        pytest.skip("the benchmarks are in a checkout only")
    speed = runpy.run_path(str(BENCHMARKS / "training_speed.py"))
    for name in speed["RECIPES"].split(","):
        assert not load_recipe(name, speed["ALONE"]).parents
    assert not load_recipe(runpy.run_path(str(BENCHMARKS / "optimisers.py"))["RECIPE"]).parents


@pytest.mark.parametrize(
    ("key", "value"), [("mean_checkpoint", "FILE"), ("start_from", "FILE"), ("cross_means", r"'\[FILE, …\]'")]
)
def test_a_recipe_says_how_to_name_what_it_builds_on(key: str, value: str) -> None:
    recipe = load_recipe("own-flow", ["mean_checkpoint=t1-t2-flair-direct"])
    check_parents(recipe)
    given = ["absent", "absent"] if key == "cross_means" else "absent"
    line = rf"^Recipe 'own-flow': {key}: No checkpoint 'absent'\. .*: --set {key}={value}$"
    with pytest.raises(RecipeError, match=line):
        check_parents(recipe.model_copy(update={key: given}))
