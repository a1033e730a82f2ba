"""An acquired image of the target contrast beside a result: error map, SSIM and PSNR."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.qt.threading import thread_worker
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...errors import MrtransError
from ...wording import plural
from ..compare.layers import ERROR_LIMIT
from ..compare.reference_combo import ReferenceCombo
from ..compare.worker import ReferenceRequest
from ..lesion.roi import image_to_image, moved_by_hand
from ..placement import beside
from ..source import RESULT_KEY, LayerSource, check_layer, nifti_affine

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .saved_run import Result

logger = logging.getLogger(__name__)

_KIND = "error"
_IDLE = "Error map"


def reference_request(run: Result, reference: Image) -> ReferenceRequest:
    """What a worker needs of an acquired image to compare a run with it.

    Raises:
        MrtransError: it is not one 3-D scalar image.
    """
    check_layer(reference)
    return ReferenceRequest(LayerSource.of(reference, run.pair.target), image_to_image(run.anchor, reference))


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
        self.reference.setToolTip("An acquired image of the target's contrast: the report compares with it, too.")
        self.button = QPushButton(_IDLE)
        self.button.setToolTip("Add |mean - acquired| as a layer, and tell SSIM and PSNR over the computed slices.")
        self.figures = QLabel()
        self.figures.setWordWrap(True)
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
        viewer.layers.events.inserted.connect(self._suggest, position="last")
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
        worker = thread_worker(_compared)(run, request, run.layers.mean.data)
        placed = nifti_affine(run.source) is not None and nifti_affine(reference) is not None
        notes = moved_by_hand(run.source, reference) if placed else []
        worker.returned.connect(partial(self._on_compared, notes))
        worker.start()

    def _on_compared(self, notes: list[str], outcome: tuple[Result, NDArray[np.float32] | None, str]) -> None:
        if not isalive(self):
            return
        run, error, said = outcome
        self._working = False
        if error is None:
            self.failed.emit(said)
        else:
            self._add(run, error)
            if run is self._run:
                self.figures.setText("\n".join([said, *notes]))
        self.refresh()

    def _add(self, run: Result, error: NDArray[np.float32]) -> None:
        mean = run.layers.mean
        if mean is None or mean not in self._viewer.layers:
            return
        for layer in list(run.layers.alive()):
            if layer.metadata[RESULT_KEY].get("kind") == _KIND:
                self._viewer.layers.remove(layer)
        layer = Image(error, rgb=False, colormap="inferno", contrast_limits=(0, ERROR_LIMIT), **beside(mean, _KIND))
        layer.editable = False
        run.layers.adopt(_KIND, layer)


def _compared(
    run: Result, request: ReferenceRequest, mean: NDArray[np.float32]
) -> tuple[Result, NDArray[np.float32] | None, str]:
    """The error map and the figures, or None and why there is none."""
    try:
        acquired = run.compared(request)
        ssim, psnr, slices = acquired.agreement(mean, run.axis, run.gathered.finished)
        told = [f"SSIM {ssim:.3f}"] if ssim is not None else []
        told += [f"PSNR {psnr:.2f} dB"] if psnr is not None else []
        said = f"{', '.join(told) or 'Nothing in common'} over {plural(slices, 'slice')}."
        return run, acquired.error(mean), "\n".join([said, *acquired.notices])
    except MrtransError as error:
        return run, None, str(error)
    except Exception as error:
        logger.exception("The comparison failed")
        return run, None, f"The comparison stopped: {type(error).__name__}: {error}"
