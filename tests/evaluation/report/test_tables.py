from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers import planted_about, planted_row
from napari_mrtrans.evaluation.report import figures, spread_tables, tables
from napari_mrtrans.evaluation.report.ood_rows import OodRow, read_rows
from napari_mrtrans.evaluation.report.published import beside
from napari_mrtrans.evaluation.report.results import Results
from napari_mrtrans.evaluation.report.summary import summary
from napari_mrtrans.evaluation.report.tables import Table
from napari_mrtrans.metrics.coverage import LEVELS

ABOUT = planted_about(("a", "ddpm", ["."]), ("b", "ncsn", ["."]), ("c", "cgan", ["."]))
BASE = np.random.default_rng(0).normal(0.8, 0.05, 8)


def results(n: int = 8, pair: str = "T1→T2") -> Results:
    """``b`` is ahead of ``a`` in every subject, ``c`` behind; the blurred target is ahead of all."""
    rows = []
    for i, value in enumerate(BASE[:n]):
        ahead = {"blurred target": 0.1, "a": 0, "b": 0.001 * (i + 1), "c": -0.002 * (i + 1)}
        for method, step in ahead.items():
            figures = {"ssim_volume": value + step, "psnr_volume": 30 + step, "lpips": value + step}
            rows.append(planted_row(method, pair, f"sub-{i}", **figures))
    return Results(rows, ABOUT)


def cells(table: Table, row: int = 0) -> dict[str, tables.Cell]:
    return dict(zip(table.head, table.rows[row], strict=True))


def test_table_1_has_mean_deviation_and_interval_and_the_best_in_bold() -> None:
    found = {table.title: table for table in tables.similarity(results())}
    assert list(found) == ["SSIM (%)", "PSNR (dB)", "LPIPS", "BSSIM (%)"]
    ssim = cells(found["SSIM (%)"])
    assert ssim["subjects"].text == "8"
    assert ssim["a"].text == f"{100 * BASE.mean():.2f} ± {100 * BASE.std(ddof=1):.2f}"
    low, high = map(float, ssim["a"].small.split(" to "))
    assert 100 * BASE.min() < low < 100 * BASE.mean() < high < 100 * BASE.max()
    assert [name for name, cell in ssim.items() if cell.best] == ["b"]
    assert not any(cell.leads for cell in ssim.values())
    # Less is better; what is no checkpoint does not compete.
    assert [name for name, cell in cells(found["LPIPS"]).items() if cell.best] == ["c"]
    # All alike: none is worse than another.
    assert [name for name, cell in cells(found["BSSIM (%)"]).items() if cell.best] == ["a", "b", "c"]
    assert "Wilcoxon" in found["SSIM (%)"].note


def test_three_subjects_say_that_nothing_can_be_significant() -> None:
    table = tables.similarity(results(3))[0]
    assert "With 3 subjects the smallest possible p of the signed-rank test is 0.125" in table.note
    assert [name for name, cell in cells(table).items() if cell.leads] == ["b"]
    assert not any(cell.best for cell in cells(table).values())


def test_one_subject_has_neither_deviation_nor_interval() -> None:
    table = tables.similarity(results(1))[0]
    assert table.note.startswith("One subject: neither an interval nor a test is possible")
    assert (cells(table)["a"].text, cells(table)["a"].small) == (f"{100 * BASE[0]:.2f}", "")


def test_rivals_are_paired_by_subject() -> None:
    """``b`` lacks the subject in which it would be far behind, and rows come in another order."""
    whole = results()
    rows = [row for row in whole.rows if (row.method, row.subject) != ("b", "sub-7")][::-1]
    table = tables.similarity(Results(rows, ABOUT))[0]
    assert [name for name, cell in cells(table).items() if cell.best] == ["b"]


