from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from helpers import TINY, bids_folder
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint
from napari_mrtrans.cli import train as cli
from napari_mrtrans.datasets.phantom import SOURCE
from napari_mrtrans.datasets.splits import read_splits
from napari_mrtrans.training.catalogue import list_recipes, load_recipe
from napari_mrtrans.training.cost import cost_line
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.widgets.choices import card_summary
from napari_mrtrans.wording import plural

Run = Callable[..., tuple[int, str, str]]
RECIPE = {
    "name": "tiny-direct",
    "model": "direct",
    "pairs": ["T1->T2"],
    "options": {"network": TINY},
    "data": {"test": ["sub-00"], "validation": ["sub-01"]},
    "stages": [{"steps": 3, "batch": 2, "crop": [16, 16]}],
    "validation_slices": 2,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``napari-mrtrans-train`` with these words: exit status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("bids"), 3, (24, 28, 12))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def assert_one_line(err: str, *parts: str) -> None:
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert "Traceback" not in err
    for part in parts:
        assert part in err


def test_help(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for option in (
        "--data",
        "--output",
        "--resume",
        "--max-minutes",
        "--devices",
        "--num-nodes",
        "--set",
        "--list",
        "--show",
    ):
        assert option in out


def test_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mrtrans.training.cost._forward", lambda *network: 1e9)  # counting takes ten seconds
    code, out, err = run("--list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(list_recipes())
    for line in lines:
        recipe = load_recipe(line.split()[0])
        assert recipe.model in line
        assert (f"{len(recipe.pairs)} pairs" if len(recipe.pairs) > 1 else str(recipe.pairs[0])) in line
        assert cost_line(recipe) in line


@pytest.mark.parametrize("name", list_recipes())
def test_show_prints_a_recipe_that_means_the_same(name: str, run: Run) -> None:
    code, out, err = run(name, "--show", "--set", "seed=12", "--set", "stages.0.batch=3")
    assert (code, err) == (0, "")
    shown = Recipe.model_validate(yaml.safe_load(out))
    assert shown == load_recipe(name, ["seed=12", "stages.0.batch=3"])
    assert shown.sha256 != load_recipe(name).sha256


def test_training_ends_with_a_checkpoint(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    code, out, err = run(recipe, "--data", data, "-o", out_dir, "--cache", tmp_path / "cache", "--workers", 0)
    assert (code, err) == (0, "")
    assert "train: 1 session, validation: 1 session, test: 1 session" in out
    assert "tiny-direct.safetensors" in out
    checkpoint = read_checkpoint(out_dir / "tiny-direct.safetensors")
    assert checkpoint.card.recipe_sha256 == load_recipe(recipe).sha256
    assert checkpoint.card.splits == {"train": ["sub-02"], "validation": ["sub-01"], "test": ["sub-00"]}
    assert checkpoint.card.images == 6
    assert read_splits(out_dir / "splits.tsv") == {"sub-02": "train", "sub-01": "validation", "sub-00": "test"}
    checkpoint.build()


def test_a_time_limit_and_resume(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    words = (recipe, "--data", data, "-o", tmp_path / "out", "--cache", tmp_path / "cache", "--workers", 0)
    code, out, _ = run(*words, "--max-minutes", 0)
    assert code == 0
    assert "Stopped after 1 of 3 steps; --resume continues." in out
    assert read_checkpoint(tmp_path / "out" / "tiny-direct.safetensors").card.steps == 1
    code, _, err = run(*words)
    assert code == 2
    assert_one_line(err, "holds an unfinished run; add --resume")
    code, _, err = run(*words, "--resume")
    assert (code, err) == (0, "")
    assert read_checkpoint(tmp_path / "out" / "tiny-direct.safetensors").card.steps == 3


COARSE = "data.phantom={subjects: 2, resolution_mm: 6, share: 0.5}"


@pytest.mark.parametrize(
    ("alone", "pairs", "sources", "notes"),
    [
        (True, "[T1->PD]", [SOURCE.name], ["T1, PD: trained on simulated contrast"]),
        (False, "[T1->PD, T1->T2]", ["mine", SOURCE.name], ["PD: trained on simulated contrast"]),
        (False, "[T1->T2]", ["mine", SOURCE.name], []),
    ],
)
def test_phantoms(
    alone: bool, pairs: str, sources: list[str], notes: list[str], run: Run, recipe: Path, data: Path, tmp_path: Path
) -> None:
    mine = "data.sources=[{name: mine, licence: CC0, citation: none}]"
    words = [word for text in (COARSE, mine, f"pairs={pairs}", "data.spacing_mm=6") for word in ("--set", text)]
    code, out, err = run(
        recipe,
        "--data",
        "phantom" if alone else data,
        "-o",
        "out",
        "--cache",
        tmp_path / "cache",
        "--workers",
        0,
        *words,
    )
    assert (code, err) == (0, "")
    held = 0 if alone else 1
    said = plural(held, "session")
    assert f"train: {2 + held} sessions, validation: {said}, test: {said}" in out
    checkpoint = read_checkpoint(tmp_path / "out" / "tiny-direct.safetensors")
    card = checkpoint.card
    assert card.splits["train"][held:] == ["sub-phantom0x0000", "sub-phantom0x0001"]
    assert [source.name for source in card.data] == sources
    assert card.notes == notes
    assert set(notes) <= set(card_summary(checkpoint).splitlines())  # the dock's tooltip


#: Words after "RECIPE --data DATA -o out" -> what the line says.
MISTAKES: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "unknown key": (("--set", "epochs=3"), ("'tiny.yaml': epochs: Extra inputs",)),
    "wrong type": (("--set", "optimiser.lr=fast"), ("optimiser.lr: ",)),
    "bad pair": (("--set", "pairs=[T1->T9]"), ("pairs: ", "Unknown contrast 'T9'")),
    "no equals sign": (("--set", "seed"), ("--set seed: write it as key=value",)),
    "not YAML": (("--set", "seed=[1"), ("--set seed=[1: the value is not YAML",)),
    "no such option of the network": (("--set", "options.netwrok=3"), ("options: ", "netwrok")),
    "no such size of the network": (("--set", "options.network.wdths=[8]"), ("did you mean 'widths'?",)),
    "no sizes of the network": (("--set", "options.network={widths: []}"), ("network.widths: give whole numbers",)),
    "a number for sizes": (("--set", "options.network={widths: 8}"), ("network.widths: give whole numbers",)),
    "a number for a network": (("--set", "options.network=8"), ("network: give its sizes",)),
    "a word for a size": (("--set", "options.network={widths: abc}"), ("network.widths: give whole numbers",)),
    "all slices too small": (("--set", "data.min_area=0.99"), ("data.min_area",)),
    "crop": (("--set", "stages.0.crop=[15, 15]"), ("stages.0.crop: not a multiple of",)),
    "held-out name": (("--set", "data.test=['02']"), ("'02' is not in the", "or give another, such as 'sub-02'.")),
    "held-out subject": (("--set", "data.test=[sub-77]"), ("'sub-77' is not in the data folder",)),
    "all held out": (("--set", "data.test=[sub-00, sub-02]"), ("No subject is left to train on",)),
    "phantoms": (("--set", "data.phantom={subjects: none}"), ("data.phantom.subjects: ",)),
    "data folder": (("--set", "data.folders=[elsewhere]"), ("elsewhere' does not exist", "--data")),
    "nothing to resume": (("--resume",), ("Nothing to resume", "start without --resume")),
    "accelerator": (("--accelerator", "abacus"), ("Unknown device 'abacus'",)),
    "number of a GPU": (("--accelerator", "cuda:1"), ("give cuda, and choose the GPU", "CUDA_VISIBLE_DEVICES=1.")),
    "devices": (("--devices", "0"), ("'--devices'", "--help")),
    "workers": (("--workers", "-1"), ("'--workers'", "--help")),
    "minutes": (("--max-minutes", "soon"), ("'--max-minutes'", "--help")),
    "unknown option": (("--epochs", "3"), ("--epochs", "--help")),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line(kind: str, run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    words, expected = MISTAKES[kind]
    code, _, err = run(recipe, "--data", data, "-o", tmp_path / "out", "--cache", tmp_path / "cache", *words)
    assert code == 2
    assert_one_line(err, *expected)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "Name a recipe or a YAML file"),
        (("t9",), "No recipe 't9'. Shipped recipes: "),
        (("gone.yaml",), "Recipe 'gone.yaml' cannot be read"),
        (("tiny.yaml",), "Give the data folder with --data and the output folder with -o."),
        (("tiny.yaml", "--data", "."), "Give the data folder with --data"),
        (("tiny.yaml", "--data", ".", "-o", "tiny.yaml"), "Cannot write to 'tiny.yaml'"),
        (
            ("tiny.yaml", "--data", ".", "-o", "out"),
            "holds no data set that can be told by its names (ixi: IXI002-Guys-0828-T1.nii.gz",
        ),
        (("tiny.yaml", "--data", "gone", "-o", "out"), "does not exist; give the right one with --data."),
    ],
)
def test_too_little_said(words: tuple[str, ...], expected: str, run: Run, recipe: Path) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert_one_line(err, expected)
    assert not Path("out").exists()


def test_a_missing_accelerator_is_an_error_not_a_slow_run(
    run: Run, recipe: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = run(recipe, "--data", data, "-o", "out", "--accelerator", "cuda")
    assert code == 2
    assert_one_line(err, "CUDA not available; choose --accelerator cpu.")


def test_without_the_train_extra(run: Run, recipe: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.delitem(sys.modules, "napari_mrtrans.training.loop", raising=False)
    code, _, err = run(recipe, "--data", data, "-o", "out")
    assert code == 2
    assert_one_line(err, "pip install 'napari-mrtrans[train]'")


def test_ctrl_c(run: Run, recipe: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_mrtrans.training.setup.open_splits", interrupt)
    code, _, err = run(recipe, "--data", data, "-o", tmp_path / "out")
    assert (code, err) == (130, "Interrupted.\n")
