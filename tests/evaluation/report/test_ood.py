from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_mrtrans.evaluation.report import ood_figures
from napari_mrtrans.evaluation.report.ood_rows import OodRow, by_model, not_told
from napari_mrtrans.evaluation.report.ood_tables import auc_interval, by_kind, detected
from napari_mrtrans.metrics import detection


def planted(checkpoint: str = "a", calibrated: bool = True) -> list[OodRow]:
    """Tumours have a larger σ̂ than every normal input, motion the same; ``other`` finds motion only."""
    rows = []
    for i in range(10):
        for kind, sigma, other in (("normal", 0.02, 0.0), ("tumour", 0.04, 0.0), ("motion", 0.02, 5.0)):
            sigma_hat = sigma + 0.001 * i
            probability = (0.1 if kind == "normal" else 0.9) if calibrated else None
            scores = {"other": other + 0.1 * i}
            rows.append(OodRow(checkpoint, "T1→T2", f"sub-{i}", kind, sigma_hat, scores, probability))
    return rows


def test_checkpoints_without_both_classes_are_left_out() -> None:
    rows = [*planted(), OodRow("b", "T1→T2", "sub-1", "normal", 0.1)]
    assert list(by_model(rows)) == [("a", "T1→T2")]
    assert detected(rows[-1:]) is None
    assert by_kind([]) is None


def test_what_cannot_be_told_of_detection_is_named() -> None:
    known = planted()
    assert not_told(known) == []
    one_class = [
        *(replace(row, checkpoint="usual") for row in known if not row.unusual),
        *(replace(row, checkpoint="strange") for row in known if row.unusual),
    ]
    silent = [replace(row, checkpoint="silent", sigma_hat=np.nan, probability=None) for row in known]
    judged = [replace(row, checkpoint="judged", sigma_hat=np.nan) for row in known]  # by its P(OOD)
    assert not_told([*known, *one_class, *silent, *judged]) == [
        "detection of unusual inputs, usual, T1→T2: all its inputs are usual, and none unusual.",
        "detection of unusual inputs, strange, T1→T2: all its inputs are unusual, and none usual.",
        "detection of unusual inputs, silent, T1→T2: neither σ̂ nor P(OOD) of usual and unusual inputs is known.",
    ]
    assert not_told([]) == ["detection of unusual inputs: what was given holds no scores."]


def test_table_3_before_and_after_calibration() -> None:
    rows = planted()
    table = detected(rows)
    found = dict(zip(table.head, (cell.text for cell in table.rows[0]), strict=True))
    labels = [row.unusual for row in rows]
    raw = detection.min_max([row.sigma_hat for row in rows])
    assert found["normal + unusual"] == "10 + 20"
    assert found["Brier, σ̂"] == f"{detection.brier(labels, raw):.3f}"
    assert found["ECE, σ̂"] == f"{detection.ece(labels, raw):.3f}"
    assert (found["ECE, calibrated"], found["Brier, calibrated"]) == ("0.100", "0.010")
    assert found["NLL, calibrated"] == f"{-np.log(0.9):.3f}"
    assert (found["AUC, σ̂"], found["AUC, calibrated"]) == ("0.750", "1.000")
    assert found["F1 of calling all unusual"] == "0.800"
    assert float(found["max F1, σ̂"]) >= 0.8


def test_without_probabilities_the_calibrated_columns_stay_empty() -> None:
    table = detected(planted(calibrated=False))
    empty = {name for name, cell in zip(table.head, table.rows[0], strict=True) if cell.text == "–"}
    assert empty == {"ECE, calibrated", "Brier, calibrated", "NLL, calibrated", "AUC, calibrated"}


def test_auc_by_kind_and_score() -> None:
    table = by_kind([*planted(), *planted("b")])
    found = {(row[0].text, row[2].text): [cell.text for cell in row[3:]] for row in table.rows}
    assert found["a", "tumour"] == ["10", "1.000", "0.500"]
    assert found["b", "motion"] == ["10", "0.500", "1.000"]


def test_one_answer_has_no_sigma_hat_and_is_judged_by_its_other_scores() -> None:
    rows = [replace(row, sigma_hat=np.nan, scores={**row.scores, "slices": 9.0}) for row in planted()]
    table = by_kind(rows)
    assert table.head[4:] == ["σ̂", "other"]
    assert [[cell.text for cell in row[2:]] for row in table.rows] == [
        ["tumour", "10", "–", "0.500"], ["motion", "10", "–", "1.000"],
    ]  # fmt: skip
    found = detected(rows)
    cells = dict(zip(found.head, (cell.text for cell in found.rows[0]), strict=True))
    assert {name for name, text in cells.items() if text == "–"} == {
        "ECE, σ̂", "Brier, σ̂", "NLL, σ̂", "AUC, σ̂", "max F1, σ̂",
    }  # fmt: skip
    assert cells["AUC, calibrated"] == "1.000"
    assert detected([replace(row, probability=None) for row in rows]) is None


def test_a_scan_without_a_sigma_hat_leaves_those_of_the_others() -> None:
    rows = planted()
    more = [*rows, replace(rows[1], sigma_hat=np.nan)]
    assert [cell.text for cell in detected(more).rows[0]] == [cell.text for cell in detected(rows).rows[0]]
    assert [row[4].text for row in by_kind(more).rows] == [row[4].text for row in by_kind(rows).rows]


def test_the_interval_draws_subjects_not_inputs() -> None:
    """Forty repeats of ten subjects are no more than ten subjects."""
    rng = np.random.default_rng(0)
    rows = [
        OodRow("a", "T1→T2", f"sub-{i}", kind, rng.normal(shift))
        for i in range(10)
        for kind, shift in (("normal", 0), ("x", 1))
    ]
    low, high = auc_interval(rows)
    assert low < detection.auc([row.unusual for row in rows], [row.sigma_hat for row in rows]) < high
    again = auc_interval(rows * 40)
    assert again == pytest.approx((low, high))


def test_a_swarm_keeps_dots_of_one_height_apart_and_in_their_column() -> None:
    values = np.array([1.0, 1.0, 1.0, 2.0])
    places = ood_figures.beside(values)
    assert places[3] == 0
    assert np.diff(np.sort(places[:3])).min() > 0.05
    assert places[:3].mean() == pytest.approx(0)
    assert np.abs(ood_figures.beside(np.ones(500))).max() <= 0.35
    assert ood_figures.beside(np.array([])).size == 0


def test_figures_show_every_input_and_every_checkpoint() -> None:
    rows = [*planted(), *planted("b")]
    swarm = ood_figures.swarm(rows)
    assert len(swarm.axes) == 4
    assert [sum(len(line.get_xdata()) for line in axes.lines) for axes in swarm.axes] == [30] * 4
    roc, f1 = ood_figures.curves(rows).axes
    assert [text.get_text() for text in roc.get_legend().get_texts()] == ["a, T1→T2: AUC 0.750", "b, T1→T2: AUC 0.750"]
    assert f1.get_legend().get_texts()[0].get_text() == f"a, T1→T2: max {detection.max_f1(*scored(planted())):.3f}"
    assert len(ood_figures.swarm(planted(calibrated=False)).axes) == 1
    assert ood_figures.swarm([]) is None
    assert ood_figures.curves([]) is None


def scored(rows: list[OodRow]) -> tuple[list[bool], list[float]]:
    return [row.unusual for row in rows], [row.sigma_hat for row in rows]
