from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from helpers import TINY, bids_folder, save_nifti, tiny_checkpoint, tiny_model
from napari_mrtrans import Volume, stream, transform
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.card import Adapted
from napari_mrtrans.checkpoints.card_text import details
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_calibration, write_checkpoint
from napari_mrtrans.checkpoints.correction import Z90, SpreadCorrection, Voxels
from napari_mrtrans.checkpoints.judge_file import load_judge
from napari_mrtrans.cli import train as cli
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation.calibrate import FEATURES, calibrate, calibrate_spread
from napari_mrtrans.evaluation.calibrate_report import (
    coverage_lines,
    probability_lines,
    spread_summary,
    stratified_auc,
    summary,
)
from napari_mrtrans.evaluation.fit_spread import coverage, fit_spread, person_variation, widening
from napari_mrtrans.evaluation.held_out import PairedVolumes, known_sessions, sessions_of
from napari_mrtrans.evaluation.ood_study import Input, Measurement, Settings, doubts, planned, roles
from napari_mrtrans.evaluation.other_scans import other_scans, read_others
from napari_mrtrans.evaluation.pd_images import with_computed_pd
from napari_mrtrans.evaluation.report.ood_rows import OodRow, read_rows
from napari_mrtrans.evaluation.scans import LESION, FeatureStore, Scan
from napari_mrtrans.ood.score import IMAGE_SCORES, SCORES
from napari_mrtrans.ood.slice_quality import NAMES
from napari_mrtrans.paths import shipped_checkpoint_dir
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training.finished import Finished
from napari_mrtrans.transformation.engine import Engine
from napari_mrtrans.transformation.job import open_job
from napari_mrtrans.transformation.request import Request

SPLITS = {"train": [f"sub-{i:02}" for i in range(4)], "validation": ["sub-04"], "test": ["sub-05"]}
T1_T2 = Pair(Contrast.T1, Contrast.T2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("bids"), 6, (40, 48, 12), np.diag([1.0, 1, 3, 1]))


def checkpoint(folder: Path, family: str = "flow", **card: object) -> Checkpoint:
    return tiny_checkpoint(folder / "tiny.safetensors", family, pairs=[T1_T2], **{"splits": SPLITS, **card})


def one_slice(checkpoint: Checkpoint, sampling: bool = True) -> Settings:
    """As many samples as the card says, of one slice of each scan."""
    return Settings(checkpoint.card.sampler.n, slices=1, sampling=sampling)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Where a deterministic model was calibrated, with nothing there before."""
    out = tmp_path_factory.mktemp("first")
    made = checkpoint(out, "direct")
    calibrate(data, made, out, one_slice(made), say=lambda line: None)
    return out


@pytest.mark.parametrize(("who", "lines"), [("sub-04", 0), ("sub-77", 1)])
def test_without_validation_people_the_spread_is_told_to_stay(
    who: str, lines: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sampled."""

    def sampled(*_: object, **__: object) -> None:
        raise MrtransError("enough")

    monkeypatch.setattr("napari_mrtrans.evaluation.calibrate.image_features", lambda *_: [])
    monkeypatch.setattr("napari_mrtrans.evaluation.calibrate.measure", sampled)
    made = checkpoint(tmp_path, splits={**SPLITS, "train": [*SPLITS["train"], "sub-05"], "validation": [who]})
    said: list[str] = []
    with pytest.raises(MrtransError, match="enough"):
        calibrate(data, made, tmp_path, one_slice(made), say=said.append)
    assert len(said) == lines
    assert all("no scans of validation subjects of 'tiny'" in line and "will not be corrected" in line for line in said)


def test_whom_a_parent_learned_from_is_no_stranger(data: Path, tmp_path: Path) -> None:
    """Else the correction were fitted to errors of people whom the network knows."""
    adapted = Adapted(parent="x", parent_sha256="", lineage=["x"], site="Lab", people=2, sessions=2, minutes=1.0)
    made = checkpoint(tmp_path, seen_before=["sub-04/ses-2", "a/sub-05"], adapted=adapted)
    sessions = known_sessions(data, [made])
    assert set(roles(made, sessions).values()) == {"train"} and len(roles(made, sessions)) == 6
    assert {job.role for job in planned(made, sessions, 0)} == {"train"}
    assert doubts(made, sessions) == [
        "sub-04: kept out, but what 'tiny' started from was trained on it.",
        "sub-05: kept out, but what 'tiny' started from was trained on it.",
        "'tiny' was adapted to 2 people of 'Lab', whom its card does not name: if any of them are kept out here, the "
        "calibration takes it for better than it is.",
    ]
    card = {"splits": SPLITS, "folder": "b", "seen_before": ["sub-04/ses-2", "a/sub-05"]}
    of_two = tiny_checkpoint(tmp_path / "two.safetensors", pairs=[T1_T2], **card)
    assert [roles(of_two, sessions)[f"sub-{i:02}"] for i in (4, 5)] == ["train", "test"]  # b/sub-05 is another person
    plain = checkpoint(tmp_path)
    assert doubts(plain, sessions) == []
    assert list(roles(plain, sessions).values()) == ["train"] * 4 + ["validation", "test"]