def test_who_lacks_the_hardest_subject_is_not_the_better_one_for_it() -> None:
    """``y`` is better wherever both were measured, and alone has the hard one."""
    about = planted_about(("x", "ddpm", ["."]), ("y", "ncsn", ["."]))
    values = {"sub-0": 0.4, "sub-1": 0.6, "sub-2": 0.1}
    rows = [
        planted_row(method, pair, who, ssim_volume=value + gain)
        for method, gain in (("x", 0.0), ("y", 0.02))
        for who, value in values.items()
        for pair in ("T1→T2", "T2→T1")
        if (method, who, pair) != ("x", "sub-2", "T2→T1")
    ]
    found = Results(rows, about)
    whole, lacking = tables.similarity(found)[0].rows
    for cells_of, subjects in ((whole, "3"), (lacking, "2")):
        assert [cells_of[1].text, cells_of[2].leads, cells_of[3].leads] == [subjects, False, True]
    assert [cell.text[:5] for cell in lacking[2:]] == ["50.00", "52.00"]
    averages = cells(tables.averages(found))
    assert [averages[name].text[:5] for name in "xy"] == ["43.33", "45.33"] and averages["y"].leads
    orders = [row[2].text for row in beside(found, []).rows if row[0].text == "order by average SSIM"]
    assert orders == ["ncsn > ddpm"]


def visits_of_which_one_lacks_the_hard_one() -> Results:
    """``y`` is worse at every visit, and has not been measured at the hard one, nor on the hard person."""
    about = planted_about(("x", "direct", ["."]), ("y", "ncsn", ["."]))
    hard = {"sub-0/ses-2", "sub-9"}
    rows = [
        planted_row(
            method, subject=who, ssim=(level := value + loss), ssim_volume=level, mae=1 - level,
            coverage=[level] * len(LEVELS),
        )
        for method, loss in (("look-up table", -0.1), ("x", 0.0), ("y", -0.05))
        for who, value in {**{f"sub-{i}/ses-1": 0.8 for i in range(8)}, **dict.fromkeys(hard, 0.2)}.items()
        if (method, who in hard) != ("y", True)
    ]  # fmt: skip
    return Results(rows, about)


def test_what_one_lacks_is_left_out_for_all_whether_a_person_or_a_visit() -> None:
    found = visits_of_which_one_lacks_the_hard_one()
    table = cells(tables.similarity(found)[0])
    assert table["subjects"].text == "8"
    assert [table[name].text[:5] for name in found.methods] == ["70.00", "80.00", "75.00"]
    assert (table["x"].best, table["y"].best) == (True, False)
    text = summary(found.rows, found.about)
    for name, level in (("look-up table", 0.7), ("x", 0.8), ("y", 0.75)):
        assert f"| T1→T2 | {name} | 8 | {level:.4f} |" in text
    note = "What a checkpoint lacks of a pair is left out of the others' means of it, too."
    assert note in text and note not in summary(results().rows, ABOUT)
    assert [cell.text for row in tables.spread(found).rows for cell in row[3:4]] == ["0.80", "0.75"]
    errors = [cells(spread_tables.errors(found), row) for row in (0, 1)]
    assert [row["MAE of the mean"].text for row in errors] == ["0.2000", "0.2500"]
    assert [row["MAE of direct"].text for row in errors] == ["0.2000", "0.2000"]
    dots = [line.get_ydata() for line in figures.similarity(found).axes[0].lines if line.get_marker() == "."]
    np.testing.assert_allclose(dots, 100 * np.repeat([[0.7], [0.8], [0.75]], 8, axis=1))


def test_visits_that_no_two_share_are_not_compared() -> None:
    """Of one person each, at other visits; and a visit without LPIPS of one, which counts for nobody."""
    rows = [
        planted_row(method, subject=f"sub-{i}/ses-{visit}", ssim_volume=level, lpips=0.1 * (visit + 1))
        for method, visit, level in (("a", 1, 0.9), ("b", 2, 0.8))
        for i in range(6)
    ]
    table = cells(tables.similarity(Results(rows, ABOUT))[0])
    assert [table[name].text[:5] for name in "ab"] == ["90.00", "80.00"]
    assert not any(cell.best or cell.leads for cell in table.values())
    rows = [
        planted_row(method, subject=f"sub-0/ses-{visit}", lpips=None if (method, visit) == ("a", 2) else 0.1 * visit)
        for method in "ab"
        for visit in (1, 2)
    ]
    (lpips,) = [table for table in tables.similarity(Results(rows, ABOUT)) if table.title == "LPIPS"]
    assert [cells(lpips)[name].text for name in "ab"] == ["0.1000", "0.1000"]


