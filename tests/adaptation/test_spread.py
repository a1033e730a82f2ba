"""What an adapted checkpoint's calibration is fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import tiny_checkpoint
from napari_mrtrans.adaptation import spread
from napari_mrtrans.adaptation.figures import Judged, within
from napari_mrtrans.adaptation.site import Site
from napari_mrtrans.checkpoints.card import SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint
from napari_mrtrans.checkpoints.correction import Voxels
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.evaluation.fit_ood import Image, Sigma
from napari_mrtrans.scan.contrasts import Contrast, Pair

T1_T2 = Pair.parse("T1->T2")


def rows(people: int, slices: int, true: float = 0.1, shown: float = 0.05) -> list[Judged]:
    """Slices whose errors have a standard deviation of ``true`` where the samples have one of ``shown``."""
    rng = np.random.default_rng(0)
    out = []
    for person in range(1, people + 1):
        for _ in range(slices):
            std = rng.uniform(0.5, 1.5, 400) * shown
            error = rng.normal(size=400) * std * true / shown
            square = float(np.mean(error**2))
            kept = Voxels(std, error, std, *rng.random((2, 400))).lists(rng, 400)
            out.append(Judged("T1->T2", person, 400, square, 0.5, shown, 0.6, kept))
    return out


def test_the_spread_is_widened_to_what_the_errors_are() -> None:
    found = spread.fitted_spread(rows(4, 3), 10, 10)["T1->T2"]
    assert within(rows(4, 3), found) == pytest.approx(0.9, abs=0.02)
    assert found.factor == pytest.approx(2, rel=0.1)


def test_few_slices_say_too_little() -> None:
    assert spread.fitted_spread(rows(1, 5), 10, 10) == {}
    assert list(spread.fitted_spread(rows(1, 6), 10, 10)) == ["T1->T2"]
    answers = [Judged("T1->T2", 1, 400, 0.01, 0.5, None, None, {})] * 9  # of a model with one answer
    assert spread.fitted_spread(answers, 1, 1) == {}


def test_one_or_two_people_do_not_narrow_the_spread_of_the_next() -> None:
    """The parent's correction allows for how much people differ; three people may."""
    wide = spread.SpreadCorrection(floor=0.0, factor=4.0)
    for people, expected in ((1, 4.0), (2, 4.0), (3, 2.0)):
        found = spread.fitted_spread(rows(people, 6), 10, 10, {"T1->T2": wide})["T1->T2"]
        assert found.factor == pytest.approx(expected, rel=0.1)
    narrow = spread.SpreadCorrection(floor=0.0, factor=1.0)
    assert spread.fitted_spread(rows(1, 6), 10, 10, {"T1->T2": narrow})["T1->T2"].factor == pytest.approx(2, rel=0.1)


def test_coverage_is_told_by_a_correction_fitted_to_others() -> None:
    before, after = rows(2, 6, true=0.2), rows(2, 6)
    narrow = spread.SpreadCorrection(floor=0.0, factor=1.0)
    (old, new) = spread.corrected_coverage(before, after, {"T1->T2": narrow}, 10, 10)["T1->T2"]
    assert old < 0.5 and new == pytest.approx(0.9, abs=0.03)


def test_five_people_give_the_site_a_sense_of_the_unusual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiny_checkpoint(tmp_path / "made.safetensors", pairs=[T1_T2], sampler=SamplerDefaults(steps=2, n=10))
    files = {c: tmp_path / f"{c}.nii" for c in T1_T2}
    people = tuple(Session(f"sub-{i:02}", "", files, None) for i in range(5))
    site = Site(Source(people, 1.0, tmp_path), (T1_T2,))
    told: list[tuple[list[Image], list[Sigma]]] = []

    def features(_: object, sessions: dict[str, Session], *__: object) -> list[Image]:
        return [Image(name, Contrast.T1, "normal", np.zeros((3, 2))) for name in sessions]

    def fit(images: list[Image], sigmas: list[Sigma], *_: object) -> tuple[None, dict[str, object]]:
        told.append((images, sigmas))
        return None, {"score": "image"}

    monkeypatch.setattr(spread, "image_features", features)
    monkeypatch.setattr(spread, "fit_ood", fit)
    path = spread.write_site_calibration(made, made, site, rows(2, 6), 10, tmp_path / "work", lambda line: None)
    ((images, sigmas),) = told
    assert len(images) == 5
    assert [sigma.image.subject for sigma in sigmas] == ["sub-00", "sub-01"]  # the people who were left out
    fitted = read_checkpoint(made.path).calibration
    assert path is not None and fitted is not None
    assert fitted.about["people"] == 2 and "sub-" not in path.read_text()
    # With fewer people what the parent knows of usual scans is kept.
    few = Site(Source(people[:4], 1.0, tmp_path), (T1_T2,))
    spread.write_site_calibration(made, made, few, rows(2, 6), 10, tmp_path / "work", lambda line: None)
    assert len(told) == 1
