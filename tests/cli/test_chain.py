"""``napari-mrtrans-train shipped`` on a small data folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import TINY, bids_folder
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint
from napari_mrtrans.cli import train as cli
from napari_mrtrans.datasets.packed import pack
from napari_mrtrans.training import chain
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

FIRST = Recipe.model_validate(
    {
        "name": "first",
        "model": "direct",
        "pairs": ["T1->T2"],
        "options": {"network": TINY},
        "data": {"test": ["sub-00"], "validation": ["sub-01"]},
        "stages": [{"steps": 1, "batch": 2, "crop": [16, 16]}],
        "validation_slices": 2,
    }
)
SECOND = FIRST.model_copy(update={"name": "second", "start_from": "first"})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path / "nothing")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    monkeypatch.setattr(chain, "chain_recipes", lambda _: ["first", "second"])
    monkeypatch.setattr(chain, "load_recipe", lambda name, _: {"first": FIRST, "second": SECOND}[name])

    def run(*words: object) -> tuple[int, str, str]:
        command = ["shipped", "-o", tmp_path / "runs", "--cache", tmp_path / "cache", "--workers", "0", *words]
        monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *map(str, command), "--no-calibrate"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_stages_that_were_trained_on_other_people_are_not_taken_for_done(
    run: Callable[..., tuple], tmp_path: Path
) -> None:
    data = bids_folder(tmp_path / "bids", 3, (24, 28, 12))
    code, out, err = run("--data", data)
    assert (code, err) == (0, "") and "wrote" in out
    first = tmp_path / "runs" / "first" / "first.safetensors"
    before = first.read_bytes()
    code, out, err = run("--data", data)
    assert (code, err) == (0, "") and "2/2 second: done before" in out
    shutil.copytree(data / "sub-02", data / "sub-03")
    for file in (data / "sub-03" / "anat").iterdir():
        file.rename(file.with_name(file.name.replace("sub-02", "sub-03")))
    code, out, err = run("--data", data)
    assert code == 2 and err.count("\n") == 1 and "done before" not in out
    assert err.startswith(f"'{first}' has been trained to its end, but with other people: sub-03 came since, went, or")
    assert "Give it the same data, or train it anew in another folder." in err
    assert first.read_bytes() == before and read_checkpoint(first).card.splits["train"] == ["sub-02"]


def test_stages_that_were_trained_on_a_packed_file_are_done_for_the_scans_in_it(
    run: Callable[..., tuple], tmp_path: Path
) -> None:
    data = bids_folder(tmp_path / "bids", 4, (24, 28, 12))
    splits, _ = open_splits(FIRST, data, tmp_path / "cache")
    packed = pack(splits, tmp_path / "all.mrpack", every_mm=1.0, say=lambda line: None)
    assert run("--data", packed)[0] == 0
    code, out, err = run("--data", data)
    assert (code, err) == (0, "") and "2/2 second: done before" in out