def test_without_lpips_there_is_no_table_of_it() -> None:
    rows = [planted_row("a", subject=f"sub-{i}", lpips=None) for i in range(2)]
    assert [table.title for table in tables.similarity(Results(rows, ABOUT))] == [
        "SSIM (%)", "PSNR (dB)", "BSSIM (%)",
    ]  # fmt: skip


def test_table_4_averages_pairs_within_subjects() -> None:
    one, two = results(), results(pair="T2→T1")
    assert tables.averages(one) is None
    both = Results([*one.rows, *two.rows], ABOUT)
    found = tables.averages(both)
    assert cells(found)["a"].text == f"{100 * BASE.mean():.2f} ± {100 * BASE.std(ddof=1):.2f}"
    assert [name for name, cell in cells(found).items() if cell.best] == ["b"]
    assert (cells(found)["people"].text, cells(found)["people"].small) == ("8", "")
    # A subject without one of the pairs counts in the mean of the other; what is compared within people lacks it.
    part = Results([*one.rows, *(row for row in two.rows if row.subject != "sub-0")], ABOUT)
    table = tables.averages(part)
    assert table is not None
    mean = (BASE.mean() + BASE[1:].mean()) / 2
    assert cells(table)["a"].text == f"{100 * mean:.2f} ± {100 * BASE[1:].std(ddof=1):.2f}"
    assert (cells(table)["people"].text, cells(table)["people"].small) == ("8", "7 with all pairs")
    assert "±, interval and test are of those people who have all pairs." in table.note
    assert "those people who have all pairs" not in found.note


def test_all_averages_over_pairs_are_one_number() -> None:
    """Six people have one pair alone, in which ``b`` is behind; of those with both it is ahead in that pair."""
    about = planted_about(("a", "ddpm", ["."]), ("b", "ncsn", ["."]))
    level = {
        ("a", "T1→T2"): (0.90, 0.95),
        ("b", "T1→T2"): (0.92, 0.90),
        ("a", "T2→FLAIR"): (0.84,),
        ("b", "T2→FLAIR"): (0.83,),
    }
    rows = [
        planted_row(name, pair, f"sub-{i}", ssim_volume=values[0 if i < 4 else 1])
        for (name, pair), values in level.items()
        for i in range(10 if len(values) > 1 else 4)
    ]
    results = Results(rows, about)
    means = {"a": (0.4 * 0.90 + 0.6 * 0.95 + 0.84) / 2, "b": (0.4 * 0.92 + 0.6 * 0.90 + 0.83) / 2}
    table = cells(tables.averages(results))
    text = summary(rows, about)
    for name, mean in means.items():
        assert table[name].text.startswith(f"{100 * mean:.2f}")
        assert f"| {name} | 14 | 0.5000 | {mean:.4f} |" in text
    assert "A mean over pairs is the mean of their means." in text
    found = {row[0].text: row[2].text for row in beside(results, []).rows}
    lead = 100 * (means["a"] / means["b"] - 1)
    assert found["average SSIM, lead of ddpm over ncsn (%)"] == f"{lead:.2f}"


def test_a_data_set_without_some_pair_names_those_that_it_has() -> None:
    rows = [
        planted_row("a", pair, who)
        for who, pairs in (("x/sub-1", ("T1→T2", "T2→T1")), ("y/sub-1", ("T1→T2",)), ("z/sub-1", ("T1→T2",)))
        for pair in pairs
    ]
    table = tables.averages(Results(rows, ABOUT))
    assert [(row[0].text, row[0].small) for row in table.rows[::4]] == [("x", ""), ("y", "T1→T2"), ("z", "T1→T2")]


def test_nobody_may_have_all_pairs() -> None:
    rows = [planted_row("a", pair, f"sub-{i}") for i, pair in enumerate(("T1→T2", "T2→T1"))]
    table = tables.averages(Results(rows, ABOUT))
    assert (cells(table)["people"].small, cells(table)["a"].text) == ("0 with all pairs", "50.00")
    assert table.note.endswith("Nobody has all of them: neither an interval nor a test is possible.")


