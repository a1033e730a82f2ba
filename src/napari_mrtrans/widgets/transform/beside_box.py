"""The box that shows a result's standard deviation next to its source and mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QWidget

from ..grid import Grid

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .saved_run import Result


class BesideBox(QCheckBox):
    """While it is ticked, napari's grid is on and the std of the result that is shown is visible; then as before.

    Args:
        viewer: Whose grid.
        parent: The widget around it.
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__("Source, mean and std side by side", parent)
        self._grid = Grid(viewer)
        self._run: Result | None = None
        self._seen = False
        self.toggled.connect(self._on_toggled)

    def show_run(self, run: Result | None) -> None:
        """It is about this run from now on, whose std may be yet to come."""
        if run is self._run:
            return
        if self.isChecked():
            self._cover()
        self._run = run
        if self.isChecked():
            self._uncover()

    def _on_toggled(self, on: bool) -> None:
        if on:
            self._uncover()
            self._grid.enter()
        else:
            self._cover()
            self._grid.leave()

    def _uncover(self) -> None:
        if self._run is not None:
            std = self._run.layers.std
            self._seen = std is not None and std.visible
            self._run.layers.show_std(True)

    def _cover(self) -> None:
        if self._run is not None:
            self._run.layers.show_std(self._seen)
