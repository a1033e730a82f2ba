"""The lesion check: a ROI painted or drawn on any layer gives NumPy's figures on the prediction's voxels."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from napari.layers._layer_actions import _duplicate_layer, _project
from napari.layers._source import Source
from napari_nifti import napari_get_reader
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog
from skimage.draw import ellipse, polygon2mask

from napari_mrtrans.lesion.files import measure_files
from napari_mrtrans.lesion.measure import NO_CONTRAST
from napari_mrtrans.widgets.lesion import dock
from napari_mrtrans.widgets.lesion.dock import LesionWidget
from napari_mrtrans.widgets.lesion.latest import ended, forget, latest
from napari_mrtrans.widgets.lesion.measure import _source_of, in_file, measured
from napari_mrtrans.widgets.lesion.roi import between, roi_on
from napari_mrtrans.widgets.parts import add_part
from napari_mrtrans.widgets.reopened import remember_source
from napari_mrtrans.widgets.watch import PAUSE_MS

SHAPE = (12, 20, 16)
TURN = np.radians(20)
ROTATION = np.array([[1, 0, 0], [0, np.cos(TURN), -np.sin(TURN)], [0, np.sin(TURN), np.cos(TURN)]])
PLACEMENTS: dict[str, dict[str, object]] = {
    "plain": {},
    "flipped": {"scale": (-1, 1, -1), "translate": (11, 0, 15)},
    "scaled": {"scale": (3.0, 0.7, 0.9), "translate": (-4, 5, 100.5)},
    "rotated": {"rotate": ROTATION, "scale": (-2, 1.3, 0.8), "translate": (7, -3, 11)},
    "by affine": {"affine": np.vstack([np.c_[ROTATION @ np.diag([2, -1, 1.5]), [1, 2, 3]], [0, 0, 0, 1]])},
}
POLYGON = np.array([[4.0, 3], [13, 4], [15, 11], [6, 13]])


@dataclass
class Check:
    """A viewer with a finished run on one placement, an acquired T2 and the lesion dock."""

    viewer: object
    dock: LesionWidget
    qtbot: object
    placement: dict[str, object]
    mean: Image
    truth: Image

    def r(self, mask: np.ndarray, truth: np.ndarray | None = None) -> float:
        """NumPy's."""
        truth = self.truth.data if truth is None else truth
        return float(np.corrcoef(self.mean.data[mask], truth[mask])[0, 1])

    def labels(self, **placement: object) -> Labels:
        """An empty Labels layer, placed as the prediction unless told otherwise."""
        return self.viewer.add_labels(np.zeros(SHAPE, int), name="roi", **(placement or self.placement))

    def part(self, data: np.ndarray, kind: str, **placement: object) -> Image:
        """A layer that the run made beside its mean."""
        layer = self.viewer.add_image(data, name=kind, metadata=record(kind), **(placement or self.placement))
        add_part(layer)
        return layer

    def press(self) -> None:
        self.qtbot.mouseClick(self.dock.button, Qt.MouseButton.LeftButton)

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=3000)


def record(kind: str, run: str = "a") -> dict[str, object]:
    return {"mrtrans": {"kind": kind, "run": run, "input": "a_T1w", "source": "T1", "target": "T2"}}


def opened(path: Path, kind: type[Layer] = Image) -> Layer:
    """The layer that napari-nifti makes of a file."""
    data, keywords, _ = napari_get_reader(str(path))(str(path))[0]
    return kind(data, name=path.name.removesuffix(".nii.gz"), **keywords)


@pytest.fixture
def check(make_napari_viewer: Callable, qtbot: object, request: pytest.FixtureRequest) -> Iterator[Check]:
    placement = PLACEMENTS[getattr(request, "param", "flipped")]
    rng = np.random.default_rng(0)
    truth = rng.normal(500, 80, SHAPE).astype(np.float32)
    mean = (truth / 1000 + rng.normal(0, 0.05, SHAPE)).astype(np.float32)
    viewer = make_napari_viewer(show=True)
    viewer.add_image(1000 - truth, name="a_T1w", **placement)
    dock = LesionWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Lesion check")
    made = viewer.add_image(mean, name="a_T1w_T2_mean", metadata=record("mean"), **placement)
    reference = viewer.add_image(truth, name="a_T2w", **placement)
    yield Check(viewer, dock, qtbot, placement, made, reference)


def click(check: Check, layer: Layer, voxel: tuple[int, ...]) -> None:
    """Paint with the tool, as the brush does at that place in the world."""
    layer.paint(layer.world_to_data(check.mean.data_to_world(voxel)), 1)


anywhere = pytest.mark.parametrize("check", list(PLACEMENTS), indirect=True)


def test_voxels_that_were_not_computed_are_left_out(check: Check) -> None:
    roi = check.labels()
    roi.data[2:7, 3:12, 4:12] = 1
    check.mean.data[4:] = np.nan
    check.press()
    mask = (roi.data > 0) & np.isfinite(check.mean.data)
    assert check.dock.report.n_voxels == mask.sum() == 144
    assert check.dock.report.n_missing == 216
    assert check.dock.report.r == pytest.approx(check.r(mask), abs=1e-6)
    assert check.dock.message.text() == "216 of 360 voxels were not computed; they are left out."
    check.mean.data[:] = np.nan
    check.press()
    assert check.dock.message.text() == "Nothing was computed where the ROI is. Transform those slices first."


