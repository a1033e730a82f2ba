from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import bids_folder, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoint import Checkpoint, read_checkpoint
from napari_mrtrans.contrasts import Contrast, Pair
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.image_quality import NAMES
from napari_mrtrans.training import cli
from napari_mrtrans.training.calibrate import calibrate, coverage, fit_ood, fit_spread, out_of_fold, stratified_auc
from napari_mrtrans.training.ood_study import Measurement
from napari_mrtrans.training.report.ood_rows import OodRow, read_rows

SPLITS = {"train": [f"sub-{i:02}" for i in range(4)], "validation": ["sub-04"], "test": ["sub-05"]}
T1_T2 = Pair(Contrast.T1, Contrast.T2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("bids"), subjects=6, shape=(40, 48, 12))


def checkpoint(folder: Path, family: str = "flow", **card: object) -> Checkpoint:
    return tiny_checkpoint(folder / "tiny.safetensors", family, pairs=[T1_T2], **{"splits": SPLITS, **card})


def measured(
    subject: str, kind: str, role: str, *, novelty: float, sigma: float, rng: np.random.Generator
) -> Measurement:
    """Features that lie ``novelty`` off the middle, and errors twice as large as the spread says."""
    std = rng.uniform(0.02, 0.08, 500)
    normal = kind == "normal"
    return Measurement(
        pair="T1->T2",
        subject=subject,
        role=role,  # type: ignore[arg-type]
        kind=kind,
        sigma_hat=sigma,
        per_slice=[sigma],
        features=(novelty + rng.normal(size=(3, len(NAMES)))).tolist(),
        std=std.tolist() if normal else [],
        error=rng.normal(0, 2 * std).tolist() if normal else [],
    )


def study(seed: int = 0) -> tuple[list[Measurement], dict]:
    rng = np.random.default_rng(seed)
    names = [f"sub-{i}" for i in range(10)]
    known = {Contrast.T1: {name: rng.normal(size=(40, len(NAMES))) for name in names}}
    rows = []
    for name in names:
        role = "validation" if name == "sub-9" else "train"
        rows.append(measured(name, "normal", role, novelty=0, sigma=rng.normal(0.05, 0.004), rng=rng))
        rows.append(measured(name, "noise", role, novelty=3, sigma=rng.normal(0.05, 0.004), rng=rng))
    return rows, known


def test_the_score_that_tells_is_the_one_chosen() -> None:
    """Here the unusual inputs differ in their features, and not in σ̂."""
    rows, known = study()
    ood, figures = fit_ood(rows, known, n=20)
    assert ood.score in ("novelty", "combined")
    assert figures[ood.score]["auc"] > 0.95
    assert figures["sigma_hat"]["auc"] < 0.8
    assert figures["normal"] == figures["unusual"] == 10


def test_one_class_alone_is_refused() -> None:
    rows, known = study()
    with pytest.raises(MrtransError, match="needs normal and unusual scans"):
        fit_ood([row for row in rows if row.kind == "normal"], known, n=20)


def test_where_sigma_hat_tells_it_is_heard() -> None:
    rng = np.random.default_rng(1)
    rows, known = study()
    rows = [
        measured(r.subject, r.kind, r.role, novelty=0, sigma=0.05 if r.kind == "normal" else 0.2, rng=rng) for r in rows
    ]
    rows = [r.__class__(**{**r.__dict__, "sigma_hat": r.sigma_hat + rng.normal(0, 0.003)}) for r in rows]
    ood, figures = fit_ood(rows, known, n=20)
    assert figures[ood.score]["auc"] > 0.95
    assert figures["novelty"]["auc"] < 0.8


def test_a_person_is_never_judged_by_a_fold_that_knew_them() -> None:
    """Labels that depend on the person alone cannot be told out of fold, however well in fold."""
    rng = np.random.default_rng(0)
    rows = [
        OodRow("", "T1->T2", f"sub-{i}", "noise" if i % 2 else "normal", 0.0, {"novelty": rng.normal()}, None)
        for i in range(40)
        for _ in range(3)
    ]
    figures = out_of_fold(rows, "novelty")
    assert figures is not None and figures["brier"] > 0.2


def test_the_correction_is_fitted_to_validation_and_covers_the_test() -> None:
    rng = np.random.default_rng(0)
    rows, _ = study()
    spread = fit_spread(rows)
    assert spread["T1->T2"].factor == pytest.approx(2, rel=0.25)
    test = [measured("sub-new", "normal", "test", novelty=0, sigma=0.05, rng=rng)]
    (found,) = coverage(test, spread)
    assert found["before"] < 0.7
    assert found["after"] == pytest.approx(0.9, abs=0.05)


def test_from_the_command_line_to_a_probability(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = checkpoint(tmp_path)
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
    rows = read_rows(tmp_path / "tiny.ood.json")
    assert {row.subject for row in rows} == {"sub-05", "sub-99_T1w.nii.gz"}
    assert {"normal", "motion", "wrong contrast", "odd"} <= {row.kind for row in rows}
    assert all(row.probability is not None for row in rows)
    table = (tmp_path / "tiny.ood.md").read_text()
    assert "| motion |" in table and "AUC within each pair. Test subjects only: sub-05" in table

    # Again: everything is there already.
    lines: list[str] = []
    monkeypatch.setattr("napari_mrtrans.training.ood_study.stream", None)
    calibrate(data, read_checkpoint(made.path), tmp_path, n=2, slices=2, others={"odd": [other]}, say=lines.append)
    assert len(lines) > 10


def test_a_deterministic_model_is_calibrated_on_novelty_alone(tmp_path: Path, data: Path) -> None:
    made = checkpoint(tmp_path, "direct")
    calibrate(data, made, tmp_path, slices=1, say=lambda line: None)
    found = read_checkpoint(made.path).calibration
    assert found is not None and found.ood is not None
    assert not found.spread and not found.ood.ranges
    assert found.ood.score in ("novelty", "combined")
    rows = read_rows(tmp_path / "tiny.ood.json")
    assert rows and all(np.isnan(row.sigma_hat) and row.probability is not None for row in rows)


@pytest.mark.parametrize("text", ["", '[{"checkpoint": "x"}]', "[1]"])
def test_a_file_without_scores_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(MrtransError, match=r"x\.json' holds no scores of unusual inputs"):
        read_rows(tmp_path / "x.json")


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


def test_too_few_people(tmp_path: Path, data: Path) -> None:
    made = checkpoint(tmp_path, splits={"train": ["sub-00", "sub-01"], "test": ["sub-05"]})
    with pytest.raises(Exception, match="at least 5 of the subjects that 'tiny' was trained on"):
        calibrate(data, made, tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["odd", "odd=/nowhere"])
def test_an_empty_other_is_named(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = checkpoint(tmp_path)
    words = ["calibrate", str(made.path), "--data", str(tmp_path), "-o", str(tmp_path / "o"), "--other", text]
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert f"--other '{text}' holds no NIfTI files" in capsys.readouterr().err