def test_table_4_and_the_order_are_of_pairs_that_all_have() -> None:
    """Who was measured on the easier pair alone is not the better one for it."""
    about = planted_about(("a", "direct", ["."]), ("b", "cgan", ["."]))
    values = {("a", "T1→T2"): 0.9, ("a", "T1→FLAIR"): 0.7, ("b", "T1→T2"): 0.85}
    rows = [
        planted_row(method, pair, f"sub-{i}", ssim_volume=value + 0.001 * i)
        for (method, pair), value in values.items()
        for i in range(6)
    ]
    found = Results(rows, about)
    assert tables.averages(found) is None
    (order,) = [row[2].text for row in beside(found, []).rows if row[0].text == "order by average SSIM"]
    assert order == "direct > cgan"
    more = [planted_row(method, "T2→T1", f"sub-{i}", ssim_volume=0.5) for method in "ab" for i in range(6)]
    table = tables.averages(Results([*rows, *more], about))
    assert table is not None and table.title == "Averages over T1→T2, T2→T1"


def test_table_2_gives_the_change_against_the_twin_trained_there() -> None:
    about = planted_about(("x-ixi", "ddpm", ["ixi"]), ("x-oasis", "ddpm", ["oasis"]), ("y-ixi", "cgan", ["ixi"]))
    figures = {
        ("x-ixi", "ixi/sub-1"): 0.9, ("x-ixi", "oasis/sub-1"): 0.6, ("x-oasis", "oasis/sub-1"): 0.8,
        ("y-ixi", "ixi/sub-1"): 0.7, ("y-ixi", "oasis/sub-1"): 0.5,
    }  # fmt: skip
    rows = [
        planted_row(method, subject=subject, ssim_volume=v, lpips=v / 2) for (method, subject), v in figures.items()
    ]
    table = tables.other_data(Results(rows, about))
    assert [row[0].text for row in table.rows] == ["x-ixi", "y-ixi"]
    twin, own = cells(table), cells(table, 1)
    assert (twin["data set"].text, twin["change against"].text) == ("oasis", "x-oasis on oasis")
    assert twin["SSIM (%)"].text == "60.00 (-20.00)"
    assert twin["LPIPS"].text == "0.3000 (-0.1000)"
    assert own["change against"].text == "itself on ixi"
    assert own["SSIM (%)"].text == "50.00 (-20.00)"
    assert tables.other_data(results()) is None


def test_the_table_of_the_spread() -> None:
    curve = [level / 2 for level in LEVELS]
    rows = [
        planted_row("a", subject="sub-1", coverage=curve, normal_share=0.4, seconds_per_slice=2.0),
        planted_row("a", subject="sub-2", coverage=[c + 0.1 for c in curve], normal_share=0.6, seconds_per_slice=4.0),
        *(planted_row("b", subject=who) for who in ("sub-1", "sub-2")),
    ]
    table = tables.spread(Results(rows, ABOUT))
    assert [row[0].text for row in table.rows] == ["a"]
    found = cells(table)
    assert (found["coverage of 50%"].text, found["coverage of 90%"].text) == ("0.30", "0.50")
    assert (found["normal voxels"].text, found["s per slice"].text) == ("0.50", "3.00")
    assert tables.spread(Results(rows[2:], ABOUT)) is None


def test_the_paper_s_figures_stand_beside_ours_where_both_are() -> None:
    rows = [
        planted_row("a", "T2→FLAIR", ssim_volume=0.80, scssim=0.97, normal_share=0.5),
        planted_row("b", "T2→FLAIR", ssim_volume=0.75, scssim=0.99, seconds_per_slice=None),
    ]
    ood = [OodRow("c", "T1→T2", f"s{i}", kind, s) for i, (kind, s) in enumerate([("normal", 1), ("tumour", 2)])]
    table = beside(Results([*rows, planted_row("c", "T2→FLAIR", ssim_volume=0.9)], ABOUT), ood)
    found = {row[0].text: (row[1].text, row[2].text) for row in table.rows}
    assert found["SSIM of ddpm, T2→FLAIR (%)"] == ("89.06 (OASIS)", "80.00")
    assert found["order by average SSIM"][1] == "cgan > ddpm > ncsn"
    assert float(found["average SSIM, lead of ddpm over ncsn (%)"][1]) == pytest.approx(100 * (80 / 75 - 1), abs=0.01)
    assert found["SCSSIM, all models (%)"] == ("97.20 to 99.25", "50.00 to 99.00")
    assert found["voxels with normal samples, ddpm (%)"] == ("41", "50")
    assert found["AUC of σ̂, cgan, T1→T2"] == ("0.976 (IXI)", "1.000 (1 usual, 1 unusual)")
    assert found["max F1 of σ̂, cgan, T1→T2"][1] == "1.000 (1 usual, 1 unusual; all called unusual: 0.667)"
    assert "SSIM of ddpm, PD→T2 (%)" not in found
    assert "seconds per slice, ncsn" not in found
    assert "do not compare head to head" in table.note