def test_what_was_not_computed_is_counted_once(check: Check) -> None:
    roi = check.labels()
    roi.data[2:7, 3:12, 4:12] = 1
    check.mean.data[4:] = np.nan
    check.press()
    assert "216 of 360 voxels" in check.dock.message.text() and "of 360 voxels" not in check.dock.details.text()
    check.truth.data[2] = np.nan
    check.press()
    assert "288 of 360 voxels are not in every image; they are left out" in check.dock.details.text().splitlines()


@pytest.mark.parametrize("which", ["a_T1w_T2_mean", "a_T2w"])
def test_what_is_masked_of_an_image_is_left_out(check: Check, which: str) -> None:
    layer = check.viewer.layers[which]
    masked = np.ma.masked_array(layer.data, np.zeros(SHAPE, bool))
    masked[4:] = np.ma.masked
    masked.data[4:] = 9999
    layer.data = masked
    roi = check.labels()
    roi.data = np.ma.masked_array(np.full(SHAPE, 0), np.zeros(SHAPE, bool))
    roi.data[2:7, 3:12, 4:12] = 1
    check.press()
    mask = (np.asarray(roi.data) > 0) & ~masked.mask
    assert (check.dock.report.n_voxels, check.dock.report.n_missing) == (144, 216)
    assert check.dock.report.r == pytest.approx(check.r(mask), abs=1e-6)
    roi.data = np.ma.masked_array(roi.data, np.zeros(SHAPE, bool))
    roi.data[3] = np.ma.masked
    roi.data.data[3] = 1
    check.press()
    assert check.dock.report.n_voxels == 72


def test_any_image_may_be_measured_and_no_p_is_shown(check: Check) -> None:
    other = check.viewer.add_image(check.mean.data * 2, name="of another program", **check.placement)
    assert check.dock.prediction.layer is check.mean  # a result comes first
    roi = check.labels()
    roi.data[2:10, 3:12, 4:12] = 1
    check.dock.prediction.choose(other)
    check.press()
    report, table = check.dock.report, check.dock.table
    assert report.r == pytest.approx(check.r(roi.data > 0), abs=1e-6)
    low, high = report.interval
    assert low < report.r < high
    assert f"({low:.2f} to {high:.2f})" in check.dock.headline.text()
    assert [table.horizontalHeaderItem(i).text() for i in range(4)] == ["Lesion", "Voxels", "r", "95 %"]
    assert table.item(0, 3).text() == f"{low:.2f} to {high:.2f}"
    assert table.columnWidth(3) >= table.sizeHintForColumn(3)  # else it reads "0.21 to …"
    check.dock.prediction.choose(check.truth)
    check.dock.reference.choose(check.truth)
    check.press()
    assert check.dock.message.text() == "'a_T2w' is prediction and reference; choose another one of them."


