from __future__ import annotations

import base64
import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from helpers import planted_about, planted_row
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation.report import figures
from napari_mrtrans.evaluation.report.montage import PANELS, SCALES, strip
from napari_mrtrans.evaluation.report.ood_rows import OodRow
from napari_mrtrans.evaluation.report.results import Results
from napari_mrtrans.evaluation.report.write import check_foreign, write_report
from napari_mrtrans.metrics.coverage import LEVELS

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks nesting; collects text, headings, sources and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.bold: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] == "b":
            self.bold.append(data)


def rows() -> list:
    rng = np.random.default_rng(0)
    out = []
    for subject in (f"sub-{i}" for i in range(6)):
        for pair in ("T1→T2", "T2→T1"):
            out.append(planted_row("look-up table", pair, subject, ssim_volume=0.6))
            out.append(planted_row("direct", pair, subject, ssim_volume=0.7 + 0.01 * rng.random()))
            samples = {
                "coverage": [0.8 * level for level in LEVELS],
                "psnr_of_n": [20.0, 21.0],
                "ssim_of_n": [0.8, 0.9],
            }
            out.append(planted_row("<flow>", pair, subject, ssim_volume=0.9 + 0.01 * rng.random(), **samples))
    return out


ABOUT = planted_about(("direct", "direct", ["."]), ("<flow>", "flow", ["."]), left_out=["x & y: <NaN>"])
OOD = [OodRow("<flow>", "T1→T2", f"s{i}", kind, 0.01 * i) for i, kind in enumerate(["normal", "normal", "tumour"])]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    strip(out / "montages" / "a.png", {"T1": np.zeros((20, 16)), "T2": np.ones((20, 16))}, 1.0)
    write_report(out, rows(), ABOUT, OOD, {"T1→T2, direct": out / "montages" / "a.png"})
    return out


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(written: Path) -> None:
    text = (written / "report.html").read_text()
    page = Page(text)
    assert page.headings == [
        "What was measured", "Pictures", "Similarity to the acquired target", "Averages and other data",
        "Consistency of neighbouring slices", "Uncertainty", "Where the errors are", "Detection of unusual inputs",
        "The paper's figures",
    ]  # fmt: skip
    assert len(page.links) == 6
    assert all(link.startswith("data:image/") for link in page.links)
    assert not any(word in text for word in ("http:", "https:", "@import", "url(", "<script", "<link"))
    assert 'name="viewport"' in text
    # Names are text, not tags.
    assert "&lt;flow&gt;" in text
    assert "x &amp; y: &lt;NaN&gt;" in text


def test_the_best_is_bold_in_the_page(written: Path) -> None:
    """SSIM of two pairs, and their average, are significantly better; all other figures are equal throughout."""
    bold = Page((written / "report.html").read_text()).bold
    assert sum(float(text.split()[0]) > 90 for text in bold) == 3
    assert not any(60 <= float(text.split()[0]) < 80 for text in bold)


