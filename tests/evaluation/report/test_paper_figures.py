from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import planted_about, planted_row
from napari_mrtrans.evaluation.report import paper_figures
from napari_mrtrans.evaluation.report.montage import Panel, grid
from napari_mrtrans.evaluation.report.paper_figures import AROUND, Slices, draw
from napari_mrtrans.evaluation.report.results import Results
from napari_mrtrans.evaluation.tiles import Drawn, write_tile
from napari_mrtrans.evaluation.unusual import KINDS

ABOUT = planted_about(("t1-direct", "direct", ["x"]), ("t1-flow", "flow", ["x"]))
RESULTS = Results([planted_row("t1-direct"), planted_row("t1-flow")], ABOUT)


def tile(std: bool, lesion: bool) -> dict:
    rng = np.random.default_rng(0)
    names = ("source", "target", "mean", "error", *(("std",) if std else ()))
    out: dict = {name: rng.random((40, 30)) for name in names} | {"aspect": np.float64(1)}
    if lesion:
        mask = np.zeros((40, 30))
        mask[20:23, 8:12] = 1
        mask[2, 2] = 1  # a smaller one
        out |= {f"lesion_{name}": out[name] for name in names} | {"lesion_mask": mask}
    return out


@pytest.fixture
def kept(tmp_path: Path) -> Slices:
    drawn = {}
    for pair in ("T1→T2", "T1→FLAIR"):
        for data in ("x", "y"):
            for name in ("t1-direct", "t1-flow"):
                path = tmp_path / f"{pair}-{data}-{name}.npz"
                write_tile(path, tile(name == "t1-flow", data == "y"))
                drawn[pair, name, f"{data}/sub-1"] = Drawn(None, path)
    unusual = {f"{kind}_{part}": np.ones((40, 30)) for kind in KINDS for part in ("source", "mean", "std")}
    write_tile(tmp_path / "unusual.npz", unusual | {"aspect": np.float64(1)})
    return Slices.read(drawn, {"t1-flow": tmp_path / "unusual.npz"})


def test_the_paper_s_figures_are_laid_out(kept: Slices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, list] = {}
    monkeypatch.setattr(paper_figures, "grid", lambda path, rows, _: made.update({path.stem: rows}))
    found = draw(kept, RESULTS, tmp_path)
    assert set(made) == {path.stem for path in found.values()}
    assert set(made) == {"overview-x", "overview-y", "flair-y", "lesion-y", "unusual"}
    titles = {stem: [panel.title for panel in rows[0][1]] for stem, rows in made.items()}
    assert titles["overview-x"] == ["source", "target", "direct", "|error|", "flow", "|error|", "std"]
    assert [name for name, _ in made["overview-x"]] == ["T1→T2", "T1→FLAIR"]
    assert [name for name, _ in made["flair-y"]] == ["T1→FLAIR"]
    assert titles["flair-y"] == ["source", "direct", "flow", "target"]
    assert titles["lesion-y"] == ["source", "source, close", "direct", "flow", "target, close", "target"]
    close = made["lesion-y"][0][1][1]
    assert close.image.shape == (3 + 2 * AROUND, min(30, 12 + AROUND) - max(0, 8 - AROUND))
    assert close.outline.sum() == 12  # the larger lesion alone lies in it
    assert [name for name, _ in made["unusual"]] == [*KINDS, "lesion, y"]
    assert titles["unusual"] == ["source", "target", "flow", "std"]
    assert made["unusual"][0][1][1].image is None  # an artefact has no target


def test_each_picture_has_the_pixels_of_its_own_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, float] = {}
    monkeypatch.setattr(paper_figures, "grid", lambda path, rows, aspect: made.update({path.stem: aspect}))
    tiles = {("T1→T2", data): {"t1-flow": tile(True, False) | {"aspect": np.float64(aspect)}}
             for data, aspect in (("x", 1.0), ("y", 1.5))}  # fmt: skip
    artefacts = {f"{kind}_{part}": np.ones((40, 30)) for kind in KINDS for part in ("source", "mean", "std")}
    draw(Slices(tiles, {"t1-flow": artefacts | {"aspect": np.float64(2)}}), RESULTS, tmp_path)
    assert made == {"overview-x": 1.0, "overview-y": 1.5, "unusual": 2.0}


def test_without_slices_nothing_is_drawn(tmp_path: Path) -> None:
    assert draw(Slices({}, {}), RESULTS, tmp_path) == {}


def test_a_grid_is_drawn_with_empty_places_and_outlines(tmp_path: Path) -> None:
    import matplotlib.image

    image, mask = np.full((20, 20), 0.4), np.zeros((20, 20), dtype=bool)
    mask[5:10, 5:10] = True
    rows = [("one", [Panel("a", image), Panel("std", image)]), ("two", [Panel("a", image, mask), Panel("std")])]
    grid(tmp_path / "grid.png", rows, 1.0)
    picture = matplotlib.image.imread(tmp_path / "grid.png")[..., :3]
    red = (picture[..., 0] > 0.8) & (picture[..., 1] < 0.3)
    assert red.any()
    assert not red[: len(red) // 2].any()