def test_visits_of_one_person_are_no_people() -> None:
    rows = []
    for method, level in (("a", 0.8), ("b", 0.9)):
        for visit in range(5):
            subject = f"oasis/sub-1/ses-{visit}"
            rows.append(planted_row(method, subject=subject, ssim_volume=level + 0.01 * visit, psnr_volume=30.0))
        rows.append(planted_row(method, subject="oasis/sub-2/ses-0", ssim_volume=level - 0.1, psnr_volume=30.0))
    found = Results(rows, ABOUT)
    assert found.subjects == ["oasis/sub-1", "oasis/sub-2"]
    ssim = cells(next(table for table in tables.similarity(found) if table.title == "SSIM (%)"))
    assert ssim["subjects"].text == "2"
    assert ssim["a"].text.startswith(f"{100 * np.mean([0.82, 0.7]):.2f}")  # a visit more weighs no more


def test_people_of_two_data_sets_with_other_contrasts_stand_beside_the_paper() -> None:
    """The paper's own design: the mean over its tasks, though nobody has all pairs."""
    rows = [
        planted_row(name, pair, subject, ssim_volume=level + shift, seconds_per_slice=2.0)
        for name, level in (("a", 0.8), ("b", 0.7))
        for pair, subject, shift in (
            ("T1→PD", "ixi/sub-1", 0.0),
            ("T1→PD", "ixi/sub-2", 0.0),
            ("T1→FLAIR", "o/sub-1", 0.1),
        )
    ]
    found = {row[0].text: row[2].text for row in beside(Results(rows, ABOUT), []).rows}
    assert found["order by average SSIM"] == "ddpm > ncsn"
    assert float(found["average SSIM, lead of ddpm over ncsn (%)"]) == pytest.approx(100 * (0.85 / 0.75 - 1), abs=0.01)
    assert any(name.startswith("seconds per slice, ddpm") for name in found)


def test_pairs_of_scores_may_be_written_either_way(tmp_path: Path) -> None:
    document = [{"checkpoint": "c", "pair": "T1->T2", "subject": "s", "kind": "normal", "sigma_hat": 0.1}]
    (tmp_path / "c.ood.json").write_text(json.dumps(document))
    assert read_rows(tmp_path / "c.ood.json")[0].pair == "T1→T2"


def test_visits_weigh_no_more_in_means_of_curves_and_spreads() -> None:
    rows = [
        planted_row("a", subject=f"x/sub-1/ses-{visit}", ssim=0.9, coverage=[0.9] * 19, psnr_of_n=[30.0])
        for visit in range(3)
    ]
    rows.append(planted_row("a", subject="x/sub-2", ssim=0.5, coverage=[0.5] * 19, psnr_of_n=[20.0]))
    results = Results(rows, ABOUT)
    assert results.curve("psnr_of_n", "a") == [25.0]
    assert cells(tables.spread(results))["coverage of 90%"].text == "0.70"
    assert "| 0.7000 |" in summary(rows, ABOUT)


def test_curves_of_methods_are_of_the_pairs_that_all_have() -> None:
    rows = [planted_row("a", pair, psnr_of_n=[level]) for pair, level in (("T1→T2", 20.0), ("T2→T1", 30.0))]
    rows.append(planted_row("b", "T1→T2", psnr_of_n=[21.0]))
    shared = Results(rows, ABOUT).with_samples()
    assert shared.curve("psnr_of_n", "a") == [20.0] and shared.curve("psnr_of_n", "b") == [21.0]
