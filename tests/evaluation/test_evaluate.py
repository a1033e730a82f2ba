from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from helpers import PAIRS, RAS, bids_folder, head, planted_row, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoints.card import Adapted, Unnamed
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.datasets.readers import read_folder
from napari_mrtrans.errors import MrtransError, RecipeError
from napari_mrtrans.evaluation import measure as module
from napari_mrtrans.evaluation import optional, tiles
from napari_mrtrans.evaluation.evaluate import Settings, _without_lesions, evaluate
from napari_mrtrans.evaluation.held_out import (
    adapted_to,
    check_held_out,
    held_out_sessions,
    known_sessions,
    known_to_parents,
    namesakes,
    seen_by,
)
from napari_mrtrans.evaluation.lookup import Lookup
from napari_mrtrans.evaluation.report import paper_figures, write
from napari_mrtrans.paths import write_together
from napari_mrtrans.scan import planes
from napari_mrtrans.scan.contrasts import Pair
from napari_mrtrans.transformation.engine import Engine


@pytest.fixture(autouse=True)
def no_alexnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LPIPS is not to be had, and nothing is downloaded."""
    monkeypatch.setenv("NAPARI_MRTRANS_ALEXNET", str(tmp_path / "no-alexnet.pth"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time of a tiny evaluation."""
    monkeypatch.setattr(write, "_render", lambda figure: {"png": b"", "svg": b""})
    for where, name in ((tiles, "strip"), (paper_figures, "grid")):
        monkeypatch.setattr(where, name, lambda path, *_: write_together(path.parent, {path.name: "drawn"}))


def silent(line: str) -> None:
    """Hears what is said."""


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
    lookup = Lookup(read_folder(root).sessions, pair)
    out = lookup(np.array([0.3, 0.5, 0.7], dtype=np.float32))
    assert np.all(np.diff(out) < 0) if pair.target == "T2" else np.all(np.diff(out) > 0)


def test_held_out_subjects_are_measured_and_written(
    root: Path, flow: Checkpoint, direct: Checkpoint, tmp_path: Path
) -> None:
    said: list[str] = []
    pair = Pair.parse("T1->T2")
    paths = evaluate(root, [flow, direct], tmp_path, Settings(pairs=[pair], n=3, slab=12), say=said.append)
    assert [path.name for path in paths][:4] == ["metrics.csv", "metrics.json", "summary.md", "report.html"]
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
    assert len(said) == 5
    assert "for LPIPS" in said[0]
    assert "All other figures are measured" in said[0]
    assert [row["lpips"] for row in rows.values()] == [None] * 4
    columns = next(csv.reader(paths[0].open()))
    assert {"coverage_0.9", "psnr_of_n_1", "ssim_of_n_2", "bssim_volume", "scssim"} <= set(columns)
    drawn = [path.name.rpartition("_")[0] for path in (tmp_path / "montages").glob("T1-T2*.png")]
    assert sorted(drawn) == ["T1-T2_tiny-direct", "T1-T2_tiny-flow"]
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{kind}"
        for name in ("similarity", "calibration", "effect-of-n", "cumulants")
        for kind in ("png", "svg")
    }
    assert set(paths[4:]) == set((tmp_path / "figures").iterdir())


@pytest.mark.usefixtures("undrawn")
def test_three_planes_are_methods_of_their_own(
    root: Path, flow: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "SHORTEST_MM", 10)
    direct = tiny_checkpoint(tmp_path / "seen.safetensors", "direct", splits=SPLITS)
    tiny_checkpoint(tmp_path / "seen.planes.safetensors", "direct", seed=7)
    out, settings = tmp_path / "out", Settings(pairs=[Pair.parse("T1->T2")], n=2, slab=11)
    evaluate(root, [direct, flow], out, settings, say=silent)
    before = (out / "finished.jsonl").read_text().strip().splitlines()
    said: list[str] = []
    paths = evaluate(root, [direct, flow], out, replace(settings, three_planes=True), say=said.append)
    assert "Left out: three planes of tiny-flow, which knows axial slices only." in said
    after = (out / "finished.jsonl").read_text().strip().splitlines()
    assert after[:4] == before  # and the one more that was asked for
    assert [json.loads(line)["row"]["method"] for line in after[4:]] == ["seen, three planes"]
    document = json.loads(paths[1].read_text())
    rows = {row["method"]: row for row in document["rows"]}
    assert list(rows) == ["look-up table", "blurred target", "seen", "seen, three planes", "tiny-flow"]
    assert rows["seen"]["psnr"] != rows["seen, three planes"]["psnr"]
    about = {card["name"]: card["shares"] for card in document["about"]["checkpoints"]}
    assert about == {"seen": ["seen, three planes"], "seen, three planes": ["seen"], "tiny-flow": []}