def test_what_is_to_know_of_figures_that_stay_is_said_anew(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    roi = check.labels()
    roi.data[2:10, 3:12, 4:12] = 1
    check.press()
    before, said = check.dock.report, check.dock.message.text()
    real = dock.measured
    monkeypatch.setattr(dock, "measured", lambda *layers: (real(*layers)[0], ["'a_T2w' was moved"]))
    check.press()
    assert check.dock.report == before and check.dock.message.text() == "'a_T2w' was moved"
    monkeypatch.undo()
    check.press()
    assert check.dock.message.text() == said


@anywhere
def test_painted_roi(check: Check) -> None:
    roi = check.labels()
    roi.brush_size = 5
    click(check, roi, (5, 9, 7))
    roi.brush_size = 3
    click(check, roi, (7, 4, 12))
    mask = roi.data > 0
    check.press()
    report = check.dock.report
    assert report is not None
    assert report.n_voxels == mask.sum() > 10
    assert report.r == pytest.approx(check.r(mask), abs=1e-6)
    assert [lesion.n_voxels for lesion in report.components] == [int(mask[5].sum()), int(mask[7].sum())]
    assert report.components[1].r == pytest.approx(check.r(mask & (np.arange(12) == 7)[:, None, None]), abs=1e-6)


@anywhere
def test_drawn_polygon(check: Check) -> None:
    roi = check.viewer.add_shapes(ndim=3, name="roi", **check.placement)
    roi.add_polygons(np.insert(POLYGON, 0, 5, axis=1))
    mask = np.zeros(SHAPE, bool)
    mask[5] = polygon2mask(SHAPE[1:], POLYGON)
    check.press()
    assert check.dock.report is not None, check.dock.message.text()
    assert check.dock.report.n_voxels == mask.sum() > 50
    assert check.dock.report.r == pytest.approx(check.r(mask), abs=1e-6)


@pytest.mark.parametrize("own", list(PLACEMENTS))
@pytest.mark.parametrize("images", list(PLACEMENTS))
def test_a_polygon_counts_where_it_lies_in_the_world(images: str, own: str) -> None:
    like = Image(np.zeros(SHAPE), **PLACEMENTS[images])
    roi = Shapes(ndim=3, **PLACEMENTS[own])
    corners = np.insert(POLYGON, 0, 5, axis=1)
    roi.add_polygons(np.array([roi.world_to_data(like.data_to_world(corner)) for corner in corners]))
    mask = np.zeros(SHAPE, bool)
    mask[5] = polygon2mask(SHAPE[1:], POLYGON)
    np.testing.assert_array_equal(roi_on(roi, like), mask)


def test_every_kind_of_shape(check: Check) -> None:
    roi = check.viewer.add_shapes(ndim=3, name="roi", **check.placement)
    roi.add_rectangles(np.array([[3, 2, 2], [3, 2, 6], [3, 8, 6], [3, 8, 2]]))
    roi.add_ellipses(np.array([[6, 4, 3], [6, 4, 11], [6, 16, 11], [6, 16, 3]]))
    roi.add_lines(np.array([[8, 2, 2], [8, 2, 9]]))
    mask = np.zeros(SHAPE, bool)
    mask[3, 2:9, 2:7] = True
    mask[8, 2, 2:10] = True
    got = roi_on(roi, check.mean)
    np.testing.assert_array_equal(got[[3, 8]], mask[[3, 8]])
    inside = np.zeros(SHAPE[1:], bool)
    inside[ellipse(10, 7, 6, 4)] = True
    assert (got[6] ^ inside).sum() <= 4
    assert not got[[0, 1, 2, 4, 5, 7, 9, 10, 11]].any()


def test_roi_on_another_grid_of_the_same_shape_goes_through_the_world(check: Check) -> None:
    """A Labels layer made while two layers were selected: same shape, not flipped as the prediction is."""
    roi = check.labels(scale=(1, 1, 1))
    roi.data[2, 3:8, 1:6] = 1
    mask = np.zeros(SHAPE, bool)
    mask[9, 3:8, 10:15] = True
    check.press()
    assert check.dock.report.r == pytest.approx(check.r(mask), abs=1e-6)
    assert check.dock.report.r != pytest.approx(check.r(roi.data > 0), abs=1e-3)


@pytest.mark.parametrize("check", ["rotated"], indirect=True)
def test_finer_labels_hold_the_voxels_whose_middle_they_cover(check: Check) -> None:
    fine = np.zeros((24, 40, 32), int)
    fine[8:12, 10:20, 6:16] = 1
    where = np.array(between(check.mean, check.mean))
    np.testing.assert_allclose(where, np.eye(4), atol=1e-12)
    scale = np.array(check.placement["scale"]) / 2
    corner = check.mean.data_to_world((-0.25, -0.25, -0.25))
    roi = check.viewer.add_labels(fine, name="roi", rotate=ROTATION, scale=scale, translate=corner)
    mask = np.zeros(SHAPE, bool)
    mask[4:6, 5:10, 3:8] = True
    np.testing.assert_array_equal(roi_on(roi, check.mean), mask)


def test_beside_a_stack_of_samples_new_layers_are_four_dimensional(check: Check) -> None:
    rng = np.random.default_rng(1)
    samples = check.mean.data + rng.normal(0, 0.02, (3, *SHAPE)).astype(np.float32)
    scale, translate = (1, *check.placement["scale"]), (0, *check.placement["translate"])
    check.part(samples, "samples", scale=scale, translate=translate, visible=False)
    roi = check.viewer.add_labels(np.zeros((3, *SHAPE), int), name="roi", scale=scale, translate=translate)
    roi.data[1, 4:6, 3:9, 4:8] = 1
    check.press()
    mask = roi.data[1] > 0
    report = check.dock.report
    assert report.r == pytest.approx(check.r(mask), abs=1e-6)
    each = [np.corrcoef(sample[mask], check.truth.data[mask])[0, 1] for sample in samples]
    assert report.sample_r == pytest.approx(each, abs=1e-6)
    assert " over 3" in check.dock.details.text()


def test_layers_of_the_run_give_std_and_contrast(check: Check) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5:8, 8:12, 6:10] = True
    std = np.where(mask, 0.25, 0.125).astype(np.float32)
    add_part(check.viewer.add_image(std + 1, name="other", metadata=record("std", run="b"), **check.placement))
    check.part(std, "std")
    roi = check.labels()
    roi.data[mask] = 1
    check.press()
    report = check.dock.report
    assert (report.std_inside, report.std_ring) == (0.25, 0.125)
    assert "Mean std: 0.2500 inside, 0.1250 around it" in check.dock.details.text()
    assert report.contrast["source"] == pytest.approx(-report.contrast["target"], rel=1e-3)


def test_an_edited_roi_is_measured_anew(check: Check) -> None:
    roi = check.labels()
    roi.brush_size = 5
    click(check, roi, (5, 9, 7))
    check.until(lambda: check.dock.report is not None)
    first = roi.data > 0
    assert check.dock.report.r == pytest.approx(check.r(first), abs=1e-6)
    click(check, roi, (6, 12, 8))
    check.until(lambda: check.dock.report.n_voxels > first.sum())
    assert check.dock.report.r == pytest.approx(check.r(roi.data > 0), abs=1e-6)
    roi.undo()
    check.until(lambda: check.dock.report.n_voxels == first.sum())
    roi.data = np.roll(roi.data, 2, axis=1)
    check.until(lambda: check.dock.report.r != pytest.approx(check.r(first)))
    assert check.dock.report.r == pytest.approx(check.r(roi.data > 0), abs=1e-6)


def test_an_edited_shape_is_measured_anew(check: Check) -> None:
    roi = check.viewer.add_shapes(ndim=3, name="roi", **check.placement)
    roi.add_rectangles(np.array([[3, 2, 2], [3, 2, 6], [3, 8, 6], [3, 8, 2]]))
    check.until(lambda: check.dock.report is not None)
    assert check.dock.report.n_voxels == 35
    roi.add_rectangles(np.array([[5, 2, 2], [5, 2, 6], [5, 8, 6], [5, 8, 2]]))
    check.until(lambda: check.dock.report.n_voxels == 70)
    roi.selected_data = {0}
    roi.remove_selected()
    check.until(lambda: check.dock.report.n_voxels == 35)
    assert check.dock.report.voxels[0][0] == 5


