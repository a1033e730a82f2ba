"""Range: a slab, the slices of a region of interest, or the region alone, chosen with mouse and keys."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from helpers import head, tiny_checkpoint
from napari_mrtrans import Volume, transform
from napari_mrtrans.widgets.lesion.roi import roi_on
from napari_mrtrans.widgets.source import show_slice, slice_on_screen
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform import extent as extent_of
from napari_mrtrans.widgets.transform.extent import SliceRange
from napari_mrtrans.widgets.watch import PAUSE_MS

from ..test_source import AFFINES


@pytest.fixture
def loaded(bench, engine, brain):
    """The dock with one T1 in the viewer, slice 6 on screen."""
    bench.source = bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    return bench


def choose(bench, kind):
    """Take a range with the keys."""
    box = bench.dock.form.range
    bench.qtbot.keyClick(box, Qt.Key.Key_Home)
    for _ in range([*SliceRange].index(kind)):
        bench.qtbot.keyClick(box, Qt.Key.Key_Down)
    assert box.currentText() == kind.value


def type_in(bench, box, number):
    box.selectAll()
    bench.qtbot.keyClicks(box, str(number))
    bench.qtbot.keyClick(box, Qt.Key.Key_Return)


def said(bench):
    """The line beside the button, which is off."""
    assert not bench.dock.button.isEnabled()
    return bench.dock.message.text()


def test_a_slab_is_offered_about_the_slice_on_screen_and_typed(loaded, engine, brain):
    extent = loaded.dock.form.extent
    assert not extent.isVisible()
    choose(loaded, SliceRange.SLAB)
    assert extent.first.isVisible() and not extent.roi.isVisible()
    assert (extent.first.value(), extent.last.value(), extent.count.text()) == (1, 11, "11 slices")
    type_in(loaded, extent.first, 4)
    type_in(loaded, extent.last, 7)
    assert extent.count.text() == "4 slices"
    loaded.run()
    assert engine.requests[0].request.slices == (4, 8)
    mean = loaded.layer("sub-01_T1w_T2_mean").data
    assert [k for k in range(12) if np.isfinite(mean[k]).all()] == [4, 5, 6, 7]
    assert loaded.dock.message.text() == "Done: 4 slices."
    choose(loaded, SliceRange.ALL)
    assert not extent.isVisible()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_slab_elsewhere_is_shown_where_it_begins(elsewhere, loaded, engine, brain):
    """The slice on screen is not among those computed; who has moved the slider since stays there."""
    choose(loaded, SliceRange.SLAB)
    type_in(loaded, loaded.dock.form.extent.last, 10)
    type_in(loaded, loaded.dock.form.extent.first, 8)
    engine.pace = 0.2
    loaded.press()
    if elsewhere:
        loaded.viewer.dims.set_point(0, 2)
    loaded.wait_for(DockState.DONE)
    shown = int(loaded.viewer.dims.point[0])
    assert shown == 2 if elsewhere else shown in (8, 9, 10)


def test_a_slab_outside_is_one_line_and_another_image_is_asked_anew(loaded, brain):
    extent = loaded.dock.form.extent
    choose(loaded, SliceRange.SLAB)
    type_in(loaded, extent.last, 40)
    assert said(loaded) == (
        "The slab from 1 to 40 is not within 'sub-01_T1w', whose slices are 0 to 11. Choose others above."
    )
    loaded.source.name = "sub-09_T1w"
    assert "not within 'sub-09_T1w'" in said(loaded)
    type_in(loaded, extent.last, 11)
    assert loaded.dock.button.isEnabled() and not loaded.dock.message.text()
    # In another image that is shorter, the same numbers are outside.
    short = loaded.viewer.add_image(brain[:8], name="sub-02_T1w")
    loaded.dock.form.image.choose(short)
    assert "'sub-02_T1w', whose slices are 0 to 7" in said(loaded)


def test_a_slab_has_the_numbers_of_a_slider_that_runs_the_other_way(bench, engine, brain):
    """napari-nifti turns the axis: slice 0 of the array is the last of the slider."""
    bench.viewer.add_image(brain, name="sub-01_T1w", scale=(-2, 1, 1), translate=(22, 0, 0))
    bench.viewer.dims.set_point(0, 8)
    choose(bench, SliceRange.SLAB)
    extent = bench.dock.form.extent
    type_in(bench, extent.first, 2)
    type_in(bench, extent.last, 3)
    bench.run()
    assert engine.requests[0].request.slices == (8, 10)
    # A longer image moves the slider's zero; the slab stays where it is.
    bench.viewer.add_image(
        np.pad(brain, ((5, 5), (0, 0), (0, 0))), name="b_T2w", scale=(2, 1, 1), translate=(-10, 0, 0)
    )
    assert (extent.first.value(), extent.last.value()) == (7, 8)
    assert extent.slices == (8, 10)


def test_the_slices_of_a_painted_region(loaded, engine, brain):
    extent = loaded.dock.form.extent
    choose(loaded, SliceRange.ROI_SLICES)
    assert said(loaded) == "There is no Labels or Shapes layer with a ROI. Press Paint…, or add one."
    loaded.qtbot.mouseClick(extent.new, Qt.MouseButton.LeftButton)
    labels = loaded.viewer.layers["sub-01_T1w ROI"]
    assert labels.mode == "paint" and extent.roi.layer is labels
    assert said(loaded) == "Nothing is marked in 'sub-01_T1w ROI' yet. Paint or draw the ROI in it."
    labels.brush_size = 3
    labels.paint((3, 10, 8), 1)
    labels.paint((8, 10, 8), 1)
    loaded.qtbot.waitUntil(loaded.dock.button.isEnabled)
    assert extent.count.text().endswith("in 2 slices")
    loaded.run()
    request = engine.requests[0].request
    assert np.flatnonzero(request.roi.any(axis=(1, 2))).tolist() == [3, 8] and not request.roi_only
    mean = loaded.layer("sub-01_T1w_T2_mean").data
    assert [k for k in range(12) if np.isfinite(mean[k]).all()] == [3, 8]
    np.testing.assert_allclose(mean[8], brain[8] / 200)


def test_a_region_drawn_on_another_grid_alone(loaded, brain):
    """A rectangle in a Shapes layer with half the voxel size."""
    rectangle = np.array([[12, 16, 12], [12, 16, 20], [12, 24, 20], [12, 24, 12]])
    shapes = loaded.viewer.add_shapes([rectangle], ndim=3, name="lesion", scale=(0.5, 0.5, 0.5))
    choose(loaded, SliceRange.ROI)
    assert loaded.dock.form.extent.roi.layer is shapes
    assert loaded.dock.button.isEnabled()
    loaded.run()
    mean, std = (loaded.layer(f"sub-01_T1w_T2_{kind}").data for kind in ("mean", "std"))
    marked = np.zeros(brain.shape, bool)
    marked[6, 8:13, 6:11] = True
    np.testing.assert_array_equal(np.isfinite(mean), marked)
    np.testing.assert_array_equal(np.isfinite(std), marked)
    np.testing.assert_allclose(mean[marked], brain[marked] / 200)
    # σ̂ is that of the whole slice.
    assert loaded.dock.card.overall == pytest.approx(0.006)


@pytest.mark.parametrize("what", ["translate", "scale", "data"])
def test_a_region_is_where_it_lies_on_the_image_as_that_lies_now(loaded, engine, brain, what):
    labels = np.zeros(brain.shape, int)
    labels[5:7, 8:12, 6:10] = 1
    roi = loaded.viewer.add_labels(labels, name="roi")
    choose(loaded, SliceRange.ROI)
    extent = loaded.dock.form.extent
    assert extent.count.text() == "32 voxels in 2 slices"
    new = {"translate": (2, 0, 0), "scale": (0.5, 1, 1), "data": np.pad(brain, ((3, 0), (0, 0), (0, 0)))}
    setattr(loaded.source, what, new[what])
    lies = roi_on(roi, loaded.source)
    assert lies.shape != labels.shape or (lies != (labels > 0)).any()
    loaded.run()  # at once
    np.testing.assert_array_equal(engine.requests[0].request.roi, lies)
    loaded.source.scale = (0.6, 1, 1)
    marked = int(roi_on(roi, loaded.source).sum())
    assert marked != 32
    loaded.qtbot.waitUntil(lambda: extent.count.text().startswith(f"{marked} voxels"))


def test_regions_that_were_removed_during_a_run_are_not_used_again(loaded, engine, brain):
    form, labels = loaded.dock.form, np.zeros(brain.shape, int)
    labels[5:7, 8:12, 6:10] = 1
    mask = loaded.viewer.add_labels((brain > 30).astype(int), name="brain")
    roi = loaded.viewer.add_labels(labels, name="roi")
    choose(loaded, SliceRange.ROI)
    form.extent.roi.choose(roi)
    form.advanced.brain.choose(mask)
    engine.pace = 0.2
    loaded.press()
    loaded.wait_for(DockState.RUNNING)
    loaded.viewer.layers.remove(roi)
    loaded.viewer.layers.remove(mask)
    assert form.extent.roi.layer is roi
    loaded.wait_for(DockState.DONE)
    assert loaded.dock.message.text().splitlines()[0] == "Done: 2 slices."
    assert (form.extent.roi.layer, form.advanced.brain.layer) == (None, None)
    assert "There is no Labels or Shapes layer with a ROI." in form.problem
    assert not loaded.dock.button.isEnabled()


def test_a_region_elsewhere_is_one_line(loaded, brain):
    loaded.viewer.add_labels(np.ones((4, 4, 4), int), name="elsewhere", translate=(500, 0, 0))
    choose(loaded, SliceRange.ROI)
    assert said(loaded) == "The ROI does not overlap 'sub-01_T1w'."
    assert loaded.dock.state is DockState.READY
    choose(loaded, SliceRange.ALL)
    assert loaded.dock.button.isEnabled() and not loaded.dock.message.text()


@pytest.mark.parametrize("flat", [False, True])
def test_trouble_with_a_brain_mask_is_not_told_as_one_with_a_roi(loaded, errors, flat):
    painted = np.ones((4, 4) if flat else (4, 4, 4), int)
    mask = loaded.viewer.add_labels(painted, name="brain", translate=(500,) * painted.ndim)
    loaded.dock.form.advanced.brain.choose(mask)
    loaded.press()
    made = "'brain' is 2-D; mark the brain mask in a 3-D layer made on 'sub-01_T1w'."
    assert loaded.dock.message.text() == (made if flat else "The brain mask does not overlap 'sub-01_T1w'.")


def test_a_region_that_is_wiped_out_stops_the_button(loaded, brain):
    labels = loaded.viewer.add_labels((brain > 120).astype(int), name="roi")
    choose(loaded, SliceRange.ROI)
    assert loaded.dock.button.isEnabled()
    labels.data = np.zeros(brain.shape, int)
    loaded.qtbot.waitUntil(lambda: not loaded.dock.button.isEnabled())
    assert said(loaded).startswith("Nothing is marked in 'roi' yet.")


def test_a_region_only_is_saved_as_the_command_line_saves_it(bench, checkpoints, tmp_path, monkeypatch):
    for path in checkpoints.parent.glob("shipped/*.safetensors"):
        path.unlink()
    checkpoint = tiny_checkpoint(checkpoints / "tiny-flow.safetensors")
    source, out = tmp_path / "sub-01_T1w.nii.gz", tmp_path / "out"
    nib.Nifti1Image(head((24, 26, 8)), AFFINES["RAS"]).to_filename(source)
    roi = np.zeros((24, 26, 8), bool)
    roi[8:14, 9:15, 3] = True
    bench.viewer.open(str(source), plugin="napari-nifti")
    (layer,) = bench.viewer.layers
    bench.viewer.add_labels(
        roi.transpose(2, 1, 0).astype(int), name="lesion", scale=layer.scale, translate=layer.translate
    )
    bench.dock.form.samples.setValue(2)
    choose(bench, SliceRange.ROI)
    bench.run(timeout=120_000)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(out))
    bench.qtbot.mouseClick(bench.dock.save, Qt.MouseButton.LeftButton)
    bench.qtbot.waitUntil(lambda: bench.dock.save.text() != "Saving…", timeout=120_000)
    wanted = transform(Volume.load(source), checkpoint, target="T2", n=2, roi=roi, roi_only=True)
    mean = np.asarray(nib.load(out / "sub-01_T1w_T2_mean.nii.gz").dataobj)
    np.testing.assert_allclose(mean, wanted.mean, atol=1e-4)
    assert mean[roi].any() and not mean[~roi].any()
    info = json.loads((out / "sub-01_T1w_T2.json").read_text())
    assert info["roi"] == {**wanted.info["roi"], "voxels": 36, "only": True}
    assert info["sigma_hat"] == pytest.approx(wanted.info["sigma_hat"], abs=1e-4)


def test_a_slab_of_the_image_before_is_not_one_of_this(loaded, engine, brain):
    other = loaded.viewer.add_image(brain, name="sub-02_T1w", scale=(-1, 1, 1), translate=(20, 0, 0))
    extent = loaded.dock.form.extent
    loaded.dock.form.image.choose(loaded.source)
    choose(loaded, SliceRange.SLAB)
    type_in(loaded, extent.first, 2)
    type_in(loaded, extent.last, 4)
    choose(loaded, SliceRange.ALL)
    loaded.dock.form.image.choose(other)
    choose(loaded, SliceRange.SLAB)
    assert "The slab from 2 to 4 is not within 'sub-02_T1w'" in said(loaded)
    choose(loaded, SliceRange.ALL)
    loaded.dock.form.image.choose(loaded.source)
    choose(loaded, SliceRange.SLAB)
    assert extent.slices == (2, 5)


@pytest.mark.parametrize("units", [("um", "um", "um"), ("mm", "mm", "mm")])
def test_the_slice_on_screen_in_whatever_unit_the_viewer_counts(bench, engine, brain, units):
    source = bench.viewer.add_image(brain, name="sub-01_T1w", units=("mm", "mm", "mm"))
    size = 1000 if units[0] == "um" else 1
    bench.viewer.add_image(brain, name="sub-01_T2w", scale=(size,) * 3, units=units)
    mark = np.zeros(brain.shape, np.uint8)
    mark[5:7, 8:12, 6:10] = 1
    region = bench.viewer.add_labels(mark, scale=(size,) * 3, units=units)
    bench.dock.form.image.choose(source)
    bench.viewer.dims.set_current_step(0, 6)
    choose(bench, SliceRange.CURRENT)
    bench.run()
    assert engine.requests[0].request.slices == (6, 7)
    np.testing.assert_array_equal(roi_on(region, source), mark > 0)
    show_slice(bench.viewer, source, 0, 3)
    assert slice_on_screen(bench.viewer, source, 0) == 3 and bench.viewer.dims.point[0] == pytest.approx(3 * size)


def test_scrolling_does_not_look_at_a_region_again(loaded, brain, monkeypatch):
    looked = []
    roi_on = extent_of.roi_on
    monkeypatch.setattr(extent_of, "roi_on", lambda *of: looked.append(1) or roi_on(*of))
    mask = np.zeros(brain.shape, int)
    mask[3:5, 8:12, 6:10] = 1
    roi = loaded.viewer.add_labels(mask, name="roi")
    choose(loaded, SliceRange.ROI_SLICES)
    loaded.qtbot.wait(PAUSE_MS + 150)
    before = len(looked)
    for step in (4, 5):
        loaded.viewer.dims.set_current_step(0, step)
        loaded.qtbot.wait(PAUSE_MS + 150)
    assert len(looked) == before
    for edit in (lambda: roi.paint((7, 10, 8), 1), lambda: setattr(roi, "translate", (1, 0, 0))):
        before = len(looked)
        edit()
        loaded.qtbot.waitUntil(lambda before=before: len(looked) > before)
