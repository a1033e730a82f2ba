"""Which contrast a brain shows, where its name does not tell; the network itself is tested elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from helpers import RAS, head
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation import contrast_guess
from napari_mrtrans.transformation.contrast_guess import look_at_contrast, unknown_contrast_line
from napari_mrtrans.transformation.slice_signs import TOP, judged

SHAPE = (40, 48, 20)


class FakeJudge:
    """Says FLAIR with a given probability, whatever it is shown; keeps what it was shown."""

    def __init__(self, sure: float) -> None:
        self.card = SimpleNamespace(contrasts=list(Contrast), kinds=["none", "motion"])
        self.sure = sure
        self.shown: list[np.ndarray] = []

    def __call__(self, slices: np.ndarray, person: str = "") -> np.ndarray:
        self.shown.append(slices)
        rest = (1 - self.sure) / (len(Contrast) - 1)
        row = [self.sure if contrast is Contrast.FLAIR else rest for contrast in Contrast]
        return np.log(np.tile([*row, 0.5, 0.5], (len(slices), 1)))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> FakeJudge:
    fake = FakeJudge(getattr(request, "param", 0.95))
    monkeypatch.setattr(contrast_guess, "load_judge", lambda: fake)
    return fake


def brain() -> Volume:
    return Volume(head(SHAPE), RAS, name="scan")


def test_a_brain_is_looked_at_whatever_its_units(judge: FakeJudge) -> None:
    seen = look_at_contrast(brain())
    assert seen is not None and seen[0] is Contrast.FLAIR and seen[1] == pytest.approx(0.95)
    again = look_at_contrast(Volume(1000 * head(SHAPE), RAS, name="scan"))
    assert again is not None
    np.testing.assert_allclose(judge.shown[1], judge.shown[0], atol=1e-5)
    slices = judge.shown[0]
    assert slices.shape[1] == 3 and not any(size % 16 for size in slices.shape[2:])
    inside = slices[slices > 0.05]
    assert np.median(inside) == pytest.approx(1 / TOP, rel=0.15)  # the median of the head


@pytest.mark.parametrize("judge", [0.5], indirect=True)
def test_where_it_is_unsure_nothing_is_said(judge: FakeJudge) -> None:
    assert look_at_contrast(brain()) is None
    assert unknown_contrast_line(brain()).endswith("; say it with --from (T1, T2, PD or FLAIR).")


def test_a_whole_head_is_not_looked_at(judge: FakeJudge) -> None:
    noise = np.random.default_rng(0).uniform(1, 2, SHAPE).astype(np.float32)
    assert look_at_contrast(Volume(100 * head(SHAPE) + noise, RAS, name="scan")) is None and not judge.shown


def test_the_line_that_asks_tells_what_it_looks_like(judge: FakeJudge) -> None:
    line = unknown_contrast_line(brain())
    assert line == "The contrast of 'scan' is not known from its name (it looks like FLAIR); say it with --from FLAIR."


def test_what_is_brighter_than_the_largest_multiple_of_the_median_is_as_bright() -> None:
    np.testing.assert_array_equal(judged(np.array([0, 1, TOP, 5], np.float32)), np.float32([0, 1 / TOP, 1, 1]))
