from __future__ import annotations

import numpy as np
import pytest

from helpers import planted_about, planted_row
from napari_mrtrans.evaluation.lesion_sums import sums
from napari_mrtrans.evaluation.report import spread_tables
from napari_mrtrans.evaluation.report.published import beside
from napari_mrtrans.evaluation.report.results import Results
from napari_mrtrans.evaluation.report.tables import NONE, Cell, Table

ABOUT = planted_about(("a", "ddpm", ["."]), ("b", "direct", ["."]))


def cells(table: Table, row: int = 0) -> dict[str, Cell]:
    return dict(zip(table.head, table.rows[row], strict=True))


def test_the_table_of_errors_sets_the_spread_against_plain_maps() -> None:
    spread = {
        "rank_std": 0.5,
        "rank_calibrated": 0.45,
        "sparsification": 0.25,
        "crps": 0.04,
        "band_ratios": [0.5, 1.0, None],
        "two_sample": 0.9,
    }
    rows = [
        planted_row("a", subject="sub-1", rank_intensity=0.4, rank_gradient=0.1, mae=0.06, **spread),
        planted_row(
            "a", subject="sub-2", rank_intensity=0.6, rank_gradient=0.1, mae=0.08, **spread | {"rank_std": 0.3}
        ),
        *(planted_row("b", subject=who, rank_intensity=0.2, mae=0.05) for who in ("sub-1", "sub-2")),
    ]
    table = spread_tables.errors(Results(rows, ABOUT))
    mine, direct = cells(table), cells(table, 1)
    assert [mine[f"{name} ~ |error|"].text for name in ("std", "calibrated std", "intensity", "gradient")] == [
        "0.400",
        "0.450",
        "0.500",
        "0.100",
    ]
    assert [name for name, cell in mine.items() if cell.best] == ["intensity ~ |error|"]
    assert (mine["CRPS"].text, mine["MAE of the mean"].text, mine["MAE of direct"].text) == (
        "0.0400",
        "0.0700",
        "0.0500",
    )
    bands = ("power, > 16 mm", "power, 4 to 16 mm", "power, < 4 mm")
    assert [mine[name].text for name in bands] == ["0.50", "1.00", NONE]
    assert mine["told apart (AUC)"].text == "0.900"
    assert (direct["std ~ |error|"].text, direct["CRPS"].text) == (NONE, NONE)


def test_cumulants_and_accuracy_against_n() -> None:
    of_n = {f"kappa{k}_of_n": [0.1 * k, 0.2 * k] for k in (1, 2, 3, 4)}
    rows = [planted_row("a", psnr_of_n=[20.0, 22.0], ssim_of_n=[0.5, 0.6], **of_n), planted_row("b")]
    table = spread_tables.cumulants(Results(rows, ABOUT))
    assert [cell.text for cell in table.rows[0]] == ["a", "2", "0.2", "0.4", "0.6", "0.8"]
    assert len(table.rows) == 1
    unknown = {f"kappa{k}_of_n": [None] for k in (2, 3, 4)}
    single = [planted_row("a", psnr_of_n=[20.0], ssim_of_n=[0.5], kappa1_of_n=[0.1], **unknown)]
    table = spread_tables.cumulants(Results(single, ABOUT))
    assert [cell.text for cell in table.rows[0]] == ["a", "1", "0.1", NONE, NONE, NONE]
    effect = spread_tables.effect_of_n(Results(rows, ABOUT))
    assert [cell.text for cell in effect.rows[0]] == ["a", "20.00 / 50.00", "22.00 / 60.00", NONE, NONE, NONE]
    assert spread_tables.cumulants(Results(rows[1:], ABOUT)) is None


def test_lesions_are_pooled_over_people_of_each_data_set_and_of_all() -> None:
    rng = np.random.default_rng(0)
    people = {
        name: (p := rng.random(30), p + 0.3 * rng.random(30) + i) for i, name in enumerate(("x/sub-1", "y/sub-1"))
    }
    everywhere = np.ones(30, dtype=bool)
    rows = [
        planted_row("a", subject=name, lesion_sums=sums(p, t, everywhere), lesion_r=0.5)
        for name, (p, t) in people.items()
    ]
    table = spread_tables.lesions(Results([*rows, planted_row("a", subject="x/sub-2")], ABOUT))
    found = {row[2].text: [cell.text for cell in row[3:]] for row in table.rows}
    assert list(found) == ["x", "y", "all"]
    pooled = np.corrcoef(*(np.concatenate([pair[i] for pair in people.values()]) for i in (0, 1)))[0, 1]
    assert found["all"] == ["2", "60", f"{pooled:.3f}", "0.500"]
    assert spread_tables.lesions(Results([planted_row("a")], ABOUT)) is None