def told(check: Check) -> str:
    check.press()
    assert check.dock.report is None
    assert not check.dock._results.isVisible()
    return check.dock.message.text()


def test_unusable_rois_are_told_in_one_line(check: Check) -> None:
    roi = check.labels()
    assert told(check) == "The ROI 'roi' marks 0 voxels of the prediction; it needs at least 3."
    roi.data[5, 5, 5:7] = 1
    assert told(check) == "The ROI 'roi' marks 2 voxels of the prediction; it needs at least 3."
    roi.data[5, 5, 7] = 1
    check.mean.data[5, 5, 5:8] = 0.5
    assert told(check) == NO_CONTRAST
    whole = check.truth.data
    check.truth.data = np.where(roi.data > 0, np.nan, whole)
    assert told(check) == "'a_T2w' has no finite value inside the ROI."
    check.truth.data = whole
    roi.translate = np.add(roi.translate, (0, 500, 0))
    assert told(check) == "The ROI does not overlap 'a_T1w_T2_mean'."
    check.viewer.layers.remove(roi)
    shapes = check.viewer.add_shapes(ndim=3, name="outline", **check.placement)
    assert told(check) == "The ROI 'outline' marks 0 voxels of the prediction; it needs at least 3."
    shapes.add_rectangles(np.array([[40, 2, 2], [40, 2, 6], [40, 8, 6], [40, 8, 2]]))
    assert told(check) == "The ROI does not overlap 'a_T1w_T2_mean'."
    shapes.add_polygons(np.array([[2.0, 2, 2], [6, 2, 6], [9, 8, 2]]))
    assert told(check).startswith("A shape of 'outline' lies across the slices of 'a_T1w_T2_mean'")
    check.viewer.layers.remove(shapes)
    check.viewer.add_shapes(ndim=2, name="flat")
    assert told(check) == "'flat' is 2-D; mark the ROI in a 3-D layer made on 'a_T1w_T2_mean'."
    check.viewer.layers.remove("a_T2w")
    check.viewer.add_image(np.zeros((4, 12, 20, 16)), name="b_T2w")
    roi = check.labels()
    check.dock.roi.choose(roi)
    roi.data[5:8, 5:8, 5:8] = 1
    assert told(check) == "'b_T2w' is 4-D; expected one 3-D volume."


def test_reference_on_another_grid(check: Check) -> None:
    """Related by the NIfTI affines, which here are not what the screen shows."""
    like = np.diag([2.0, 1.0, 1.5, 1.0])
    other = np.array([[1.0, 0, 0, 1], [0, -1, 0, 25], [0, 0, 1, -2], [0, 0, 0, 1]])

    def plane(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)])
        return np.tensordot(np.array([3.0, -2, 5, 900]) @ affine, index, 1).astype(np.float32)

    check.mean.metadata["affine"] = like
    reference = check.viewer.add_image(plane(other, (26, 30, 30)), name="c_T2w", metadata={"affine": other})
    check.dock.reference.choose(reference)
    roi = check.labels()
    roi.data[3:9, 4:12, 5:12] = 1
    check.press()
    assert check.dock.report.r == pytest.approx(check.r(roi.data > 0, plane(like, SHAPE)), abs=1e-6)
    assert check.dock.message.text() == "'c_T2w' lies on another grid than 'a_T1w_T2_mean'; it was resampled."
    reference.metadata["affine"] = other + np.array([[0, 0, 0, 500], *np.zeros((3, 4))])
    assert told(check) == "The ROI does not overlap 'c_T2w'."


def test_deleted_layers_leave_a_hint(check: Check) -> None:
    dock = check.dock
    assert dock.message.text() == "Add a Labels or Shapes layer and mark the lesion in it."
    roi = check.labels()
    assert dock.message.text() == "Mark the lesion in the ROI layer, or press Measure."
    roi.brush_size = 5
    click(check, roi, (5, 9, 7))
    check.viewer.layers.remove(roi)
    check.qtbot.wait(400)
    assert (dock.report, dock.message.text()) == (None, "Add a Labels or Shapes layer and mark the lesion in it.")
    check.viewer.layers.clear()
    assert told(check).startswith("Transform an image first")


def test_without_a_reference_contrast_and_spread_are_told(check: Check) -> None:
    check.qtbot.keyClick(check.dock.reference, Qt.Key.Key_Home)
    assert check.dock.reference.layer is None
    check.part(check.mean.data / 9, "std")
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.press()
    report = check.dock.report
    assert (report.r, report.p, report.components[0].r) == (None, None, None)
    assert list(report.contrast) == ["source", "prediction"]
    assert report.std_ring is not None
    assert check.dock.headline.text() == "27 voxels of 1 lesion, no reference"
    assert check.dock.details.text().startswith("Contrast to noise: source ")
    assert not check.dock.plot.isVisible()
    check.viewer.add_image(check.truth.data, name="b_T2w", **check.placement)
    assert check.dock.reference.layer is None
    check.dock.reference.choose(check.truth)
    check.press()
    assert check.dock.report.r == pytest.approx(check.r(roi.data > 0), abs=1e-6)
    assert check.dock.plot.isVisible()


