"""An acquired image of the target contrast beside a result: error map, SSIM and PSNR."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...errors import MrtransError
from ...wording import plural
from ..background import in_background
from ..compare.layers import ERROR_LIMIT
from ..compare.reference_combo import ReferenceCombo
from ..compare.worker import ReferenceRequest
from ..lesion.roi import moved_by_hand
from ..named_text import NamedText
from ..placement import beside
from ..source import RESULT_KEY, nifti_affine

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .saved_run import Result

_KIND = "error"
_IDLE = "Error map"


def reference_request(run: Result, reference: Image) -> ReferenceRequest:
    """What a worker needs of an acquired image to compare a run with it.

    Raises:
        MrtransError: it is not one 3-D scalar image.
    """
    return ReferenceRequest.of(reference, run.pair.target, run.anchor)


class AcquiredPanel(QWidget):
    """Suggests the acquired image of the target's contrast; shown once there is a result and something acquired.

    Args:
        viewer: Whose layers.
        parent: The widget around it.

    Signals:
        chosen: The acquired image, or None.
        failed: One line on why there is no error map.
    """

    chosen = Signal(object)
    failed = Signal(str)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: Result | None = None
        self._working = False
        self.label = QLabel()
        self.reference = ReferenceCombo(viewer, "None")
        self.label.setBuddy(self.reference)
        self.reference.setToolTip("An acquired image of the target's contrast: the report compares with it, too.")
        self.button = QPushButton(_IDLE)
        self.button.setToolTip("Add |mean - acquired| as a layer, and tell SSIM and PSNR over the computed slices.")
        self.figures = NamedText()
        line = QHBoxLayout()
        line.addWidget(self.label)
        line.addWidget(self.reference, 1)
        line.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line)
        column.addWidget(self.figures)
        self.reference.layer_changed.connect(self._on_reference)
        self.button.clicked.connect(self.compare)
        for event in (viewer.layers.events.inserted, viewer.layers.events.renamed):
            event.connect(self._suggest, position="last")
        self.show_run(None)

    def show_run(self, run: Result | None) -> None:
        """It is about this run from now on."""
        self._run = run
        self.figures.clear()
        self._suggest()
        self.refresh()

    def refresh(self) -> None:
        """Layers may have come or gone."""
        run = self._run
        others = [layer for layer in self.reference.layers if run is None or layer is not run.source]
        self.setVisible(run is not None and bool(run.gathered.finished) and bool(others))
        self.figures.setVisible(bool(self.figures.text()))
        self.button.setText("Comparing…" if self._working else _IDLE)
        reference = self._chosen()
        self.button.setEnabled(reference is not None and not self._working)
        self.chosen.emit(reference)

    def _chosen(self) -> Image | None:
        layer = self.reference.layer
        return None if self._run is None or layer is self._run.source else layer

    def _suggest(self, event: Any = None) -> None:
        if isalive(self) and self._run is not None:
            self.label.setText(f"Acquired {self._run.pair.target}")
            self.reference.suggest(self._run.pair.target, of=self._run.source)

    def _on_reference(self) -> None:
        if isalive(self):
            self.figures.clear()
            if self._run is not None and self._chosen() is not None:
                self._remove_error(self._run)
            self.refresh()

    def compare(self) -> None:
        """Compare the mean with what is chosen, in the background."""
        run, reference = self._run, self._chosen()
        if run is None or reference is None or run.layers.mean is None or self._working:
            return
        try:
            request = reference_request(run, reference)
        except MrtransError as error:
            self.failed.emit(str(error))
            return
        self._working = True
        self.refresh()
        placed = nifti_affine(run.source) is not None and nifti_affine(reference) is not None
        notes = moved_by_hand(run.source, reference) if placed else []
        job = partial(_compared, run, request, run.layers.mean.data)
        in_background(job, partial(self._on_compared, run, reference, notes), "The comparison stopped: ")

    def _on_compared(
        self,
        run: Result,
        reference: Image,
        notes: list[str],
        compared: tuple[NDArray[np.float32], str] | None,
        problem: str,
    ) -> None:
        if not isalive(self):
            return
        self._working = False
        if compared is None:
            self.failed.emit(problem)
        elif run is not self._run or reference is self.reference.layer:  # nobody asks any more where another was chosen
            error, said = compared
            self._add(run, error)
            if run is self._run:
                self.figures.setText("\n".join([said, *notes]))
        self.refresh()

    def _add(self, run: Result, error: NDArray[np.float32]) -> None:
        mean = run.layers.mean
        if mean is None or mean not in self._viewer.layers:
            return
        self._remove_error(run)
        layer = Image(error, rgb=False, colormap="inferno", contrast_limits=(0, ERROR_LIMIT), **beside(mean, _KIND))
        layer.editable = False
        run.layers.adopt(_KIND, layer)

    def _remove_error(self, run: Result) -> None:
        """It is of another reference."""
        for layer in list(run.layers.alive()):
            if layer.metadata[RESULT_KEY].get("kind") == _KIND:
                self._viewer.layers.remove(layer)


def _compared(run: Result, request: ReferenceRequest, mean: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    """The error map and the figures."""
    acquired = run.compared(request)
    ssim, psnr, slices = acquired.agreement(mean, run.axis, run.gathered.finished)
    told = [f"SSIM {ssim:.3f}"] if ssim is not None else []
    told += [f"PSNR {psnr:.2f} dB"] if psnr is not None else []
    said = f"{', '.join(told) or 'Nothing in common'} over {plural(slices, 'slice')}."
    return acquired.error(mean), "\n".join([said, *acquired.notices])