def test_people_of_another_site_are_none_of_the_card_s(data: Path, tmp_path: Path) -> None:
    """Every data set has a sub-01."""
    made = tiny_checkpoint(tmp_path / "tiny.safetensors", pairs=[T1_T2], splits=SPLITS, folder="ixi")
    write_calibration(made, Calibration(card=made.card_digest), tmp_path)
    made = read_checkpoint(made.path)
    with pytest.raises(
        MrtransError,
        match=r"trained or validated on; .* holds 0\. Give the folder it was trained on\. 'tiny' was .* 'ixi'",
    ):
        calibrate(data, made, tmp_path, one_slice(made), say=lambda line: None)
    with pytest.raises(MrtransError, match="holds no scans of validation subjects of 'tiny'"):
        calibrate_spread(data, made, tmp_path, one_slice(made), say=lambda line: None)
    parts = ("train", "validation", "test")
    assert sessions_of(data, made, *parts) == {}
    (home := tmp_path / "ixi").symlink_to(data)
    assert [*roles(made, sessions_of(home, made, *parts)).values()] == ["train"] * 4 + ["validation", "test"]


@pytest.mark.parametrize("spread_only", [False, True])
def test_people_whom_a_parent_knows_are_told_before_the_work(
    spread_only: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sampled(*_: object, **__: object) -> None:
        raise MrtransError("enough")

    monkeypatch.setattr("napari_mrtrans.evaluation.calibrate.image_features", lambda *_: [])
    monkeypatch.setattr("napari_mrtrans.evaluation.calibrate.measure", sampled)
    made = checkpoint(tmp_path, seen_before=["sub-04"])
    said: list[str] = []
    if spread_only:
        write_calibration(made, Calibration(card=made.card_digest), tmp_path)
        made = read_checkpoint(made.path)
    with pytest.raises(MrtransError, match="enough"):
        (calibrate_spread if spread_only else calibrate)(data, made, tmp_path, one_slice(made), say=said.append)
    assert said[0] == "sub-04: kept out, but what 'tiny' started from was trained on it."
    assert spread_only or "no scans of validation subjects of 'tiny'" in said[1]


def measured(
    subject: str, role: str, rng: np.random.Generator, error: float = 2.0, pair: str = "T1->T2"
) -> Measurement:
    """Errors ``error`` times as large as the spread says, wherever they are."""
    std = rng.uniform(0.02, 0.08, 500)
    values = Voxels(std, rng.normal(0, error * std), std, *rng.random((2, 500)))
    return Measurement(
        pair=pair,
        subject=subject,
        role=role,  # type: ignore[arg-type]
        kind="normal",
        sigma_hat=0.05,
        per_slice=[0.05],
        kept=values.lists(rng, 500),
    )


def test_the_correction_is_fitted_to_validation_and_covers_the_test() -> None:
    rng = np.random.default_rng(0)
    spread = fit_spread([measured("sub-9", "validation", rng)])
    assert spread["T1->T2"].factor == pytest.approx(2, rel=0.25)
    test = [measured("sub-new", "test", rng)]
    (found,) = coverage(test, spread)
    assert found["before"] < 0.7
    assert found["rank_before"] > 0.2  # errors are as large as the spread says
    assert abs(found["rank_intensity"]) < 0.2
    assert "| std ~ error |" in coverage_lines([found])[0]
    assert "| 1, 1 |" in coverage_lines([found])[-1]
    other = {"pair": "T1->T2", "subject": "sub-other", "before": 0.7, "after": found["after"] - 0.1}
    lines = coverage_lines([found | {"rank_before": None}, other, other | {"subject": "sub-other/ses-2"}])
    assert "| std ~ error |" not in lines[0]  # nobody's is known
    assert lines[0].count("~") == 2 and f"| {found['rank_intensity']:.3f} | 3, 2 |" in lines[-1]
    assert f"{np.mean([found['after'], other['after']]):.3f} ± 0.050 |" in lines[-1]
    assert found["after"] == pytest.approx(0.9, abs=0.05)


def test_visits_weigh_no_more_in_what_intervals_hold() -> None:
    """Eight of one person, one of another, whose rank is not known."""
    ranks = {"rank_before": 0.4, "rank_after": 0.5, "rank_intensity": 0.3}
    visits = [
        {"pair": "T1->T2", "subject": f"x/sub-0/ses-{i}", "before": 0.9, "after": 0.95, **ranks} for i in range(8)
    ]
    other = {"pair": "T1->T2", "subject": "x/sub-1", "before": 0.5, "after": 0.65, **ranks, "rank_before": None}
    for line in coverage_lines([*visits, other])[2:]:
        assert line.endswith("| 0.700 | 0.800 ± 0.150 | 0.400 | 0.500 | 0.300 | 9, 2 |")
    assert "| – | 0.500 |" in coverage_lines([*visits, other | {"pair": "T2->T1"}])[3]


def test_the_auc_of_probabilities_is_theirs() -> None:
    """Probabilities that a step turns the other way round where it is fitted to fewer slices."""
    rows = [
        OodRow("c", "T1->T2", f"sub-{i}", kind, float("nan"), {"image": score, "slices": 9.0}, p)
        for i, (kind, score, p) in enumerate(
            (("normal", 0.0, 0.3), ("normal", 1.0, 0.3), ("motion", 2.0, 0.3), ("motion", 3.0, 0.9))
        )
    ]
    lines = probability_lines(rows[:2], rows[2:], "image")
    aucs = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines if line.endswith("|")}
    assert (aucs["min-max normalised, all"], aucs["calibrated, all"]) == ("1.000", "0.750")