def test_a_mask_file_becomes_the_roi(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's grid: axes in another order, one flipped, and twice as fine along one."""

    def open_file(path: Path) -> None:
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
        check.qtbot.mouseClick(check.dock.open_file, Qt.MouseButton.LeftButton)

    affine = np.array([[2.0, 0, 0, 5], [0, 1, 0, -3], [0, 0, 1.5, 7], [0, 0, 0, 1]])
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:7, 4:9, 3:8] = 1
    turned = nib.Nifti1Image(mask, affine).as_reoriented(np.array([[2, 1], [0, -1], [1, 1]]))
    fine = nib.Nifti1Image(
        np.repeat(mask, 2, axis=1), affine @ nib.affines.from_matvec(np.diag([1, 0.5, 1]), [0, -0.25, 0])
    )
    away = nib.Nifti1Image(mask, nib.affines.from_matvec(affine[:3, :3], [500, 500, 500]))
    for name, image in (("turned", turned), ("fine", fine), ("away", away)):
        nib.save(image, tmp_path / f"{name}.nii.gz")
    open_file(tmp_path / "turned.nii.gz")
    assert check.dock.message.text().startswith("'a_T1w_T2_mean' has no NIfTI affine")
    check.mean.metadata["affine"] = check.truth.metadata["affine"] = affine
    for name, note in (
        ("turned", ""),
        ("fine", "'fine.nii.gz' lies on another grid than 'a_T1w_T2_mean'; it was resampled to the nearest voxel."),
    ):
        open_file(tmp_path / f"{name}.nii.gz")
        assert check.dock.roi.layer.name == name
        assert check.dock.report.r == pytest.approx(check.r(mask > 0), abs=1e-6)
        assert check.dock.message.text() == note
        np.testing.assert_array_equal(roi_on(check.dock.roi.layer, check.mean), mask > 0)
    open_file(tmp_path / "away.nii.gz")
    assert check.dock.message.text() == "The ROI 'away.nii.gz' does not overlap 'a_T1w_T2_mean'."
    open_file(tmp_path / "gone.nii.gz")
    assert "gone.nii.gz" in check.dock.message.text()


def test_another_persons_reference_is_refused(check: Check) -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, 48)] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    noise = np.random.default_rng(0).uniform(0.5, 1, radius.shape).astype(np.float32)
    mean = check.viewer.add_image(noise * (radius < 1), name="c_T1w_T2_mean", metadata=record("mean", run="c"))
    roi = check.viewer.add_labels((radius < 0.2).astype(int), name="big")
    check.dock.prediction.choose(mean)
    check.dock.roi.choose(roi)
    for name, size, refused in (("small_T2w", 0.7, True), ("same_T2w", 0.98, False)):
        layer = check.viewer.add_image(noise * (radius < size), name=name)
        check.dock.reference.choose(layer)
        check.press()
        assert (check.dock.report is None) == refused
        assert check.dock.message.text().startswith("'small_T2w' is not the head of 'c_T1w_T2_mean':") == refused