def test_lesions_are_of_the_people_that_all_checkpoints_answered() -> None:
    """``b`` was not measured on the person in whom the lesions are plain."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(3):
        p = rng.random(40)
        plain = sums(p, p if i == 2 else p + rng.random(40), np.ones(40, dtype=bool))
        rows += [planted_row(m, subject=f"sub-{i}", lesion_sums=plain) for m in "ab" if (m, i) != ("b", 2)]
    table = spread_tables.lesions(Results(rows, ABOUT))
    assert [cell.text for cell in table.rows[0][1:]] == [cell.text for cell in table.rows[1][1:]]
    assert cells(table)["people"].text == "2"


def test_lesions_of_a_slab_are_said_to_be_no_more() -> None:
    rows = [planted_row("a", lesion_sums=[100.0, 50, 50, 30, 30, 28])]
    assert "Of the masks what lies in the 11 slices" in spread_tables.lesions(Results(rows, ABOUT)).note
    assert spread_tables.lesions(Results(rows, {**ABOUT, "slab": None})).note == ""


def test_what_training_took_comes_from_the_cards() -> None:
    about = planted_about(("a", "ddpm", ["x"]), ("b", "direct", ["x"]))
    took = {"slices": 262144, "hours": 2.25, "peak_memory_gib": 11.04, "device": "a GPU"}
    about["checkpoints"][0] |= {"training": took, "shares": ["b"]}
    table = spread_tables.training(Results([planted_row("a")], about))
    assert [cell.text for cell in table.rows[0]] == ["a", "262,144", "2.2", "11.0", "a GPU", "x", "b"]
    assert spread_tables.training(Results([planted_row("a")], ABOUT)) is None


def test_models_that_share_weights_are_not_ranked() -> None:
    about = planted_about(("a", "ddpm", ["."]), ("b", "ncsn", ["."]), ("c", "cgan", ["."]), ("d", "resvit", ["."]))
    rows = [planted_row(name, ssim_volume=value) for name, value in zip("abcd", (0.9, 0.8, 0.7, 0.6), strict=True)]
    whole = {row[0].text: row[2].text for row in beside(Results(rows, about), []).rows}
    assert whole["order by average SSIM"] == "ddpm > ncsn > cgan > resvit"
    about["checkpoints"][0]["shares"], about["checkpoints"][1]["shares"] = ["b"], ["a"]
    table = beside(Results(rows, about), [])
    found = {row[0].text: row[2].text for row in table.rows}
    assert found["order by average SSIM"] == "cgan > resvit"
    assert "average SSIM, lead of ddpm over ncsn (%)" not in found
    assert "ddpm, ncsn share weights, so no order of them is evidence" in table.note
    # What it shares with a checkpoint that is not here does not matter.
    one = beside(Results([row for row in rows if row.method != "b"], about), [])
    assert one.rows[0][2].text == "ddpm > cgan > resvit"
    assert "share weights" not in one.note


@pytest.mark.parametrize("table", [spread_tables.errors, spread_tables.effect_of_n, spread_tables.lesions])
def test_without_checkpoints_there_is_no_table(table) -> None:
    assert table(Results([planted_row("look-up table")], planted_about())) is None


def test_lesions_of_several_visits_are_of_one_person() -> None:
    rows = [
        planted_row("a", subject=f"ms/sub-{who}/ses-{visit}", lesion_r=r, lesion_sums=[100.0, 50, 50, 30, 30, 28])
        for who, visit, r in ((1, 1, 0.5), (1, 2, 0.7), (2, 1, 0.9))
    ]
    table = spread_tables.lesions(Results(rows, ABOUT))
    assert table is not None
    found = cells(table)
    assert (found["people"].text, found["voxels"].text, found["r, mean of people"].text) == ("2", "300", "0.750")
