"""A person at the lesion check: napari's own brush and polygon tool, moved with the mouse over the canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget
from skimage.draw import polygon2mask

from .test_dock import PLACEMENTS, SHAPE, Check, check  # noqa: F401 (a fixture)

SLICE = 5
placed = pytest.mark.parametrize("check", ["flipped", "scaled", "rotated"], indirect=True)
LEFT = Qt.MouseButton.LeftButton


class Mouse:
    """Moves over the canvas of a viewer by voxels of the prediction."""

    def __init__(self, check: Check) -> None:  # noqa: F811
        self._check = check
        self._viewer = check.viewer
        self._viewer.dims.set_point(0, check.mean.data_to_world((SLICE, 0, 0))[0])
        self._viewer.reset_view()
        check.qtbot.wait(200)
        self._canvas = self._viewer.window._qt_viewer.canvas

    @property
    def _widget(self) -> QWidget:
        return self._canvas.native

    def at(self, row: float, column: float) -> QPoint:
        """The pixel of a place in the slice, from three pixels whose places napari tells."""
        corners = np.array([[0, 0], [100, 0], [0, 100]])
        worlds = np.array([self._canvas._map_canvas2world(tuple(c), self._canvas.view)[-2:] for c in corners])
        step = (worlds[1:] - worlds[0]).T / 100
        world = np.asarray(self._check.mean.data_to_world((SLICE, row, column)))[-2:]
        x, y = np.linalg.solve(step, world - worlds[0])
        assert self._widget.rect().contains(QPoint(round(x), round(y)))
        return QPoint(round(x), round(y))

    def click(self, row: float, column: float) -> None:
        pixel = self.at(row, column)
        for place in (pixel + QPoint(3, 3), pixel):  # on its way; the corner that is drawn next follows the mouse
            self._check.qtbot.mouseMove(self._widget, place)
            self._check.qtbot.wait(50)
        self._check.qtbot.mouseClick(self._widget, LEFT, pos=pixel)
        self._check.qtbot.wait(400)  # two clicks in a row would be a double click

    def drag(self, places: Sequence[tuple[float, float]]) -> None:
        first, *rest = (self.at(*place) for place in places)
        self._check.qtbot.mouseMove(self._widget, first)
        self._check.qtbot.mousePress(self._widget, LEFT, pos=first)
        for place in rest:
            self._check.qtbot.mouseMove(self._widget, place)
            self._check.qtbot.wait(20)
        self._check.qtbot.mouseRelease(self._widget, LEFT, pos=place)

    def finish(self) -> None:
        """Escape ends the drawing of a shape."""
        self._widget.setFocus()
        self._check.qtbot.keyClick(self._widget, Qt.Key.Key_Escape)


@placed
def test_a_brush_stroke_is_measured_and_the_next_one_again(check: Check) -> None:  # noqa: F811
    mouse = Mouse(check)
    roi = check.labels()
    roi.mode, roi.brush_size = "paint", 3
    mouse.drag([(6, 5), (9, 5), (12, 9)])
    first = roi.data > 0
    assert first[SLICE, 6, 5] and first[SLICE, 9, 5] and first[SLICE, 12, 9]
    assert first.sum() == first[SLICE].sum() > 20
    check.until(lambda: check.dock.report is not None)
    assert check.dock.report.n_voxels == first.sum()
    assert check.dock.report.r == pytest.approx(check.r(first), abs=1e-6)
    mouse.drag([(15, 11), (15, 12)])
    both = roi.data > 0
    assert both.sum() > first.sum()
    check.until(lambda: check.dock.report.n_voxels == both.sum())
    assert check.dock.report.r == pytest.approx(check.r(both), abs=1e-6)
    roi.mode = "erase"
    mouse.drag([(6, 5), (7, 5)])
    check.until(lambda: check.dock.report.n_voxels == (roi.data > 0).sum())
    assert not roi.data[SLICE, 6, 5]
    assert check.dock.report.r == pytest.approx(check.r(roi.data > 0), abs=1e-6)


@placed
def test_a_polygon_is_measured_and_again_once_a_corner_is_moved(check: Check) -> None:  # noqa: F811
    mouse = Mouse(check)
    roi = check.viewer.add_shapes(ndim=3, name="outline", **check.placement)
    roi.mode = "add_polygon"
    for corner in ((4, 3), (13, 4), (15, 11), (6, 13)):
        mouse.click(*corner)
    mouse.finish()
    assert len(roi.data) == 1

    def drawn() -> np.ndarray:
        """NumPy's mask of the corners as they lie on the prediction's voxels."""
        corners = np.array([check.mean.world_to_data(roi.data_to_world(vertex)) for vertex in roi.data[0]])
        assert np.allclose(corners[:, 0], SLICE)
        mask = np.zeros(SHAPE, bool)
        mask[SLICE] = polygon2mask(SHAPE[1:], np.round(corners[:, 1:], 3))
        return mask

    first = drawn()
    corners = np.array([check.mean.world_to_data(roi.data_to_world(vertex))[1:] for vertex in roi.data[0]])
    np.testing.assert_allclose(corners[:4], [(4, 3), (13, 4), (15, 11), (6, 13)], atol=0.2)
    check.until(lambda: check.dock.report is not None)
    assert check.dock.report.n_voxels == first.sum() > 50
    assert check.dock.report.r == pytest.approx(check.r(first), abs=1e-6)
    roi.mode, roi.selected_data = "direct", {0}
    mouse.drag([(15, 11), (12, 9), (10, 8)])
    second = drawn()
    assert second.sum() < first.sum()
    check.until(lambda: check.dock.report.n_voxels == second.sum())
    assert check.dock.report.r == pytest.approx(check.r(second), abs=1e-6)


def test_placements_are_what_they_are_called() -> None:
    assert min(PLACEMENTS["flipped"]["scale"]) < 0
    assert len({abs(size) for size in PLACEMENTS["scaled"]["scale"]}) == 3
    assert not np.allclose(PLACEMENTS["rotated"]["rotate"], np.eye(3))