def test_a_whole_head_may_be_the_reference_of_a_brain(check: Check) -> None:
    """Though its air is exactly 0."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, 48)] * 3, indexing="ij"))
    radius, scale = np.sqrt((grid**2).sum(axis=0)), (4.5, 4.5, 4.5)
    noise = np.random.default_rng(0).uniform(0.5, 1, radius.shape).astype(np.float32)
    mean = check.viewer.add_image(
        noise * (radius < 0.7), name="c_T1w_T2_mean", scale=scale, metadata=record("mean", run="c")
    )
    whole = check.viewer.add_image(noise * (radius < 1), name="c_T2w", scale=scale)
    check.dock.prediction.choose(mean)
    check.dock.roi.choose(check.viewer.add_labels((radius < 0.2).astype(int), name="big", scale=scale))
    check.dock.reference.choose(whole)
    check.press()
    assert check.dock.report is not None, check.dock.message.text()


def test_a_preview_is_not_computed_yet(check: Check) -> None:
    std = np.full(SHAPE, 0.1, np.float32)
    std[4:] = np.nan
    check.part(std, "std")
    roi = check.labels()
    roi.data[2:7, 3:12, 4:12] = 1
    check.press()
    assert check.dock.message.text() == "216 of 360 voxels were not computed; they are left out."
    roi.data[:4] = 0
    check.press()
    assert check.dock.message.text() == "Nothing was computed where the ROI is. Transform those slices first."


@pytest.mark.parametrize("corrected_first", [True, False])
def test_of_both_spreads_the_corrected_one_counts(check: Check, corrected_first: bool) -> None:
    kinds = ["calibrated", "population"]
    for std in kinds if corrected_first else kinds[::-1]:
        told = {"mrtrans": {**record("std")["mrtrans"], "std": std}}
        value = np.full(SHAPE, 0.5 if std == "calibrated" else 0.1, np.float32)
        add_part(check.viewer.add_image(value, name=std, metadata=told, **check.placement))
    roi = check.labels()
    roi.data[2:7, 3:12, 4:12] = 1
    check.press()
    assert check.dock.report.std_inside == pytest.approx(0.5)
    assert check.dock.report.std_corrected and "Mean corrected std: 0.5000 inside" in check.dock.details.text()


def test_what_was_measured_while_slices_came_is_measured_again_at_the_end(check: Check) -> None:
    whole = check.mean.data.copy()
    check.mean.data[4:] = np.nan
    roi = check.labels()
    roi.data[2:7, 3:12, 4:12] = 1
    check.press()
    assert check.dock.report.n_voxels == 144
    check.mean.data[:] = whole
    ended(check.mean)
    assert check.dock.report.n_voxels == 360 == latest(check.mean).report.n_voxels
    assert check.dock.message.text() == ""
    # Where nobody shows it any more, it counts no longer.
    check.dock.prediction.choose(check.viewer.layers["a_T1w"])
    ended(check.mean)
    assert latest(check.mean) is None


@pytest.mark.parametrize("kind", ["std", "samples"])
def test_what_napari_makes_of_a_part_of_a_result_is_none(check: Check, kind: str) -> None:
    """Copies and projections say of themselves what the layer said that they were made of."""
    add_part(check.mean)
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    if kind == "std":
        part = check.part(np.full(SHAPE, 0.25, np.float32), kind)
    else:
        noise = np.random.default_rng(1).normal(0, 0.02, (3, *SHAPE)).astype(np.float32)
        placed = {"scale": (1, *check.placement["scale"]), "translate": (0, *check.placement["translate"])}
        part = check.part(check.mean.data + noise, kind, **placed)
    layers = check.viewer.layers
    for make in (_duplicate_layer, _project):
        layers.selection = {part}
        make(layers)
        (made,) = {*layers} - {part, roi, check.mean, check.truth, layers["a_T1w"]}
        assert made.metadata["mrtrans"] == part.metadata["mrtrans"]
        made.data = np.asarray(made.data) + 7
        layers.move(layers.index(made), 0)
        check.press()
        report = check.dock.report
        assert report.std_inside == (0.25 if kind == "std" else None)
        assert len(report.sample_r) == (3 if kind == "samples" else 0)
        layers.remove(made)


def test_a_moved_image_is_measured_anew(check: Check) -> None:
    roi = check.labels()
    roi.data[3:7, 3:9, 4:10] = 1
    mask = roi.data > 0
    check.truth.translate = np.add(check.truth.translate, (0, 1, 0))
    check.qtbot.wait(400)
    assert check.dock.report is None  # nobody has measured yet
    check.truth.translate = check.mean.translate
    check.press()
    first = check.dock.report.r
    assert first == pytest.approx(check.r(mask), abs=1e-6)
    check.truth.translate = np.add(check.truth.translate, (0, 1, 0))
    check.until(lambda: check.dock.report.r != first)
    assert check.dock.report.r == pytest.approx(check.r(mask, np.roll(check.truth.data, 1, axis=1)), abs=1e-6)
    check.truth.translate = check.mean.translate
    check.until(lambda: check.dock.report.r == pytest.approx(first))
    check.truth.data = check.truth.data[::-1].copy()
    check.until(lambda: check.dock.report.r == pytest.approx(check.r(mask), abs=1e-6))
    check.mean.scale = np.multiply(check.mean.scale, (1, 2, 1))  # away from its ROI
    check.until(lambda: check.dock.report is None or check.dock.report.n_voxels != mask.sum())
    check.mean.scale = check.truth.scale
    check.press()
    check.dock.reference.choose(check.viewer.layers["a_T1w"])
    check.press()
    told = check.dock.report
    check.truth.translate = (0, 0, 0)  # which is no reference any more
    check.qtbot.wait(400)
    assert check.dock.report is told


def test_what_is_made_anew_is_not_what_was_measured(check: Check) -> None:
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.press()
    forget(check.truth)
    assert check.dock.report is not None
    forget(check.mean)
    assert check.dock.report is None and latest(check.mean) is None
    assert not check.dock._results.isVisible()
    assert check.dock.message.text() == "'a_T1w_T2_mean' is made anew with other settings. Press Measure again."


def test_the_reference_of_the_same_contrast_is_suggested(check: Check) -> None:
    assert check.dock.reference.layer is check.truth
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.press()
    assert check.dock.message.text() == ""
    check.dock.reference.choose(check.viewer.layers["a_T1w"])
    assert check.dock.report is None
    check.press()
    assert check.dock.message.text() == "'a_T1w' seems to be T1; the prediction is T2."
    assert check.dock.report.r < 0


def test_of_a_prediction_that_may_be_anything_no_other_contrast_is_told(check: Check) -> None:
    """Its name tells none: it was said to be None."""
    check.viewer.add_image(check.mean.data, name="mine", **check.placement)
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.dock.prediction.choose(check.viewer.layers["mine"])
    check.dock.reference.choose(check.truth)
    check.press()
    assert check.dock.report.r > 0 and check.dock.message.text() == ""


def test_another_name_of_a_layer_leaves_the_figures(check: Check) -> None:
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.press()
    report = check.dock.report
    for layer in (roi, check.mean, check.truth):
        layer.name = f"{layer.name} of mine"
        assert check.dock.report is report is not None and check.dock._results.isVisible()


def test_a_choice_by_hand_ends_with_its_layer(check: Check) -> None:
    """The next mean is chosen by itself again, and the next image of the contrast as reference."""
    combo = check.dock.prediction
    combo.choose(check.viewer.layers["a_T1w"])
    combo.activated.emit(combo.currentIndex())
    check.viewer.layers.remove("a_T1w")
    assert combo.layer is check.mean
    combo.setCurrentIndex(0)
    combo.activated.emit(0)
    check.viewer.layers.remove(check.truth)
    assert combo.layer is None  # as was chosen


def test_notes_of_a_mask_go_with_it(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check.mean.metadata["affine"] = np.eye(4)
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "mask.nii.gz"), ""))
    check.qtbot.mouseClick(check.dock.open_file, Qt.MouseButton.LeftButton)
    assert len(check.dock._told) == 1
    check.viewer.layers.remove(check.dock.roi.layer)
    check.until(lambda: gc.collect() >= 0 and not check.dock._told)


@anywhere
def test_points_and_rows_lead_to_their_voxels(check: Check) -> None:
    roi = check.labels()
    roi.data[2, 4:9, 3:8] = 1
    roi.data[9, 12:15, 10:13] = 1
    check.press()
    dock, report = check.dock, check.dock.report
    check.qtbot.wait(50)
    assert dock.plot.count == 34
    assert dock.table.rowCount() == 3
    assert dock.table.item(1, 1).text() == "25"
    index = int(np.argmax(report.voxels[:, 0]))
    with check.qtbot.waitSignal(dock.plot.point_clicked) as caught:
        check.qtbot.mouseClick(dock.plot, Qt.MouseButton.LeftButton, pos=dock.plot.place_of(index).toPoint())
    voxel = report.voxels[caught.args[0]]
    away = dock.plot.place_of(caught.args[0]) - dock.plot.place_of(index)
    assert away.manhattanLength() < 2
    assert check.mean.world_to_data(check.viewer.dims.point)[0] == pytest.approx(voxel[0])
    centre = check.viewer.scene.camera.center[-2:]
    assert centre == pytest.approx(check.mean.data_to_world(voxel)[1:])
    check.qtbot.wait(400)  # the sliders moved, the ROI did not: what was clicked stays marked
    assert (dock.report, dock.plot.picked) == (report, caught.args[0])
    dock.table.cellClicked.emit(2, 0)
    assert check.mean.world_to_data(check.viewer.dims.point)[0] == pytest.approx(9)
    dock.table.cellClicked.emit(1, 0)
    assert check.mean.world_to_data(check.viewer.dims.point)[0] == pytest.approx(2)


def test_keys_choose_a_lesion_and_measuring_anew_none(check: Check) -> None:
    def seen() -> float:
        return float(check.mean.world_to_data(check.viewer.dims.point)[0])

    roi = check.labels()
    roi.data[2, 4:9, 3:8] = 1
    roi.data[9, 12:15, 10:13] = 1
    check.press()
    table = check.dock.table
    table.setCurrentCell(0, 0)
    for slice_number in (2, 9):
        check.qtbot.keyClick(table, Qt.Key.Key_Down)
        assert seen() == pytest.approx(slice_number)
    roi.data[9] = 0
    check.press()
    assert table.rowCount() == 2 and seen() == pytest.approx(9)


def test_csv_is_copied_and_saved(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.press()
    expected = check.dock.report.csv()
    check.qtbot.mouseClick(check.dock.copy, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == expected
    errors: list[str] = []
    monkeypatch.setattr("napari_mrtrans.widgets.csv_buttons.show_error", errors.append)
    (tmp_path / "file").touch()
    for chosen in (tmp_path / "a.csv", "", tmp_path / "file" / "a.csv"):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, chosen=chosen: (str(chosen), ""))
        check.qtbot.mouseClick(check.dock.save, Qt.MouseButton.LeftButton)
    assert (tmp_path / "a.csv").read_text() == expected
    assert len(errors) == 1
    assert errors[0].endswith("Choose another folder.")


@pytest.mark.parametrize("turn", ["RAS", "LPS", "ILA"])
def test_centres_in_the_csv_are_voxels_of_the_file(tmp_path: Path, turn: str) -> None:
    """The same as of the command line; the dock's own lead to voxels of the layer, which the reader turns round."""
    data, mask = np.random.default_rng(0).normal(1, 0.1, SHAPE).astype("f4"), np.zeros(SHAPE, np.uint8)
    mask[2:4, 5:9, 3:5] = mask[8:11, 12:14, 10:15] = 1
    to_turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(turn))
    paths = [tmp_path / "a_T2w.nii.gz", tmp_path / "mask.nii.gz"]
    for array, path in zip((data, mask), paths, strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1])).as_reoriented(to_turn), path)
    image, roi = opened(paths[0]), opened(paths[1], Labels)
    viewer = ViewerModel()
    viewer.layers.extend([image, roi])
    report, _ = measured(viewer, image, None, roi)
    wanted = measure_files(paths[0], None, paths[1])
    found = in_file(report, image)
    assert [row["centre"] for row in found.rows()] == [row["centre"] for row in wanted.rows()]
    assert found.csv() == wanted.csv() != report.csv()
    assert {*map(tuple, found.voxels)} == {*map(tuple, wanted.voxels)}


