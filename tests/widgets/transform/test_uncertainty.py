"""Uncertainty on the screen: a veil, what lies under the cursor, and the film of samples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_mrtrans.widgets.layer_kinds import KeepSamples
from napari_mrtrans.widgets.transform.film import Morph


@pytest.fixture
def ran(bench, engine, brain):
    """A finished run of one T1 with three samples kept, slice 6 on screen."""
    bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    bench.dock.form.samples.setValue(3)
    bench.dock.form.advanced._keep.setCurrentText(KeepSamples.STACK.value)
    bench.run()
    bench.viewer.layers["sub-01_T1w"].visible = False
    return bench


def middle(bench):
    """The colour in the middle of the canvas, which shows the head, 0 to 255."""
    bench.qtbot.wait(50)
    picture = bench.viewer.window.screenshot(canvas_only=True, flash=False)
    return int(picture[picture.shape[0] // 2, picture.shape[1] // 2, 0])


def test_a_veil_hides_what_is_unsure_and_only_that(ran):
    panel = ran.dock.uncertainty
    assert panel.isVisible() and not panel.limit.isVisible()
    plain = middle(ran)
    assert plain > 100
    panel.unsure.setCurrentText("Hidden")
    std = ran.layer("sub-01_T1w_T2_std")
    # The std of slice 6 is 0.006, that of the last one 0.010.
    panel.limit.setValue(round(100 * 0.005 / std.contrast_limits[1]))
    assert middle(ran) < 10
    panel.limit.setValue(round(100 * 0.008 / std.contrast_limits[1]))
    assert middle(ran) == plain
    panel.unsure.setCurrentText("Faded")
    assert 10 < middle(ran) < plain - 10
    panel.unsure.setCurrentText("Shown as the others")
    assert middle(ran) == plain
    assert ran.dock.form.image.findText("sub-01_T1w_T2_unsure (flow, n=3)") < 0
    ran.qtbot.mouseClick(ran.dock.results.remove, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in ran.viewer.layers] == ["sub-01_T1w"]


def test_nothing_lies_over_the_mean_in_a_grid(ran):
    panel = ran.dock.uncertainty
    panel.unsure.setCurrentText("Hidden")
    ran.dock.compare.setChecked(True)
    assert not panel.unsure.isEnabled() and not panel.veil.visible and "side by side" in panel.unsure.toolTip()
    ran.dock.compare.setChecked(False)
    assert panel.unsure.isEnabled() and panel.unsure.currentText() == "Shown as the others"


def test_contour_lines_of_the_std_move_with_the_limit(ran):
    panel = ran.dock.uncertainty
    panel.unsure.setCurrentText("Contour lines")
    lines, std = ran.layer("sub-01_T1w_T2_contours"), ran.layer("sub-01_T1w_T2_std")
    assert lines.visible and not lines.editable
    # The std is 0.006 in the head of slice 6: above one limit, or above three.
    for limit, reached in ((0.005, 1), (0.0015, 3)):
        panel.limit.setValue(round(100 * limit / std.contrast_limits[1]))
        drawn = lines._slice.image.raw
        assert set(np.unique(drawn[:, 8])) >= {0, reached} and drawn.max() == reached
        assert drawn[10, 8] == 0 == drawn[0, 0]  # nothing deep inside, nothing outside
    # It is nobody's region of interest.
    assert ran.dock.form.extent.roi.layers == [] and ran.dock.form.advanced.brain.layers == []
    panel.unsure.setCurrentText("Shown as the others")
    assert not lines.visible


def test_mean_std_and_samples_under_the_cursor(ran, brain):
    panel = ran.dock.uncertainty
    voxel = (6, 10, 8)
    panel._on_move(ran.viewer, SimpleNamespace(position=(0, *voxel)))
    value = brain[voxel] / 200
    assert panel.cursor_text.text() == f"Under the cursor: {value:.3f} ± 0.006"
    assert panel.histogram.isVisible()
    expected = np.histogram(value + np.arange(3) / 100, 25, (0, 1))[0]
    np.testing.assert_array_equal(panel.histogram.counts, expected)
    panel._on_move(ran.viewer, SimpleNamespace(position=(0, 6, 10, 400)))
    assert panel.cursor_text.text() == "Under the cursor: not computed"
    assert not panel.histogram.isVisible()


def test_the_film_goes_smoothly_through_the_samples_in_place_of_the_mean(ran):
    panel = ran.dock.uncertainty
    mean, std = ran.layer("sub-01_T1w_T2_mean"), ran.layer("sub-01_T1w_T2_std")
    std.visible = True
    ran.qtbot.mouseClick(panel.film, Qt.MouseButton.LeftButton)
    film = ran.layer("sub-01_T1w_T2_film")
    assert film.visible and not mean.visible and not std.visible and not film.editable
    phases, pixels = set(), []
    panel._timer.timeout.connect(lambda: (phases.add(film.data.phase), pixels.append(film._slice.image.raw[10, 8])))
    ran.qtbot.waitUntil(lambda: film.data.phase >= 3, timeout=8000)
    assert {1, 1.5, 2, 2.5} <= phases
    # Samples lie 0.01 apart; no step between two pictures is as large.
    assert np.ptp(pixels) > 0.012 and np.abs(np.diff(pixels)).max() < 0.009
    mean.contrast_limits = (0.1, 0.7)
    assert film.contrast_limits == [0.1, 0.7]
    ran.qtbot.mouseClick(panel.film, Qt.MouseButton.LeftButton)
    assert mean.visible and std.visible and not film.visible
    # It is nobody's input and nobody's result.
    assert ran.dock.form.image.findText(film.name) < 0
    panel.film.click()
    ran.viewer.layers.remove(film)
    ran.qtbot.waitUntil(lambda: not panel.film.isChecked())
    assert mean.visible


def test_the_film_stops_where_it_cannot_be_stopped_any_more(ran, monkeypatch):
    panel, mean = ran.dock.uncertainty, ran.layer("sub-01_T1w_T2_mean")
    panel.film.click()
    assert not mean.visible
    monkeypatch.setattr(
        type(ran.dock._run.layers), "std", None
    )  # as of a result that was reopened, once its file is closed
    panel.refresh()
    assert not panel.film.isChecked() and not panel._timer.isActive() and mean.visible


def test_the_film_of_a_volume_in_3d_shows_whole_samples(ran):
    ran.viewer.dims.ndisplay = 3
    panel = ran.dock.uncertainty
    panel.film.click()
    film = ran.layer("sub-01_T1w_T2_film")
    panel._next_frame()
    np.testing.assert_array_equal(np.asarray(film.data), ran.dock._run.layers.samples[1])
    ran.viewer.dims.ndisplay = 2


def test_half_way_between_two_samples_deviations_are_not_smaller():
    rng = np.random.default_rng(0)
    samples = rng.normal(0.5, 0.1, (40, 2, 60, 60)).astype(np.float32)
    mean = SimpleNamespace(data=samples.mean(0))
    layers = SimpleNamespace(mean=mean, n_kept=len(samples), sample=lambda k, where: samples[(k, *where)])
    morph = Morph(SimpleNamespace(layers=layers))
    np.testing.assert_array_equal(morph[1], samples[0, 1])
    for morph.phase in (0.5, 39.3):  # the last leads back to the first
        assert np.std(morph[1] - mean.data[1]) == pytest.approx(0.1, rel=0.05)
    assert np.corrcoef(morph[1].ravel(), samples[0, 1].ravel())[0, 1] == pytest.approx(
        np.sin(0.3 * np.pi / 2), abs=0.06
    )