@pytest.mark.usefixtures("undrawn")
def test_a_pool_is_a_method_that_shares_with_its_members(
    root: Path, direct: Checkpoint, flow: Checkpoint, tmp_path: Path
) -> None:
    folder = flow.path.parent
    gan = tiny_checkpoint(folder / "tiny-cgan.safetensors", "cgan", splits=SPLITS, seed=3)
    pool = make_pool("tiny-pool", [flow, gan], folder)
    settings = Settings(pairs=[Pair.parse("T1->T2")], n=8, slab=11)
    paths = evaluate(root, [direct, gan, pool], tmp_path / "out", settings, say=silent)
    document = json.loads(paths[1].read_text())
    about = {card["name"]: card["shares"] for card in document["about"]["checkpoints"]}
    assert about == {"tiny-direct": [], "tiny-cgan": ["tiny-pool"], "tiny-pool": ["tiny-cgan"]}
    rows = {row["method"]: row for row in document["rows"]}
    assert rows["tiny-pool"]["crps"] > 0
    few = evaluate(root, [pool], tmp_path / "few", replace(settings, n=4), say=silent)
    assert json.loads(few[1].read_text())["rows"][-1]["crps"] is None  # two of each, which are opposites


@pytest.mark.usefixtures("undrawn")
def test_the_summary_also_averages_over_pairs_if_all_methods_have_them(
    root: Path, direct: Checkpoint, tmp_path: Path
) -> None:
    few = tiny_checkpoint(tmp_path / "few.safetensors", "direct", splits=SPLITS, pairs=[PAIRS[0]])
    settings = Settings(pairs=PAIRS[:2], slab=11)
    text = evaluate(root, [direct], tmp_path / "same", settings, say=silent)[2].read_text()
    rows = json.loads((tmp_path / "same" / "metrics.json").read_text())["rows"]
    mean = np.mean([row["psnr"] for row in rows if row["method"] == "tiny-direct"])
    [line] = [line for line in text.splitlines() if line.startswith("| tiny-direct | 2 |")]
    assert f" {mean:.2f} " in line
    text = evaluate(root, [direct, few], tmp_path / "not", settings, say=silent)[2].read_text()
    assert "all pairs" not in text
    assert "| T1→T2 | few | 1 |" in text