@pytest.mark.parametrize("turn", ["RAS", "ILA"])
def test_what_is_moved_by_hand_is_told_not_to_count(tmp_path: Path, turn: str) -> None:
    """Where there are affines, the window's placement counts for nothing; of the reader's own, nothing is said."""
    data, mask = np.random.default_rng(0).normal(1, 0.1, SHAPE).astype("f4"), np.zeros(SHAPE, np.uint8)
    mask[2:6, 5:9, 3:7] = 1
    affine = nib.affines.from_matvec(ROTATION @ np.diag([2, 1.5, 1]), [-20, 5, 30])
    viewer, layers = ViewerModel(), []
    for name, array in (("a_T1w", data), ("b_T2w", data + 1), ("roi", mask)):
        image = nib.Nifti1Image(array, affine)
        axes = nib.orientations.axcodes2ornt(turn)
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), axes))
        nib.save(turned, tmp_path / f"{name}.nii.gz")
        layers.append(opened(tmp_path / f"{name}.nii.gz", Labels if name == "roi" else Image))
    viewer.layers.extend(layers)
    image, reference, roi = layers
    before, notes = measured(viewer, image, reference, roi)
    assert notes == []
    line = "'{}' was moved or scaled in the window, which does not count: it lies where its file says."
    for layer, change in (
        (roi, {"translate": np.add(roi.translate, (0, 0, 9))}),
        (reference, {"scale": np.multiply(reference.scale, (2, 1, 1))}),
        (reference, {"rotate": ROTATION}),
    ):
        old = {key: getattr(layer, key) for key in change}
        for key, value in change.items():
            setattr(layer, key, value)
        report, notes = measured(viewer, image, reference, roi)
        assert notes == [line.format(layer.name)] and report == before
        for key, value in old.items():
            setattr(layer, key, value)
    # A region that lies on the image in the window counts there, also where both were moved.
    image.translate = roi.translate = np.add(image.translate, (0, 0, 9))
    report, notes = measured(viewer, image, None, roi)
    assert notes == [] and report.voxels.tolist() == before.voxels.tolist()