@pytest.mark.parametrize(("people", "factor"), [(1, 1.0), (2, 1.0), (3, 0.5)])
def test_one_or_two_people_do_not_narrow_a_spread(people: int, factor: float) -> None:
    rng = np.random.default_rng(0)
    rows = [measured(f"sub-{i}", "validation", rng, error=0.5) for i in range(people)]
    std = np.concatenate([row.answered.std for row in rows])
    (mine,) = fit_spread(rows).values()
    assert np.concatenate([mine.of(row.answered) for row in rows]).mean() / std.mean() == pytest.approx(factor, rel=0.1)


def test_a_mask_that_is_not_there_costs_the_lesions_alone(tmp_path: Path) -> None:
    data = bids_folder(tmp_path, subjects=1, shape=(24, 28, 12))
    files = {Contrast.T1: data / "sub-00" / "anat" / "sub-00_T1w.nii.gz"}
    session = Session("sub-00", "", files, tmp_path / "annex" / "mask.nii.gz")
    assert not Scan(session, Contrast.T1, LESION).possible
    assert [*Scan(session, Contrast.T1).stamp()[1]][2:] == [None, None]
    files[Contrast.T1].unlink()
    with pytest.raises(MrtransError, match=r"sub-00_T1w\.nii\.gz' of sub-00 cannot be read"):
        Scan(session, Contrast.T1).stamp()


