from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from helpers import PAIRS, bids_folder, tiny_checkpoint
from napari_mrtrans.checkpoint import Checkpoint
from napari_mrtrans.contrasts import Pair
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.training import evaluate as module
from napari_mrtrans.training.data.bids import read_bids
from napari_mrtrans.training.evaluate import Lookup, evaluate

SPLITS = {"train": ["sub-00", "sub-01"], "validation": [], "test": ["sub-02"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("bids"), subjects=3, shape=(40, 48, 24))


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("flow") / "tiny-flow.safetensors", splits=SPLITS)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("direct") / "tiny-direct.safetensors", "direct", splits=SPLITS)


@pytest.mark.parametrize("pair", [PAIRS[0], PAIRS[1]], ids=str)
def test_the_look_up_table_finds_a_monotone_relation_in_either_direction(root: Path, pair: Pair) -> None:
    """T2 of the made-up subjects falls with T1, FLAIR rises with it."""
    lookup = Lookup(read_bids(root, (".",)), pair)
    out = lookup(np.array([0.3, 0.5, 0.7], dtype=np.float32))
    assert np.all(np.diff(out) < 0) if pair.target == "T2" else np.all(np.diff(out) > 0)


def test_held_out_subjects_are_measured_and_written(
    root: Path, flow: Checkpoint, direct: Checkpoint, tmp_path: Path
) -> None:
    said: list[str] = []
    pair = Pair.parse("T1->T2")
    paths = evaluate(root, [flow, direct], tmp_path, pairs=[pair], n=3, slab=12, say=said.append)
    assert [path.name for path in paths] == ["metrics.csv", "metrics.json", "summary.md"]
    document = json.loads(paths[1].read_text())
    rows = {row["method"]: row for row in document["rows"]}
    assert rows.keys() == {"look-up table", "blurred target", "tiny-flow", "tiny-direct"}
    assert {row["subject"] for row in rows.values()} == {"sub-02"}
    assert {row["slices"] for row in rows.values()} == {12}
    assert document["about"]["seed"] == 0
    # The made-up relation is a look-up table; untrained networks are worse.
    assert rows["look-up table"]["psnr"] > 30
    assert rows["look-up table"]["psnr"] > rows["tiny-flow"]["psnr"]
    assert rows["tiny-flow"]["psnr_fitted"] >= rows["tiny-flow"]["psnr"]
    assert rows["tiny-flow"]["std_over_rmse"] == pytest.approx(
        rows["tiny-flow"]["mean_std"] / rows["tiny-flow"]["rmse"]
    )
    assert rows["tiny-direct"]["mean_std"] is None
    assert rows["blurred target"]["fine_detail"] < 0.5
    assert all(row["ssim_volume"] > row["ssim"] for row in rows.values())
    with paths[0].open() as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "| T1→T2 | tiny-flow | 1 |" in paths[2].read_text()
    assert len(said) == 4


def test_the_summary_also_averages_over_pairs_if_all_methods_have_them(
    root: Path, direct: Checkpoint, tmp_path: Path
) -> None:
    few = tiny_checkpoint(tmp_path / "few.safetensors", "direct", splits=SPLITS, pairs=[PAIRS[0]])
    options = {"pairs": PAIRS[:2], "slab": 11, "say": lambda line: None}
    text = evaluate(root, [direct], tmp_path / "same", **options)[2].read_text()
    rows = json.loads((tmp_path / "same" / "metrics.json").read_text())["rows"]
    mean = np.mean([row["psnr"] for row in rows if row["method"] == "tiny-direct"])
    [line] = [line for line in text.splitlines() if line.startswith("| tiny-direct | 2 |")]
    assert f" {mean:.2f} " in line
    text = evaluate(root, [direct, few], tmp_path / "not", **options)[2].read_text()
    assert "all pairs" not in text
    assert "| T1→T2 | few | 1 |" in text


def test_finished_rows_are_not_computed_again(
    root: Path, flow: Checkpoint, direct: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is cut short by a kill in the middle of a line, then another with one checkpoint more goes on."""
    options = {"pairs": [Pair.parse("T1->T2")], "n": 2, "slab": 11, "say": lambda line: None}
    first = json.loads(evaluate(root, [flow], tmp_path, **options)[1].read_text())
    kept = tmp_path / "finished.jsonl"
    kept.write_text(kept.read_text() + '\n{"key": "0a1b", "ro')
    called: list[str] = []
    original = module.transform
    monkeypatch.setattr(module, "transform", lambda *a, **k: called.append(a[1].name) or original(*a, **k))
    again = json.loads(evaluate(root, [flow, direct], tmp_path, **options)[1].read_text())
    assert called == ["tiny-direct"]
    assert [row for row in again["rows"] if row["method"] != "tiny-direct"] == first["rows"]
    evaluate(root, [flow, direct], tmp_path, **options)
    assert called == ["tiny-direct"]
    evaluate(root, [flow], tmp_path, **{**options, "n": 3})
    assert called == ["tiny-direct", "tiny-flow"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subjects": ["sub-00"]}, "'sub-00' is a training subject"),
        ({"subjects": ["sub-77"]}, "'sub-77' is not in"),
        ({"slab": 5}, "at least 11 slices"),
        ({"pairs": [Pair.parse("T1->PD")]}, "Nothing to evaluate"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    root: Path, direct: Checkpoint, tmp_path: Path, options: dict, words: str
) -> None:
    with pytest.raises(MrtransError, match=words):
        evaluate(root, [direct], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