def test_a_region_goes_by_the_scanner_where_it_tells_on_which_image_it_is() -> None:
    """The reader mirrors each file about its own middle: fields of view lie apart twice as far in napari's world."""
    here, there = np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1])
    there[0, 3] = 10
    like = Image(np.zeros((20, 20, 20)), scale=(2, 2, 2), metadata={"affine": here})
    other = {"scale": (2, 2, 2), "translate": (-10, 0, 0)}
    beside = Image(np.zeros((20, 20, 20)), metadata={"affine": there}, **other)
    data = np.zeros((20, 20, 20), np.uint8)
    data[3, 4, 5] = 1
    opened, painted = Labels(data, metadata={"affine": there}, **other), Labels(data, **other)
    drawn = Shapes([np.array([[3, 2, 2], [3, 2, 6], [3, 6, 6], [3, 6, 2]])], shape_type="polygon", **other)
    for mask in (roi_on(opened, like), roi_on(painted, like, [like, beside])):
        assert np.argwhere(mask).tolist() == [[8, 4, 5]]
    assert {*np.argwhere(roi_on(drawn, like, [like, beside]))[:, 0]} == {8}
    # Without that image, or on one that does not say where it lies, only the world is left.
    plain = Image(np.zeros((20, 20, 20)), scale=(2, 2, 2))
    for region, image in ((painted, like), (opened, plain)):
        region.translate = (4, 0, 0)
        assert np.argwhere(roi_on(region, image)).tolist() == [[5, 4, 5]]


def test_one_answer_has_no_spread(check: Check) -> None:
    """A file of it is 0 throughout."""
    check.part(np.zeros(SHAPE, np.float32), "std")
    roi = check.labels()
    roi.data[5:8, 5:8, 5:8] = 1
    check.press()
    assert (check.dock.report.std_inside, check.dock.report.std_ring) == (None, None)
    assert "std" not in check.dock.details.text()


def test_a_region_only_that_was_opened_again_is_of_that_region(check: Check) -> None:
    """In its file the rest is 0."""
    asked = np.zeros(SHAPE, bool)
    asked[2:7, 4:12] = True
    check.mean.data[~asked] = 0
    check.mean.metadata["mrtrans"] |= {"roi_only": True, "reopened": True}
    roi = check.labels()
    roi.data[2:7, 3:12, 4:12] = 1
    check.press()
    assert check.dock.report.n_voxels == ((roi.data > 0) & asked).sum() == 320
    assert check.dock.report.n_blank == 0
    assert check.dock.message.text() == "40 of 360 voxels were not computed; they are left out."


def test_of_several_layers_of_one_folder_the_very_source_counts(check: Check) -> None:
    """While it is open: afterwards, its folder opened again, if it has its name."""
    layers = check.viewer.layers
    source, other = layers["a_T1w"], check.viewer.add_image(check.truth.data * 3, name="b_T1w", **check.placement)
    layers.move(layers.index(other), 0)
    for layer in (source, other):
        layer._source = Source(path="/data/study")
    remember_source("of a folder", source)
    check.mean.metadata["mrtrans"]["run"] = "of a folder"
    assert [_source_of(check.viewer, check.mean)] == [source]
    source.name = "renamed"
    assert _source_of(check.viewer, check.mean) is source
    layers.remove(source)
    assert _source_of(check.viewer, check.mean) is None
    again = check.viewer.add_image(source.data, name="a_T1w", **check.placement)
    again._source = Source(path="/data/study")
    assert _source_of(check.viewer, check.mean) is again


def test_scrolling_measures_nothing(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """napari tells of another slice as of an edit."""
    measured: list[str] = []
    told = dock.measured
    monkeypatch.setattr(dock, "measured", lambda *of: measured.append(of[-1].name) or told(*of))
    mask = np.zeros(SHAPE, int)
    mask[3:9, 3:12, 4:12] = 1
    roi = check.viewer.add_labels(mask, name="brain", **check.placement)
    for step in (3, 4):
        check.viewer.dims.set_current_step(0, step)
        check.qtbot.wait(PAUSE_MS + 150)
    assert measured == [] and check.dock.report is None
    check.press()
    for step in (5, 6):
        check.viewer.dims.set_current_step(0, step)
        check.qtbot.wait(PAUSE_MS + 150)
    assert measured == ["brain"]
    # The prediction went on being filled meanwhile.
    check.mean.data[5] = np.nan
    check.viewer.dims.set_current_step(0, 7)
    check.until(lambda: len(measured) == 2)
    roi.data = np.roll(mask, 1, axis=1)
    check.until(lambda: len(measured) == 3)