def test_pictures_in_the_page_are_those_of_the_folders(written: Path) -> None:
    links = Page((written / "report.html").read_text()).links
    kinds = [(written / "montages" / "a.png", "png"), (written / "figures" / "similarity.svg", "svg+xml")]
    for path, kind in kinds:
        assert f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}" in links
    for name in ("similarity", "calibration", "effect-of-n", "ood-sigma-hat", "ood-detection"):
        assert (written / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (written / "figures" / f"{name}.svg").read_text()
    assert not list(written.rglob(".part*"))


def test_lists_become_columns(written: Path) -> None:
    found = list(csv.DictReader((written / "metrics.csv").open()))
    assert len(found) == 36
    flow = next(row for row in found if row["method"] == "<flow>")
    assert float(flow["coverage_0.5"]) == pytest.approx(0.4)
    assert (flow["psnr_of_n_2"], flow["psnr_of_n_5"]) == ("21.0", "")
    assert next(row for row in found if row["method"] == "direct")["coverage_0.5"] == ""
    document = json.loads((written / "metrics.json").read_text())
    assert document["rows"][2]["coverage"] == pytest.approx([0.8 * level for level in LEVELS])
    assert document["ood"][2]["kind"] == "tumour"
    assert "- Left out: x & y: <NaN>" in (written / "summary.md").read_text()


def test_the_figures_are_json_that_every_program_reads(tmp_path: Path) -> None:
    """Of a deterministic checkpoint, which has no sigma-hat, and of an answer that is the target."""
    ood = [OodRow("direct", "T1→T2", f"s{i}", kind, float("nan"), {"a": 1.0}) for i, kind in enumerate(("normal", "x"))]
    some = [replace(row, psnr=float("inf")) for row in rows()[:3]]
    write_report(tmp_path, some, ABOUT, ood)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    document = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert document["ood"][0]["sigma_hat"] is document["rows"][0]["psnr"] is None


def test_deterministic_models_without_detection_have_no_such_parts(tmp_path: Path) -> None:
    only = [row for row in rows() if row.method != "<flow>" and row.pair == "T1→T2"]
    write_report(tmp_path, only, planted_about(("direct", "direct", ["."])))
    page = Page((tmp_path / "report.html").read_text())
    assert not {"Pictures", "Uncertainty", "Detection of unusual inputs", "Averages and other data"} & set(
        page.headings
    )
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"similarity.png", "similarity.svg"}


def test_the_same_rows_give_the_same_files(written: Path, tmp_path: Path) -> None:
    only = rows()
    for out in ("a", "b"):
        write_report(tmp_path / out, only[:3], ABOUT)
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


@pytest.mark.parametrize("name", ["metrics.json", "summary.md", "report.html", "figures/similarity.png"])
def test_files_that_no_evaluation_has_written_are_told(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "finished.jsonl"
    (tmp_path / "figures").mkdir()
    (tmp_path / "notes.md").write_text("mine")
    check_foreign(tmp_path, kept)
    (tmp_path / name).write_text('["mine"]')
    with pytest.raises(MrtransError, match=f"{name}' is there, and no evaluation has written it; choose another"):
        check_foreign(tmp_path, kept)
    kept.write_text("")
    check_foreign(tmp_path, kept)


def test_a_report_without_its_rows_is_one_all_the_same(written: Path) -> None:
    check_foreign(written, written / "finished.jsonl")


def test_a_folder_that_cannot_be_written_is_one_plain_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MrtransError, match="Cannot write to"):
        write_report(tmp_path / "file" / "out", rows()[:3], ABOUT)


def test_curves_are_means_over_subjects() -> None:
    found = Results(rows(), ABOUT)
    panels = figures.calibration(found).axes
    assert [axes.get_title() for axes in panels[:2]] == ["T1→T2", "T2→T1"]
    [mean] = [line for line in panels[0].lines if line.get_label() == "<flow>"]
    np.testing.assert_allclose(mean.get_ydata(), [0.8 * level for level in LEVELS])
    psnr, ssim = figures.effect_of_n(found).axes
    np.testing.assert_allclose(psnr.lines[0].get_xydata(), [[1, 20], [2, 21]])
    np.testing.assert_allclose(ssim.lines[0].get_ydata(), [80, 90])


def test_a_strip_shows_error_and_std_on_fixed_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[object, object, object]] = []
    original = Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda *a, **k: drawn.append((a[2], k["vmax"], k["aspect"])) or original(*a, **k)
    )
    images = dict.fromkeys(("T1", "T2", "flow", "|error|", "std"), np.zeros((9, 7)))
    assert len(images) == PANELS
    strip(tmp_path / "a.png", images, 1.5)
    assert [cmap for cmap, _, _ in drawn] == ["gray"] * 3 + ["magma"] * 2
    assert [vmax for _, vmax, _ in drawn][3:] == [SCALES["|error|"], SCALES["std"]]
    assert {aspect for _, _, aspect in drawn} == {1.5}