@pytest.mark.usefixtures("undrawn")
def test_finished_rows_are_not_computed_again(
    root: Path, flow: Checkpoint, direct: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is cut short by a kill in the middle of a line, then another with one checkpoint more goes on."""
    settings = Settings(pairs=[Pair.parse("T1->T2")], n=2, slab=11)
    first = json.loads(evaluate(root, [flow], tmp_path, settings, say=silent)[1].read_text())
    kept = tmp_path / "finished.jsonl"
    kept.write_text(kept.read_text() + '\n{"key": "0a1b", "ro')
    called: list[str] = []
    original = module.transform
    monkeypatch.setattr(module, "transform", lambda *a, **k: called.append(a[1].name) or original(*a, **k))
    again = json.loads(evaluate(root, [flow, direct], tmp_path, settings, say=silent)[1].read_text())
    assert called == ["tiny-direct"]
    assert {row["machine"] for row in again["rows"]} == {again["about"]["machine"]}
    assert [row for row in again["rows"] if row["method"] != "tiny-direct"] == first["rows"]
    evaluate(root, [flow, direct], tmp_path, settings, say=silent)
    assert called == ["tiny-direct"]
    evaluate(root, [flow], tmp_path, replace(settings, n=3), say=silent)
    assert called == ["tiny-direct", "tiny-flow"]
    monkeypatch.setattr("napari_mrtrans.evaluation.evaluate.describe_machine", lambda device: "another machine")
    text = evaluate(root, [flow, direct], tmp_path, settings, say=silent)[2].read_text()
    assert "another machine, torch" in text and f"Rows of earlier runs: {first['about']['machine']}." in text


@pytest.mark.usefixtures("undrawn")
def test_a_row_without_lpips_is_measured_again_where_it_can_be_had(
    root: Path, direct: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11)
    first = evaluate(root, [direct], tmp_path, settings, say=silent)
    assert "Left out: LPIPS" in first[2].read_text()
    monkeypatch.setattr(optional.metrics, "lpips", lambda *_, **__: 0.25)
    for _ in range(2):
        second = evaluate(root, [direct], tmp_path, settings, say=silent)
        rows = json.loads(second[1].read_text())["rows"]
        assert {row["lpips"] for row in rows} == {0.25} and "Left out: LPIPS" not in second[2].read_text()
        monkeypatch.setattr(module, "transform", lambda *_, **__: pytest.fail("measured once more"))


@pytest.mark.usefixtures("undrawn")
def test_checkpoints_of_one_name_are_refused_and_repeated_subjects_count_once(
    root: Path, direct: Checkpoint, tmp_path: Path
) -> None:
    other = tiny_checkpoint(tmp_path / "tiny-direct.safetensors", "direct", splits=SPLITS, seed=7)
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11, subjects=["sub-02", "sub-02"])
    with pytest.raises(MrtransError, match="are both called 'tiny-direct'; evaluate one of them"):
        evaluate(root, [direct, other], tmp_path / "out", settings, say=silent)
    files = evaluate(root, [direct, direct], tmp_path / "out", settings, say=silent)
    methods = [row["method"] for row in json.loads(files[1].read_text())["rows"]]
    assert len(methods) == len(set(methods)) == 3


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_keeps_finished_rows(
    root: Path, flow: Checkpoint, direct: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(pairs=[Pair.parse("T1->T2")], n=2, slab=11)

    def interrupt(line: str) -> None:
        if "tiny-flow" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(root, [flow, direct], tmp_path, settings, say=interrupt)
    assert not (tmp_path / "report.html").exists()
    monkeypatch.setattr(module.View, "looked_up", None)
    called: list[str] = []
    original = module.transform
    monkeypatch.setattr(module, "transform", lambda *a, **k: called.append(a[1].name) or original(*a, **k))
    evaluate(root, [flow, direct], tmp_path, settings, say=silent)
    assert called == ["tiny-direct"]


@pytest.mark.usefixtures("undrawn")
def test_without_montages_there_is_no_picture_of_a_scan(root: Path, direct: Checkpoint, tmp_path: Path) -> None:
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11)
    page = evaluate(root, [direct], tmp_path, replace(settings, montages=False), say=silent)[3]
    assert not (tmp_path / "montages").exists()
    assert "image/png" not in page.read_text()
    # Wanted after all, they are drawn, though the rows are finished.
    page = evaluate(root, [direct], tmp_path, settings, say=silent)[3]
    assert page.read_text().count("image/png") == 2  # one slice, and an overview of it


@pytest.mark.usefixtures("undrawn")
def test_the_pictures_are_of_the_first_who_could_be_measured(direct: Checkpoint, tmp_path: Path) -> None:
    folder = bids_folder(tmp_path / "data", subjects=4, shape=(40, 48, 24))
    save_nifti(folder / "sub-02" / "anat" / "sub-02_T2w.nii.gz", head((40, 48, 20)), RAS)  # another grid
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11, subjects=["sub-02", "sub-03"])
    page = evaluate(folder, [direct], tmp_path / "out", settings, say=silent)[3].read_text()
    assert len(list((tmp_path / "out" / "montages").glob("T1-T2*.png"))) == 1
    assert page.count("image/png") == 2


@pytest.mark.usefixtures("undrawn")
def test_progress_rises_to_the_number_of_rows(root: Path, direct: Checkpoint, tmp_path: Path) -> None:
    told: list[tuple[str, float, int]] = []
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11)
    evaluate(root, [direct], tmp_path, settings, say=silent, progress=lambda *now: told.append(now))
    done = [now[1] for now in told]
    assert done == sorted(done)
    assert (told[-1][1], {now[2] for now in told}) == (3, {3})
    assert told[-1][0] == "tiny-direct, T1→T2, sub-02"


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoint_that_answers_nan_is_named_and_the_others_are_reported(
    root: Path, direct: Checkpoint, tmp_path: Path
) -> None:
    import torch

    broken = direct.build()
    with torch.no_grad():
        list(broken.parameters())[-1].fill_(float("nan"))
    card = direct.card.model_copy(update={"name": "broken"})
    bad = read_checkpoint(write_checkpoint(tmp_path / "broken.safetensors", broken, card))
    said: list[str] = []
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11)
    paths = evaluate(root, [bad, direct], tmp_path / "out", settings, say=said.append)
    (said_of_it,) = (text for text in said if text.startswith("Left out: broken"))
    line = said_of_it.removeprefix("Left out: ")
    assert line.startswith("broken, T1→T2, sub-02: 'broken' gave NaN or infinity for slice ")
    document = json.loads(paths[1].read_text())
    assert {row["method"] for row in document["rows"]} == {"look-up table", "blurred target", "tiny-direct"}
    assert line in document["about"]["left_out"]
    for page in paths[2:4]:
        assert "gave NaN or infinity" in page.read_text()
    # It is not kept as finished.
    said.clear()
    evaluate(root, [bad, direct], tmp_path / "out", settings, say=said.append)
    assert f"Left out: {line}" in said


@pytest.mark.usefixtures("undrawn")
def test_a_model_too_large_for_the_memory_is_named_and_the_others_are_reported(
    root: Path, direct: Checkpoint, flow: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine._sample

    def short(this: Engine, group: list[int], numbers: range) -> np.ndarray:
        if this.name == flow.name:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(this, group, numbers)

    monkeypatch.setattr(Engine, "_sample", short)
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11, n=2)
    document = json.loads(evaluate(root, [flow, direct], tmp_path / "out", settings, say=silent)[1].read_text())
    assert direct.name in {row["method"] for row in document["rows"]}
    assert any("ran out of memory" in line for line in document["about"]["left_out"])


@pytest.mark.usefixtures("undrawn")
def test_rows_of_other_scans_of_the_same_name_are_not_taken_over(direct: Checkpoint, tmp_path: Path) -> None:
    folder = bids_folder(tmp_path / "data", subjects=3, shape=(40, 48, 24))
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11, subjects=["sub-02"])

    def figures() -> dict[str, float]:
        paths = evaluate(folder, [direct], tmp_path / "out", settings, say=silent)
        return {row["method"]: row["psnr"] for row in json.loads(paths[1].read_text())["rows"]}

    before = figures()
    assert figures() == before
    file = folder / "sub-02" / "anat" / "sub-02_T2w.nii.gz"
    save_nifti(file, np.sqrt(nib.load(file).get_fdata()))
    after = figures()
    assert all(after[method] != before[method] for method in before)


@pytest.mark.usefixtures("undrawn")
def test_subjects_on_mismatched_grids_are_named_and_the_others_are_reported(direct: Checkpoint, tmp_path: Path) -> None:
    folder = bids_folder(tmp_path / "data", subjects=4, shape=(40, 48, 24))
    save_nifti(folder / "sub-03" / "anat" / "sub-03_T2w.nii.gz", head((40, 48, 22)))
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11)
    paths = evaluate(folder, [direct], tmp_path / "out", replace(settings, subjects=["sub-02", "sub-03"]), say=silent)
    document = json.loads(paths[1].read_text())
    assert {row["subject"] for row in document["rows"]} == {"sub-02"}
    assert sum("sub-03: T1 and T2 lie on different grids" in line for line in document["about"]["left_out"]) == 3
    with pytest.raises(MrtransError, match=r"Nothing could be measured\. .* sub-03: T1 and T2 lie on different grids"):
        evaluate(folder, [direct], tmp_path / "only", replace(settings, subjects=["sub-03"]), say=silent)
    assert not (tmp_path / "only").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_one_s_own_needs_no_training_subjects(direct: Checkpoint, tmp_path: Path) -> None:
    """The checkpoint's own data sets are not there."""
    elsewhere = {"train": ["glioma/sub-A"], "validation": [], "test": ["glioma/sub-B"]}
    checkpoint = tiny_checkpoint(tmp_path / "tiny-direct.safetensors", "direct", splits=elsewhere)
    folder = bids_folder(tmp_path / "data", subjects=1, shape=(40, 48, 24))
    settings = Settings(pairs=[Pair.parse("T1->T2")], slab=11, two_sample=True)
    with pytest.raises(MrtransError, match=r"glioma', with the subjects that 'tiny-direct' held out, is not there"):
        evaluate(folder, [checkpoint], tmp_path / "out", settings, say=silent)
    paths = evaluate(folder, [checkpoint], tmp_path / "out", replace(settings, subjects=["sub-00"]), say=silent)
    document = json.loads(paths[1].read_text())
    assert [row["method"] for row in document["rows"]] == ["blurred target", "tiny-direct"]
    assert any("look-up table, T1→T2: no training subject is in" in line for line in document["about"]["left_out"])
    line = "two-sample test of tiny-direct, T1→T2: The two-sample test needs samples and targets of training people"
    assert sum(line in left for left in document["about"]["left_out"]) == 1
    page = paths[3].read_text()
    assert "One subject: neither an interval nor a test is possible" in page
    assert "Another data set" in page


@pytest.mark.usefixtures("undrawn")
def test_an_adapted_checkpoint_may_know_whom_it_is_measured_on(root: Path, tmp_path: Path) -> None:
    told = Adapted(parent="flow", parent_sha256="", lineage=["flow"], site="Lab", people=2, sessions=2, minutes=1.0)
    own = tiny_checkpoint(tmp_path / "lab-direct.safetensors", "direct", splits=SPLITS, adapted=told)
    said: list[str] = []
    paths = evaluate(root, [own], tmp_path / "out", Settings(pairs=[PAIRS[0]], slab=11), say=said.append)
    line = "'lab-direct' was adapted to 2 people of 'Lab', whom its card does not name"
    assert said[0].startswith(line)
    assert f"- Mind: {line}" in paths[2].read_text()
    assert "adapted to 2 people of" in paths[3].read_text()


def test_what_was_made_of_an_adapted_checkpoint_may_know_them_too(tmp_path: Path) -> None:
    before = [Unnamed(people=1, site="A"), Unnamed(people=3, site="B")]
    child = tiny_checkpoint(tmp_path / "child.safetensors", "direct", unnamed_before=before)
    plain = tiny_checkpoint(tmp_path / "plain.safetensors", "direct")
    (line,) = adapted_to([plain, child])
    assert "leave them out (--subjects)" in line
    assert line.startswith(
        "'child' was made of what was adapted to 1 person of 'A' and 3 people of 'B', whom its card does not name"
    )


def test_another_visit_of_a_training_subject_is_no_held_out_one() -> None:
    with pytest.raises(MrtransError, match="'sub-01/ses-2' is a training subject"):
        check_held_out("sub-01/ses-2", ["sub-01/ses-1"], {}, Path("data"))
    with pytest.raises(MrtransError, match="'sub-01/ses-2' is a training subject"):  # given the data set's own folder
        check_held_out("sub-01/ses-2", ["glioma/sub-01/ses-1"], {}, Path("data") / "glioma")
    for root, name, known in (
        ("data/raw/a", "sub-01", "raw/a/sub-01"),
        ("data/raw", "a/sub-01", "raw/a/sub-01"),
        ("data", "raw/a/sub-01", "a/sub-01"),
        ("data", "a/sub-01", "a//sub-01"),
    ):
        with pytest.raises(MrtransError, match=f"'{name}' is a training subject"):
            check_held_out(name, [known], {}, Path(root))
    with pytest.raises(MrtransError, match="'b/sub-01' is not in"):
        check_held_out("b/sub-01", ["a/sub-01", "sub-01"], {}, Path("data"))


def test_people_of_another_folder_are_others_of_the_same_name(tmp_path: Path) -> None:
    splits = {"train": ["sub-00", "sub-01/ses-1"], "test": ["sub-02", "sub-03"]}
    ixi = tiny_checkpoint(
        tmp_path / "ixi.safetensors", splits=splits, folder="ixi",
        seen_before=["oasis/sub-02", "sub-03", "sub-phantom0x0001"],
    )  # fmt: skip
    assert known_to_parents([ixi]) == {"sub-03"}  # of no folder: it is the card's own
    for root in ("ixi", "lab"):
        bids_folder(tmp_path / "data" / root, 2, (24, 28, 12))
    for root, name in (("ixi", "sub-00"), ("", "sub-00"), ("ixi", "sub-01")):
        there = known_sessions(tmp_path / "data" / root, [ixi])
        with pytest.raises(MrtransError, match=f"'{name}' is a training subject"):
            check_held_out(name, seen_by([ixi], tmp_path / "data" / root), there, tmp_path / "data" / root)
    lab = tmp_path / "data" / "lab"
    there, seen = known_sessions(lab, [ixi], ["sub-00"]), seen_by([ixi], lab)
    assert seen == {"ixi/sub-00", "ixi/sub-01/ses-1", "ixi/sub-03", "sub-03", "oasis/sub-02", "sub-phantom0x0001"}
    check_held_out("sub-00", seen, there, lab)
    (line,) = namesakes(["sub-00"], [ixi], there, lab)
    assert line.startswith("'sub-00': a training subject of a data set that is not there is called so.")
    plain = tiny_checkpoint(tmp_path / "plain.safetensors", splits=splits)
    with pytest.raises(MrtransError, match="'sub-00' is a training subject; choose others"):
        check_held_out("sub-00", seen_by([plain], lab), there, lab)
    (tmp_path / "data" / "ixi").rename(tmp_path / "ixi-v2")
    (link := tmp_path / "ixi").symlink_to(tmp_path / "ixi-v2")
    assert "sub-00" in seen_by([ixi], link)
    (tmp_path / "data" / "lab").rename(tmp_path / "lab")
    (tmp_path / "ixi-v2").rename(tmp_path / "data" / "renamed")  # the only one there, and its people are the card's
    assert "sub-00" in seen_by([ixi], tmp_path / "data")


def test_only_names_that_a_card_has_without_a_folder_raise_a_doubt(tmp_path: Path) -> None:
    """Every data set has a sub-01."""
    mine = bids_folder(tmp_path / "mine", 2, (24, 28, 12))
    whole = tiny_checkpoint(tmp_path / "whole.safetensors", splits={"train": ["ms-prepared/sub-00/ses-1"]})
    there = known_sessions(mine, [whole], ["sub-00", "sub-01"])
    assert namesakes(["sub-00", "sub-01"], [whole], there, mine) == []
    assert len(namesakes(["mine/ms-prepared/sub-00"], [whole], there, tmp_path)) == 1
    bare = tiny_checkpoint(tmp_path / "bare.safetensors", splits={"train": ["sub-07"]})
    assert len(namesakes(["sub-07"], [whole, bare], there, mine)) == 1


@pytest.mark.usefixtures("undrawn")
def test_nothing_is_fitted_to_namesakes_at_another_site(tmp_path: Path) -> None:
    """The person who is measured would be among them."""
    lab = bids_folder(tmp_path / "lab", subjects=2, shape=(40, 48, 24))
    checkpoint = tiny_checkpoint(tmp_path / "ixi.safetensors", "direct", splits=SPLITS, folder="ixi")
    settings = Settings(pairs=[PAIRS[0]], subjects=["sub-00"], slab=11, montages=False, two_sample=True)
    paths = evaluate(lab, [checkpoint], tmp_path / "out", settings, say=silent)
    document = json.loads(paths[1].read_text())
    assert [row["method"] for row in document["rows"]] == ["blurred target", "ixi"]
    assert document["rows"][-1]["two_sample"] is None
    left_out = document["about"]["left_out"]
    assert any("look-up table, T1→T2: no training subject is in" in line for line in left_out)
    assert any("needs samples and targets of training people" in line for line in left_out)
    assert document["about"]["checkpoints"][0]["trained_on"] == ["ixi"]
    assert "Another data set" in paths[3].read_text()


def test_namesakes_at_another_site_are_not_those_held_out(root: Path, tmp_path: Path) -> None:
    """A card's own test people are measured where they are."""
    checkpoint = tiny_checkpoint(tmp_path / "ixi.safetensors", "direct", splits=SPLITS, folder="ixi")
    with pytest.raises(MrtransError, match=f"Subject 'ixi/{SPLITS['test'][0]}' is not in .* by a link of that name"):
        evaluate(root, [checkpoint], tmp_path / "out", Settings(pairs=[PAIRS[0]], slab=11), say=silent)
    with pytest.raises(MrtransError, match=r"None of the held-out subjects of 'ixi' is in .* on a folder 'ixi'"):
        held_out_sessions(root, checkpoint, None)
    (home := tmp_path / "ixi").symlink_to(root)
    assert [session.name for session in held_out_sessions(home, checkpoint, None)[0]] == sorted(SPLITS["test"])


def test_a_page_that_no_evaluation_has_written_is_not_replaced(root: Path, direct: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("precious")
    with pytest.raises(MrtransError, match=r"report\.html' is there, and no evaluation has written it"):
        evaluate(root, [direct], tmp_path, Settings(pairs=[PAIRS[0]], slab=11))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_more_samples_than_can_be_held_are_refused_at_once(root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(MrtransError, match="At most 64 samples can be evaluated, and these are 65; lower -n"):
        evaluate(root, [flow], tmp_path / "out", Settings(n=65))


def test_a_folder_without_targets_is_refused(direct: Checkpoint, tmp_path: Path) -> None:
    save_nifti(tmp_path / "data" / "sub-02" / "anat" / "sub-02_T1w.nii.gz", head())
    with pytest.raises(MrtransError, match=r"no held-out subject in .* has both contrasts of T1→T2\."):
        evaluate(tmp_path / "data", [direct], tmp_path / "out", Settings(pairs=[Pair.parse("T1->T2")]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(subjects=["sub-00"]), "'sub-00' is a training subject"),
        (Settings(subjects=["sub-77"]), "'sub-77' is not in"),
        (Settings(slab=5), "at least 11 slices"),
        (Settings(three_planes=True), "knows axial slices only"),
        (Settings(pairs=[Pair.parse("T1->PD")]), "Nothing to evaluate"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    root: Path, direct: Checkpoint, tmp_path: Path, settings: Settings, words: str
) -> None:
    with pytest.raises(MrtransError, match=words):
        evaluate(root, [direct], tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_the_folder_above_the_only_data_set_is_its_folder(tmp_path: Path) -> None:
    """Trained with ``data.folders: [site-a]``, whose people's names go without it."""
    bids_folder(tmp_path / "site-a", 2, (12, 14, 6))
    checkpoint = tiny_checkpoint(tmp_path / "x.safetensors", splits={"train": ["sub-00"], "test": ["sub-01"]})
    assert [*known_sessions(tmp_path, [checkpoint])] == ["sub-00", "sub-01"]
    bids_folder(tmp_path / "site-b", 2, (12, 14, 6))
    with pytest.raises(RecipeError, match="with the subjects that 'x' held out, is not there"):
        known_sessions(tmp_path, [checkpoint])


def test_the_people_of_another_checkpoint_are_proposed_where_those_of_one_are_not_there(tmp_path: Path) -> None:
    """An own model beside a shipped one."""
    bids_folder(tmp_path / "data", 2, (12, 14, 6))
    own = tiny_checkpoint(tmp_path / "own.safetensors", splits={"train": ["sub-00"], "test": ["sub-01"]})
    shipped = tiny_checkpoint(tmp_path / "shipped.safetensors", splits={"train": ["a/sub-1"], "test": ["b/sub-2"]})
    with pytest.raises(RecipeError, match=r"'shipped' held out, .* 'own' held out: --subjects sub-01\.$"):
        known_sessions(tmp_path / "data", [own, shipped])


ONE = [Pair.parse("T1->T2")]


@pytest.mark.usefixtures("undrawn")
def test_a_training_subject_is_known_by_its_files_whatever_it_is_called(root: Path, tmp_path: Path) -> None:
    """Trained with the data set's own folder, evaluated with the one above, and the other way round."""
    shutil.copytree(root, tmp_path / "data" / "ixi")
    bare = tiny_checkpoint(tmp_path / "a" / "tiny-direct.safetensors", "direct", splits=SPLITS)
    prefixed = {part: [f"ixi/{name}" for name in names] for part, names in SPLITS.items()}
    below = tiny_checkpoint(tmp_path / "b" / "tiny-direct.safetensors", "direct", splits=prefixed)
    for checkpoint, folder, name in (
        (bare, tmp_path / "data", "ixi/sub-00"),
        (bare, tmp_path / "data", "sub-00"),
        (below, tmp_path / "data" / "ixi", "sub-00"),
        (below, tmp_path / "data", "ixi/sub-00"),
    ):
        settings = Settings(pairs=ONE, subjects=[name], slab=11, montages=False)
        with pytest.raises(MrtransError, match=f"'{name}' is a training subject"):
            evaluate(folder, [checkpoint], tmp_path / "out", settings, say=silent)
    settings = Settings(pairs=ONE, subjects=["sub-02"], slab=11, montages=False)
    paths = evaluate(tmp_path / "data" / "ixi", [below], tmp_path / "out", settings, say=silent)
    assert "Another data set" not in paths[3].read_text()
    # Of the data set that it was trained on nothing is left; others call their people so, too.
    bids_folder(tmp_path / "data" / "oasis", subjects=1, shape=(40, 48, 24))
    (tmp_path / "data" / "ixi").rename(tmp_path / "elsewhere")
    bids_folder(tmp_path / "data" / "other", subjects=1, shape=(40, 48, 24))
    said: list[str] = []
    settings = replace(settings, subjects=["oasis/sub-00"])
    evaluate(tmp_path / "data", [bare], tmp_path / "out", settings, say=said.append)
    assert said[0].startswith("'oasis/sub-00': a training subject of a data set that is not there is called so.")


@pytest.mark.usefixtures("undrawn")
def test_what_was_named_and_is_not_there_is_told(root: Path, direct: Checkpoint, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    (tmp_path / "data" / "sub-02" / "anat" / "sub-02_T2w.nii.gz").rename(tmp_path / "lost.nii.gz")
    bids_folder(tmp_path / "more", subjects=4, shape=(40, 48, 24))
    shutil.move(tmp_path / "more" / "sub-03", tmp_path / "data" / "sub-03")
    settings = Settings(pairs=[*ONE, Pair.parse("T1->PD")], subjects=["sub-02", "sub-03"], slab=11, montages=False)
    paths = evaluate(tmp_path / "data", [direct], tmp_path / "out", settings, say=silent)
    about = json.loads(paths[1].read_text())["about"]
    assert about["left_out"] == [
        "T1→PD: no checkpoint serves it.", "sub-02: there is no T2.",
        *[line for line in about["left_out"] if line.startswith("LPIPS")],
        "sub-03, lesions: there is no expert mask, so there is no correlation inside lesions.",
    ]  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_what_needs_masks_more_samples_or_scores_is_named(root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    settings = Settings(pairs=ONE, n=2, slab=11, montages=False)
    paths = evaluate(root, [flow], tmp_path, settings, ood=[], say=silent)
    assert json.loads(paths[1].read_text())["about"]["left_out"][-3:] == [
        "sub-02, lesions: there is no expert mask, so there is no correlation inside lesions.",
        "tiny-flow: n = 2 in antithetic pairs is too few samples for coverage, calibration error, κ2 to κ4, normal "
        "voxels, CRPS, power in bands.",
        "detection of unusual inputs: what was given holds no scores.",
    ]


def test_whose_lesions_were_not_compared_is_named_once() -> None:
    """A mask that cannot be used has been named already."""
    masks = {"a": None, "b": None, "c": "c.nii.gz", "d": "d.nii.gz", "e": "e.nii.gz"}
    planned = [SimpleNamespace(session=SimpleNamespace(name=name, mask=mask)) for name, mask in masks.items()]
    figures = {"d": {"lesion_sums": [1.0]}, "e": {"lacks": ["e, lesions: The mask cannot be read."]}}
    rows = [planted_row(method, subject=name, **figures.get(name, {})) for name in masks for method in ("x", "y")]
    assert _without_lesions(planned, rows) == [
        "a and 1 more, lesions: there is no expert mask, so there is no correlation inside lesions.",
        "c, lesions: the expert mask marks nothing that was measured, so there is no correlation inside lesions.",
    ]


@pytest.mark.usefixtures("undrawn")
def test_one_bad_file_costs_what_it_is_needed_for(root: Path, direct: Checkpoint, tmp_path: Path) -> None:
    """A mask on other voxels, a training person whose T2 has moved, a lost slice in the middle of a held-out one."""
    shutil.copytree(root, tmp_path / "data")
    mask = tmp_path / "data" / "derivatives" / "masks" / "sub-02" / "anat" / "sub-02_mask.nii.gz"
    save_nifti(mask, np.ones((20, 24, 12), np.uint8), np.diag([2.0, 2, 2, 1]))
    moved = tmp_path / "data" / "sub-00" / "anat" / "sub-00_T2w.nii.gz"
    image = nib.load(moved)
    affine = image.affine.copy()
    affine[0, 3] += 3
    save_nifti(moved, np.asarray(image.dataobj), affine)
    lost = tmp_path / "data" / "sub-02" / "anat" / "sub-02_T1w.nii.gz"
    image = nib.load(lost)
    data = np.asarray(image.dataobj).copy()
    there = np.flatnonzero(data.any(axis=(0, 1)))
    data[..., (there[0] + there[-1] + 1) // 2] = 0
    save_nifti(lost, data, image.affine)
    paths = evaluate(tmp_path / "data", [direct], tmp_path / "out", Settings(pairs=ONE, slab=11), say=silent)
    document = json.loads(paths[1].read_text())
    assert [row["method"] for row in document["rows"]] == ["look-up table", "blurred target", "tiny-direct"]
    assert all(row["lesion_r"] is None for row in document["rows"])
    told = [line for line in document["about"]["left_out"] if line.startswith("sub-02, lesions: The mask")]
    assert len(told) == 1 and "does not lie on the grid" in told[0]


@pytest.mark.usefixtures("undrawn")
def test_a_link_that_leads_nowhere_costs_what_it_is_needed_for(direct: Checkpoint, tmp_path: Path) -> None:
    """A target of one who is held out, the mask of another, and a scan of a training person."""
    data = bids_folder(tmp_path / "data", subjects=4, shape=(40, 48, 24))
    mask = data / "derivatives" / "masks" / "sub-02" / "anat" / "sub-02_mask.nii.gz"
    mask.parent.mkdir(parents=True)
    training = data / "sub-00" / "anat" / "sub-00_T1w.nii.gz"
    for path in (data / "sub-03" / "anat" / "sub-03_T2w.nii.gz", mask, training):
        path.unlink(missing_ok=True)
        path.symlink_to(Path(".git") / "annex" / path.name)
    settings = Settings(pairs=ONE, subjects=["sub-03", "sub-02"], slab=11)
    document = json.loads(evaluate(data, [direct], tmp_path / "out", settings, say=silent)[1].read_text())
    assert [(row["subject"], row["method"], row["lesion_r"]) for row in document["rows"]] == [
        ("sub-02", name, None) for name in ("look-up table", "blurred target", "tiny-direct")
    ]
    left_out = document["about"]["left_out"]
    assert sum("sub-03_T2w.nii.gz' is a link to" in line for line in left_out) == 3
    assert sum(line.startswith("sub-02, lesions: ") and "is a link to" in line for line in left_out) == 1
    known = {session.name: session for session in read_folder(data).sessions}
    digests = optional.Optional(silent, data, known, settings)
    before = digests.training_digest(direct, ONE[0])
    training.unlink()
    shutil.copy(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz", training)
    assert optional.Optional(silent, data, known, settings).training_digest(direct, ONE[0]) != before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("error", "told"),
    [(MrtransError("The target has no edges."), "The target has no edges."), (MemoryError(), "Unexpected MemoryError")],
)
def test_a_figure_that_cannot_be_had_costs_its_row(
    error: Exception, told: str, root: Path, direct: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = module.metrics.bssim, []

    def once(*given: object, **more: object) -> float:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return real(*given, **more)

    monkeypatch.setattr(module.metrics, "bssim", once)
    settings = Settings(pairs=ONE, slab=11, montages=False)
    document = json.loads(evaluate(root, [direct], tmp_path, settings, say=silent)[1].read_text())
    assert [row["method"] for row in document["rows"]] == ["blurred target", "tiny-direct"]
    (line,) = [line for line in document["about"]["left_out"] if line.startswith("look-up table, T1→T2, sub-02: ")]
    assert told in line


@pytest.mark.usefixtures("undrawn")
def test_a_nested_data_set_given_by_its_own_folder_is_no_other_one(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data" / "raw" / "ixi")
    nested = {part: [f"raw/ixi/{name}" for name in names] for part, names in SPLITS.items()}
    below = tiny_checkpoint(tmp_path / "below.safetensors", "direct", splits=nested)
    settings = Settings(pairs=ONE, subjects=["sub-02"], slab=11, montages=False)
    paths = evaluate(tmp_path / "data" / "raw" / "ixi", [below], tmp_path / "out", settings, say=silent)
    assert json.loads(paths[1].read_text())["about"]["checkpoints"][0]["trained_on"] == ["."]
    assert "Another data set" not in paths[3].read_text()


@pytest.mark.usefixtures("undrawn")
def test_the_two_sample_test_is_asked_again_when_its_people_are_there(
    root: Path, direct: Checkpoint, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "data")
    shutil.move(tmp_path / "data" / "sub-00", tmp_path / "sub-00")
    shutil.move(tmp_path / "data" / "sub-01", tmp_path / "sub-01")
    settings = Settings(pairs=ONE, slab=11, montages=False, two_sample=True)

    def figures() -> tuple[float | None, bool]:
        document = json.loads(
            evaluate(tmp_path / "data", [direct], tmp_path / "out", settings, say=silent)[1].read_text()
        )
        return document["rows"][-1]["two_sample"], any("two-sample" in s for s in document["about"]["left_out"])

    assert figures() == (None, True)
    shutil.move(tmp_path / "sub-00", tmp_path / "data" / "sub-00")
    known, lacking = figures()
    assert known is not None and not lacking


@pytest.mark.usefixtures("undrawn")
def test_whom_a_parent_has_seen_is_left_out_and_the_others_are_measured(root: Path, tmp_path: Path) -> None:
    splits = {"train": ["sub-00"], "test": ["sub-01", "sub-02"]}
    own = tiny_checkpoint(tmp_path / "a.safetensors", "direct", splits=splits, seen_before=["sub-01"])
    settings = Settings(pairs=ONE, slab=11, montages=False)
    document = json.loads(evaluate(root, [own], tmp_path / "out", settings, say=silent)[1].read_text())
    assert {row["subject"] for row in document["rows"]} == {"sub-02"}
    line = "sub-01: held out, but what a checkpoint started from was trained on it."
    assert document["about"]["left_out"][0] == line
    with pytest.raises(MrtransError, match="'sub-01' is a training subject"):
        evaluate(root, [own], tmp_path / "out", replace(settings, subjects=["sub-01"]), say=silent)