def test_images_that_are_gone_or_damaged_are_told_and_left_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sampled(_: object, sessions: dict[str, Session], *__: object, **___: object) -> None:
        given.update({name: {*session.files} for name, session in sessions.items()})
        raise MrtransError("enough")

    given: dict[str, set[Contrast]] = {}
    monkeypatch.setattr("napari_mrtrans.evaluation.calibrate.image_features", lambda *_: [])
    monkeypatch.setattr("napari_mrtrans.evaluation.calibrate.measure", sampled)
    shutil.copytree(data, tmp_path / "data")
    names = ("sub-05_T1w", "sub-02_T2w", "sub-04_FLAIR")
    files = {name: tmp_path / "data" / name[:6] / "anat" / f"{name}.nii.gz" for name in names}
    files["sub-05_T1w"].unlink()
    files["sub-05_T1w"].symlink_to("annex")
    files["sub-02_T2w"].write_bytes(b"damaged")
    whole = files["sub-04_FLAIR"].read_bytes()
    files["sub-04_FLAIR"].write_bytes(whole[: len(whole) // 2])  # with its header
    made, said = checkpoint(tmp_path), []
    with pytest.raises(MrtransError, match="enough"):
        calibrate(tmp_path / "data", made, tmp_path / "out", one_slice(made), say=said.append)
    assert {line.split(":")[0] for line in said} == {
        "left out T1 of sub-05", "left out T2 of sub-02", "left out FLAIR of sub-04"
    }  # fmt: skip
    assert all(any(str(path) in line for line in said) for path in files.values())
    assert given.keys() == {f"sub-{i:02}" for i in range(6)}
    assert given["sub-04"] == {Contrast.T1, Contrast.T2}
    assert given["sub-05"] == {Contrast.T2, Contrast.FLAIR} and given["sub-02"] == {Contrast.T1, Contrast.FLAIR}
    (tmp_path / "data" / "sub-03" / "anat" / "sub-03_T1w.nii.gz").write_bytes(b"")
    with pytest.raises(MrtransError, match=r"needs at least 5 of the subjects .* holds 4\."):
        calibrate(tmp_path / "data", made, tmp_path / "out", one_slice(made), say=said.append)


def test_known_curves_stay_and_test_people_bend_none() -> None:
    """Curves are fitted to training and validation people, or are the parent's; width to validation people alone."""
    rng = np.random.default_rng(0)
    rows = [measured(f"sub-{i}", "train", rng) for i in range(4)] + [measured("sub-v", "validation", rng, 3.0)]
    bent = replace(rows[0].answered, error=9 * rows[0].answered.answer)
    test = replace(measured("sub-t", "test", rng), kept=bent.lists(rng, 500))
    (mine,) = fit_spread(rows).values()
    assert fit_spread([*rows, test])["T1->T2"] == mine
    assert mine.blur_mm > 0 and len(mine.by_answer) == len(mine.by_source) > 0
    known = SpreadCorrection(floor=9.0, factor=9.0, blur_mm=1.5, by_answer=[1.0, 3.0], by_source=[2.0, 1.0])
    (other,) = fit_spread(rows, {"T1->T2": known}).values()
    assert (other.by_answer, other.by_source) == ([1.0, 3.0], [2.0, 1.0])
    held = np.abs(rows[-1].answered.error) <= Z90 * other.of(rows[-1].answered)
    assert held.mean() >= 0.9 and other.factor < 9


def test_scans_of_which_nothing_could_be_compared_are_left_out() -> None:
    """Of a slab that shares no measured slice with its target."""
    rng = np.random.default_rng(0)
    rows = [measured("sub-v", "validation", rng), measured("sub-t", "test", rng)]
    empty = [replace(row, kept={}) for row in rows]
    assert fit_spread([*rows, *empty]) == fit_spread(rows)
    spread = fit_spread(rows)
    assert coverage([*rows, *empty], spread) == coverage(rows, spread)


def test_what_is_fitted_is_what_is_shown(tmp_path: Path) -> None:
    """Voxels of another size on each axis, which lie in another order: surroundings and curves go the same way."""
    turned = np.diag([3.0, 1.0, 2.0, 1.0])[[2, 0, 1, 3]]
    folder = bids_folder(tmp_path / "bids", subjects=1, shape=(14, 40, 44), affine=turned)
    anat = folder / "sub-00" / "anat"
    session = Session("sub-00", "", {c: anat / f"sub-00_{c}w.nii.gz" for c in T1_T2}, None)
    made = checkpoint(tmp_path)
    law = SpreadCorrection(floor=0.01, factor=2.0, blur_mm=1.5, by_answer=[1.0, 3.0], by_source=[2.0, 1.0, 1.5])
    write_calibration(made, Calibration(card=made.card_digest, spread={T1_T2.key: law}), tmp_path)
    made = read_checkpoint(made.path)
    job = Input(T1_T2, session.name, "validation", Scan(session, Contrast.T1))
    volume = Volume.load(session.files[Contrast.T1])
    middle = volume.n_slices // 2
    usual = made.card.sampler.n  # the std of fewer is made wider before it is shown
    (update,) = stream(volume, made, target="T2", n=usual, slices=(middle, middle + 1), prepare=False)
    kept = job._answered([update], volume.axial_axis)
    both = PairedVolumes.open(session, T1_T2).both.take(middle, volume.axial_axis)
    assert volume.axial_axis == 1 and update.calibrated_std is not None
    np.testing.assert_allclose(update.calibrated_std[both], law.of(kept), rtol=1e-5)
    assert np.ptp(law.curves(kept.answer, kept.source)) > 0.5


@pytest.mark.parametrize(("people", "expected"), [(2, [4.0, 3.1]), (3, [4.0, 1.0])])
def test_pairs_of_few_people_share_a_correction(people: int, expected: list[float]) -> None:
    rng = np.random.default_rng(0)
    rows = [measured(f"sub-{i}", "validation", rng, 4.0, "T1->T2") for i in range(people)]
    rows += [measured(f"sub-{i}", "validation", rng, 1.0, "T1->FLAIR") for i in range(people)]
    std = rows[0].answered.std
    fitted = fit_spread(rows)
    factors = [fitted[pair].of(rows[0].answered).mean() / std.mean() for pair in ("T1->T2", "T1->FLAIR")]
    # Shared, it lies between, nearer to the wide one (90 % of the voxels of both together); who needs more gets it.
    np.testing.assert_allclose(factors, expected, rtol=0.1)


def test_a_mask_that_marks_nothing_holds_no_lesion(tmp_path: Path) -> None:
    files = {Contrast.T1: tmp_path / "T1.nii.gz"}
    for marked in (0, 1):
        mask = save_nifti(tmp_path / f"{marked}_mask.nii.gz", np.full((4, 4, 4), marked, np.uint8))
        assert Scan(Session("sub-1", "", files, mask), Contrast.T1, LESION).possible is bool(marked)
    assert not Scan(Session("sub-1", "", files, None), Contrast.T1, LESION).possible


def test_from_the_command_line_to_a_probability(
    tmp_path: Path, data: Path, first: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = checkpoint(tmp_path)
    shutil.copy(first / FEATURES, tmp_path)
    other = save_nifti(tmp_path / "odd" / "sub-99_T1w.nii.gz", np.random.default_rng(0).random((40, 48, 12)) * 300)
    words = ["calibrate", str(made.path), "--data", str(data), "-o", str(tmp_path), "-n", "2", "--slices", "2",
             "--other", f"odd={other.parent}"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code, capsys.readouterr().err
    found = read_checkpoint(made.path).calibration
    assert found is not None and found.ood is not None
    assert found.ood.n == 2 and set(found.spread) == {"T1->T2"}
    assert found.ood.looks is not None and found.ood.looks.kinds == load_judge().card.kinds
    assert len(found.ood.novelty[Contrast.T1].mean) == len(NAMES)
    rows = read_rows(tmp_path / "tiny.ood.json")
    assert {row.subject for row in rows} == {"sub-05", "sub-99_T1w.nii.gz"}
    assert {"normal", "motion", "wrong contrast", "odd"} <= {row.kind for row in rows}
    assert all(row.probability is not None for row in rows)
    table = (tmp_path / "tiny.ood.md").read_text()
    assert "| motion |" in table and "AUC within each pair. Test subjects only: sub-05" in table
    assert "'lesion': not looked at, for no expert mask of a test subject marks something." in table
    holds = (tmp_path / "tiny.spread.md").read_text()
    assert "| T1->T2 | 0." in holds and "Test subjects only: sub-05. Slices of each scan: 2; n = 2, seed 0." in holds

    # The spread alone: P(OOD) stays, the range of sigma-hat that P(OOD) alone would lack comes with it, and of what was
    # measured already nothing is sampled anew.
    beside = made.path.with_suffix(".calibration.json")
    edited = json.loads(beside.read_text())
    edited["spread"]["T1->T2"]["factor"] = 99.0
    edited["ood"] |= {"ranges": {}, "n": 20}
    edited["about"] |= {"coverage": [], "date": "1999-12-31"}
    beside.write_text(json.dumps(edited))
    with monkeypatch.context() as patch:
        patch.setattr("napari_mrtrans.evaluation.ood_study.run_job", None)
        patch.setattr(sys, "argv", ["napari-mrtrans-train", *words[:8], "--slices", "2", "--spread-only"])
        with pytest.raises(SystemExit) as end:
            cli.main()
    said = capsys.readouterr()
    assert not end.value.code, said.err
    assert "| all |" in said.out
    again = read_checkpoint(made.path).calibration
    assert again is not None and again.ood == found.ood and again.spread == found.spread
    assert again.about["spread"]["n"] == 2 and again.about["coverage"] == found.about["coverage"]
    assert (tmp_path / "tiny.spread.md").read_text() == holds

    # P(OOD) alone: the spread, what is said of it, and the range of sigma-hat stay.
    edited = json.loads(beside.read_text())
    edited["about"] |= {"date": "1999-12-31", "spread": None}  # fitted together with P(OOD)
    beside.write_text(json.dumps(edited))
    with monkeypatch.context() as patch:
        patch.setattr("napari_mrtrans.evaluation.ood_study.run_job", None)
        calibrate(data, read_checkpoint(made.path), tmp_path, Settings(2, sampling=False), say=lambda line: None)
    image = read_checkpoint(made.path).calibration
    assert image is not None and image.ood is not None
    assert image.spread == found.spread and image.ood.ranges == found.ood.ranges and image.ood.n == found.ood.n
    assert image.ood.score in IMAGE_SCORES and image.about["coverage"] == found.about["coverage"]
    assert image.about["spread"]["date"] == "1999-12-31" != image.about["date"]
    assert "1999-12-31" in (tmp_path / "tiny.spread.md").read_text()

    # Again: everything is there already, and no artefact is made a second time for its features.
    lines: list[str] = []
    monkeypatch.setattr("napari_mrtrans.evaluation.ood_study.run_job", None)
    monkeypatch.setattr("napari_mrtrans.evaluation.scans.corrupted", None)
    calibrate(
        data, read_checkpoint(made.path), tmp_path, Settings(2, slices=2), others={"odd": [other]}, say=lines.append
    )
    assert len(lines) > 10


def test_pairs_with_pd_are_corrected_on_computed_images_and_all_others_stay(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [T1_T2, *map(Pair.parse, ("T1->PD", "PD->T2"))]
    made = tiny_checkpoint(tmp_path / "tiny.safetensors", "flow", pairs=pairs, splits=SPLITS)
    write_calibration(made, Calibration(card=made.card_digest), tmp_path)
    calibrate_spread(data, read_checkpoint(made.path), tmp_path, one_slice(made), say=lambda line: None)
    acquired = read_checkpoint(made.path).calibration
    assert acquired is not None and set(acquired.spread) == {"T1->T2"}
    words = ["calibrate", str(made.path), "--data", str(data), "-o", str(tmp_path), "--slices", "1"]
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *words, "--spread-only", "--computed-pd"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code, capsys.readouterr().err
    both = read_checkpoint(made.path).calibration
    assert both is not None and set(both.spread) == {pair.key for pair in pairs}
    assert both.spread["T1->T2"] == acquired.spread["T1->T2"] and not both.spread["T1->T2"].computed
    assert both.spread["T1->PD"].computed and both.spread["PD->T2"].computed
    assert both.about["coverage"] == acquired.about["coverage"]
    assert {item["pair"] for item in both.about["coverage_computed_pd"]} == {"T1->PD", "PD->T2"}
    images = sorted((tmp_path / "computed-pd").iterdir())
    assert len(images) == 6  # one for each person
    table = (tmp_path / "tiny.spread.md").read_text()
    assert table.index("| T1->T2 |") < table.index("With PD computed") < table.index("| PD->T2 |")

    # A result says so.
    made = read_checkpoint(made.path)
    volume = Volume.load(next((data / "sub-05").rglob("*T1w.nii.gz")))
    told = transform(volume, made, target="PD", slices=(4, 5), n=2, prepare=False).info["notices"]
    assert any("calibrated on PD computed from other contrasts" in line for line in told)
    plain = transform(volume, made, target="T2", slices=(4, 5), n=2, prepare=False).info["notices"]
    assert not any("computed" in line for line in plain)

    # Again without: what was computed of images that nobody acquired is gone.
    said: list[str] = []
    calibrate_spread(data, made, tmp_path, one_slice(made), say=said.append)
    assert any("The correction of PD->T2, T1->PD goes" in line for line in said)
    again = read_checkpoint(made.path).calibration
    assert again is not None and again.spread == acquired.spread and "coverage_computed_pd" not in again.about


def test_corrections_on_computed_images_are_counted_as_such(first: Path, tmp_path: Path) -> None:
    made = checkpoint(tmp_path, "direct")
    calibration = read_checkpoint(first / "tiny.safetensors").calibration
    assert calibration is not None
    plain = SpreadCorrection(floor=0.1, factor=1.0)
    spread = {"T1->T2": plain, "T1->PD": plain.model_copy(update={"computed": True})}
    write_calibration(made, calibration.model_copy(update={"card": made.card_digest, "spread": spread}), tmp_path)
    told = dict(details(read_checkpoint(made.path)))["calibrated afterwards"]
    assert told.startswith("std corrected for 2 pairs (1 of them on computed images), P(OOD)")


def test_people_of_whom_no_pd_can_be_computed_are_told(tmp_path: Path, data: Path) -> None:
    made = checkpoint(tmp_path)
    sessions = {name: one for name, one in sessions_of(data, made, "train").items() if name in ("sub-00", "sub-01")}
    single = replace(sessions["sub-01"], files={Contrast.T1: sessions["sub-01"].files[Contrast.T1]})
    dark = replace(sessions["sub-00"], files={**sessions["sub-00"].files})
    dark.files[Contrast.T1] = save_nifti(tmp_path / "dark_T1w.nii.gz", np.zeros((40, 48, 12), np.float32))
    said: list[str] = []
    there = with_computed_pd({"sub-00": dark, "sub-01": single}, tmp_path / "pd", 0, said.append)
    assert there == {} and len(said) == 1 and said[0].startswith("no PD computed of sub-00: ")
    gone = {"sub-00": replace(sessions["sub-00"], mask=tmp_path / "gone.nii.gz")}  # a mask is not needed
    assert with_computed_pd(gone, tmp_path / "pd", 0, said.append)["sub-00"].files[Contrast.PD].is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(MrtransError, match="file"):
        with_computed_pd(sessions, tmp_path / "file", 0, said.append)


@pytest.mark.parametrize(
    ("family", "more", "told"),
    [
        ("direct", [], "gives one answer, which has no spread; leave out --spread-only"),
        ("flow", [], "has no calibration yet; leave out --spread-only"),
        ("flow", ["--image-only"], "give it without --image-only and --other"),
        ("direct", ["--computed-pd"], "--computed-pd corrects a spread; leave it out"),
    ],
)
def test_a_spread_that_cannot_be_corrected_alone(
    tmp_path: Path, data: Path, family: str, more: list[str], told: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["calibrate", str(checkpoint(tmp_path, family).path), "--data", str(data), "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *words, "--spread-only", *more])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert end.value.code == 2 and told in said.err and "Traceback" not in said.err


def test_a_scan_without_a_score_takes_no_part(first: Path) -> None:
    """Of a contrast that a test person has and too few others."""
    made = read_checkpoint(first / "tiny.safetensors")
    assert made.calibration is not None and made.calibration.ood is not None
    best = made.calibration.ood.score
    nothing = dict.fromkeys(SCORES, np.nan)
    rows = [replace(row, scores=nothing | row.scores) for row in read_rows(first / "tiny.ood.json")]
    lost = replace(rows[0], pair="PD→T2", scores=nothing, probability=None)
    before, after = (summary(made, some, made.calibration) for some in (rows, [*rows, lost]))
    assert f"Without a score by {best}" not in before
    assert "as of contrasts that too few people have: 1." in after
    figures = [[line for line in text.splitlines() if "calibrated, all" in line] for text in (before, after)]
    assert len(figures[0]) == 1 and figures[0] == figures[1]


def test_a_deterministic_model_is_calibrated_on_novelty_alone(first: Path) -> None:
    found = read_checkpoint(first / "tiny.safetensors").calibration
    assert found is not None and found.ood is not None
    assert not found.spread and not found.ood.ranges
    assert found.ood.score in IMAGE_SCORES
    rows = read_rows(first / "tiny.ood.json")
    assert rows and all(np.isnan(row.sigma_hat) and row.probability is not None for row in rows)


@pytest.mark.parametrize("text", ["", '[{"checkpoint": "x"}]', "[1]"])
def test_a_file_without_scores_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(MrtransError, match=r"x\.json' holds no scores of unusual inputs"):
        read_rows(tmp_path / "x.json")


def test_another_checkpoint_finds_the_features_of_the_first(
    tmp_path: Path, data: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(first / FEATURES, tmp_path)
    second = tiny_checkpoint(tmp_path / "b" / "other.safetensors", "direct", pairs=[T1_T2], splits=SPLITS, seed=1)
    monkeypatch.setattr("napari_mrtrans.evaluation.scans.slice_features", None)
    calibrate(data, second, tmp_path, one_slice(second), say=lambda line: None)
    assert (tmp_path / FEATURES).read_bytes() == (first / FEATURES).read_bytes()
    assert (tmp_path / "other.ood.md").exists()


@pytest.mark.parametrize("levels", [2, 5])
def test_features_are_of_the_slices_that_the_network_is_shown(
    levels: int, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it takes steps of 32 pixels; keys of before tell no step."""
    model, options = tiny_model("direct", network={**TINY, "widths": [8] * levels})
    card = tiny_checkpoint(tmp_path / "tiny.safetensors", "direct").card.model_copy(update={"options": options})
    made = read_checkpoint(write_checkpoint(tmp_path / "deep.safetensors", model, card))
    volume = Volume.load(data / "sub-00" / "anat" / "sub-00_T1w.nii.gz")
    engine = Engine(open_job(volume, made, Request(Contrast.T2)), made, torch.device("cpu"), None, None)
    shown: list[int] = []
    keys: list[dict[str, object]] = []
    row = Finished.row

    def kept(self: Finished, key: dict[str, object], make: Callable[[], object]) -> object:
        keys.append(key)
        return row(self, key, make)

    def features(read: Callable[[int], np.ndarray], index: int, *_: object) -> np.ndarray:
        np.testing.assert_array_equal(read(index), engine.source_slice(index))
        shown.append(index)
        return np.zeros(len(NAMES))

    monkeypatch.setattr("napari_mrtrans.evaluation.scans.slice_features", features)
    monkeypatch.setattr(Finished, "row", kept)
    session = Session("sub-00", "", {Contrast.T1: data / "sub-00" / "anat" / "sub-00_T1w.nii.gz"}, None)
    FeatureStore(tmp_path / FEATURES, 0).of(Scan(session, Contrast.T1), made, volume)
    assert shown and engine.step == (16 if levels == 2 else 32)
    assert [key.get("step") for key in keys] == [None if levels == 2 else 32]


def test_the_image_alone_is_judged_without_samples(
    tmp_path: Path, data: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mrtrans.evaluation.ood_study.run_job", None)
    shutil.copy(first / FEATURES, tmp_path)
    made = checkpoint(tmp_path)
    calibrate(data, made, tmp_path, one_slice(made, sampling=False), say=lambda line: None)
    calibration = read_checkpoint(made.path).calibration
    assert calibration is not None
    assert calibration.spread == {}
    assert calibration.ood is not None
    assert calibration.ood.score in IMAGE_SCORES
    assert all(row.sigma_hat is None or np.isnan(row.sigma_hat) for row in read_rows(tmp_path / "tiny.ood.json"))
    head = Volume.load(data / "sub-05" / "anat" / "sub-05_T1w.nii.gz")
    report = transform(head, read_checkpoint(made.path), target="T2", n=2).info
    assert 0 <= report["ood_probability"] <= 1
    assert report["sigma_hat"] > 0


def test_auc_compares_within_a_pair_only() -> None:
    """Every unusual input lies above the normal ones of its pair, and below those of the other."""
    rows = [
        OodRow("", pair, "sub-1", kind, 0.0, {"sigma_hat": value}, None)
        for pair, low in (("T1->T2", 0.1), ("T2->T1", 0.8))
        for kind, value in (("normal", low), ("noise", low + 0.1))
    ]
    normal, unusual = rows[::2], rows[1::2]
    assert stratified_auc(normal, unusual, "sigma_hat") == 1.0
    below = OodRow("", "T1->T2", "sub-2", "motion", 0.0, {"sigma_hat": 0.0})
    assert stratified_auc(normal, [*unusual, below], "sigma_hat") == (pytest.approx(2 / 3))
    alone = OodRow("", "FLAIR->T1", "sub-2", "heads", 0.0, {"sigma_hat": 0.5})
    assert stratified_auc(normal, [*unusual, alone], "sigma_hat") == 1.0
    assert stratified_auc(normal, [alone], "sigma_hat") is None
    nothing = replace(unusual[0], scores={"sigma_hat": np.nan})
    assert stratified_auc(normal, [*unusual, nothing], "sigma_hat") == 1.0


def test_too_few_people(tmp_path: Path, data: Path) -> None:
    made = checkpoint(tmp_path, splits={"train": ["sub-00", "sub-01"], "test": ["sub-05"]})
    with pytest.raises(Exception, match="at least 5 of the subjects that 'tiny' was trained or validated on"):
        calibrate(data, made, tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("odd", "holds no NIfTI files"),
        ("odd=/nowhere", "holds no NIfTI files"),
        ("={there}", "holds no NIfTI files"),
        ("noise={there}", "scans of the kind 'noise' are made already; choose another name"),
        ("wrong contrast={there}", "scans of the kind 'wrong contrast' are made already"),
        ("normal={there}", "scans of the kind 'normal' are made already"),
    ],
)
def test_an_other_that_cannot_be_one_is_named(
    tmp_path: Path, text: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_nifti(tmp_path / "there" / "sub-99_T1w.nii.gz", np.ones((4, 4, 4)))
    text = text.format(there=tmp_path / "there")
    made = checkpoint(tmp_path)
    words = ["calibrate", str(made.path), "--data", str(tmp_path), "-o", str(tmp_path / "o"), "--other", text]
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert f"--other '{text}'" in (said := capsys.readouterr().err) and told in said


def test_other_folders_of_one_kind_count_together_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    texts = []
    for site in ("a", "b"):
        for name in ("sub-1_T1w.nii.gz", "scan.nii.gz", "sub-1_PDw.nii.gz"):
            save_nifti(tmp_path / site / name, np.ones((4, 4, 4)))
        texts.append(f"odd={tmp_path / site}")
    others = read_others([*texts, texts[0]])
    assert len(others["odd"]) == 6
    lines: list[str] = []
    scans = list(other_scans(checkpoint(tmp_path), others, lines.append))
    assert [(scan.session.name, scan.source, scan.kind) for scan in scans] == [
        (f"{site}/sub-1_T1w.nii.gz", Contrast.T1, "odd") for site in ("a", "b")
    ]
    assert len(lines) == 4
    assert any(line.endswith("scan.nii.gz (odd): its name does not tell its contrast") for line in lines)
    assert any(line.endswith("(odd): 'tiny' takes no PD") for line in lines)


def test_a_spread_is_widened_by_how_much_people_differ() -> None:
    """With it, the mean coverage of many people like these is 90 %; without, it is not."""
    rng = np.random.default_rng(0)
    rows = [measured("sub-v", "validation", rng, error=2.0)]
    rows += [measured(f"sub-{i}", "train", rng, error=float(2.0 * np.exp(0.5 * rng.normal()))) for i in range(200)]
    fitted = fit_spread(rows[:1])
    variation = person_variation(rows, fitted)["T2"]
    assert variation == pytest.approx(0.5, rel=0.15)
    # The person it was fitted to may have been any of them: their own error counts as well.
    mine, next_one = rng.normal(0, 0.5, (2, 5000))
    covered = 2 * norm.cdf(Z90 * widening(0.5, 1) * np.exp(mine - next_one)) - 1
    assert covered.mean() == pytest.approx(0.9, abs=0.01)
    assert fit_spread(rows)["T1->T2"].factor / fitted["T1->T2"].factor == pytest.approx(
        widening(variation, 1), rel=0.01
    )


def test_what_pairs_of_a_person_differ_counts_as_well() -> None:
    """Each person has a wide and a narrow pair: together they look alike."""
    rng = np.random.default_rng(0)
    rows = [
        measured(f"sub-{i}", "train", rng, error, pair)
        for i in range(6)
        for pair, error in zip(("T1->T2", "FLAIR->T2")[:: 1 - 2 * (i % 2)], (1.0, 3.0), strict=True)
    ]
    rows += [measured(f"sub-{i}", "train", rng, 2.0, "T2->T1") for i in range(6)]
    fitted = dict.fromkeys(("T1->T2", "FLAIR->T2", "T2->T1"), fit_spread([measured("v", "validation", rng)])["T1->T2"])
    variation = person_variation(rows, fitted)
    assert variation["T2"] == pytest.approx(np.log(3) / 2, rel=0.15)
    assert variation["T1"] < 0.1  # what people differ in one target says nothing of another


def test_people_who_do_not_differ_and_too_few_people_widen_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = [measured("sub-v", "validation", rng), measured("sub-0", "train", rng, error=9.0)]
    assert person_variation(rows, fit_spread(rows)) == {"T2": 0}
    assert widening(0.0, 1) == pytest.approx(1)


@pytest.mark.parametrize(
    "file", sorted(shipped_checkpoint_dir().glob("*.calibration.json")), ids=lambda file: file.name[12:-17]
)
def test_the_docs_tell_what_the_shipped_intervals_hold(file: Path) -> None:
    name = file.name.removesuffix(".calibration.json")
    page = Path(__file__).parents[2] / "docs" / "results" / f"{name}.spread.md"
    text = spread_summary(name, Calibration.model_validate_json(file.read_bytes()))
    assert (page.read_text(encoding="utf-8") if page.exists() else "") == text
