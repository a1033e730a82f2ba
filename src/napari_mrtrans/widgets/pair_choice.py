"""Image, source contrast and target contrast: three combo boxes that always fit each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout

from ..checkpoints.library import no_checkpoint_line
from ..errors import CheckpointError, VolumeError
from ..scan.contrasts import Contrast, Pair
from . import choices
from .contrast_look import look_later
from .frame_row import frame_axis
from .layer_combo import LayerCombo
from .source import check_layer, guess_layer_contrast, nifti_affine

if TYPE_CHECKING:
    from napari.components import ViewerModel


class PairChoice(QObject):
    """What to transform into what; the source contrast follows the image, the targets follow the source.

    Attributes:
        usual_target: What to choose for a source contrast, if it can be; else the first.

    Signals:
        changed: Another image, or another pair, or what is installed was looked up again.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.image = LayerCombo(viewer)
        self.source = QComboBox()
        self._show_looks(None)
        self.source.addItems([contrast.value for contrast in Contrast])
        self.source.setToolTip("Guessed from the layer or file name. Correct it if it is wrong.")
        self.target = QComboBox()
        self.target.setToolTip("Only what an installed checkpoint can make from this contrast.")
        self.usual_target: Callable[[str], str] = lambda source: ""
        self._guessed_for: Image | None = None
        self._said: WeakKeyDictionary[Image, Contrast] = WeakKeyDictionary()
        self.image.layer_changed.connect(self._on_image)
        self.image.renamed.connect(self._on_renamed)
        self.source.currentIndexChanged.connect(self._on_said)
        self.target.currentIndexChanged.connect(self.changed)

    def add_rows(self, rows: QFormLayout) -> None:
        """Put the three combo boxes into a form."""
        rows.addRow("Image", self.image)
        rows.addRow("Contrast", self.source)
        rows.addRow("Target", self.target)

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        return self.image.layer

    @property
    def pair(self) -> Pair | None:
        """Source and target contrast, once both are chosen."""
        source, target = self.source.currentText(), self.target.currentText()
        return Pair(Contrast(source), Contrast(target)) if source and target else None

    def choose(self, source: Contrast, target: Contrast) -> None:
        """Choose a pair.

        Raises:
            CheckpointError: no installed checkpoint serves it.
        """
        self.source.setCurrentText(source.value)
        if self.target.findText(target.value) < 0:
            raise CheckpointError(no_checkpoint_line(Pair(source, target)))
        self.target.setCurrentText(target.value)

    def reload(self) -> None:
        """Look again at the image and at which checkpoints are installed."""
        self._on_image()

    def problem(self) -> str:
        """What keeps this from being transformed, in one line; empty where nothing does."""
        layer = self.layer
        if layer is None and self.image.layers:
            return "Choose the image above: what is open is called like a mask."
        if layer is None:
            return (
                "Open a brain MR scan, NIfTI or DICOM, or drop it on this dock. (If napari asks for a reader: "
                "napari-nifti. The sample brain is also in File ▸ Open Sample.)"
            )
        if self.image.lost:
            return f"'{layer.name}' was removed. Choose another image."
        if line := self.problem_of_layer():
            return line
        source = self.source.currentText()
        if not source:
            looks = "" if self._looks is None else f" It looks like {self._looks}."
            return f"Which contrast is '{layer.name}'?{looks} Choose it above."
        return "" if self.pair is not None else choices.no_target_line(Contrast(source))

    def problem_of_layer(self) -> str:
        """What keeps any contrast of the chosen layer from being transformed; empty where nothing does."""
        if self.layer is None:
            return ""
        try:
            check_layer(self.layer)
        except VolumeError as error:
            return f"{error} Choose a frame above." if frame_axis(self.layer) is not None else str(error)
        return ""

    def _on_image(self) -> None:
        if not isalive(self.target):  # the window is going, and its layers with it
            return
        layer = self.layer
        if layer is not None:
            # Neither a rename nor a look at another image must undo a correction by hand.
            if layer is not self._guessed_for or not self.source.currentText():
                guess = self._said.get(layer) or guess_layer_contrast(layer)
                self.source.blockSignals(True)
                self.source.setCurrentIndex(-1 if guess is None else self.source.findText(guess.value))
                self.source.blockSignals(False)
                self._show_looks(None)
                if guess is None and not self.problem_of_layer():
                    look_later(layer, self._on_look)
            self._guessed_for = layer
            self._name_image(layer)
        self._on_source()

    def _on_renamed(self) -> None:
        """A name may tell the contrast, if that is not known, and what stands in the way names the image."""
        if isalive(self.target) and self.layer is not None:
            self._name_image(self.layer)
            if self.problem():
                self._on_image()

    def _name_image(self, layer: Image) -> None:
        where = "placed by its NIfTI affine" if nifti_affine(layer) is not None else "without an affine"
        self.image.setToolTip(f"{layer.name} ({where})")

    def _on_look(self, layer: Image, contrast: Contrast | None) -> None:
        """Offer what the image looks like; the choice stays the user's."""
        if isalive(self.target) and layer is self.layer and contrast is not None:
            self._show_looks(contrast)
            self.changed.emit()

    def _show_looks(self, contrast: Contrast | None) -> None:
        self._looks = contrast
        self.source.setPlaceholderText("Choose…" if contrast is None else f"Looks like {contrast}")

    def _on_said(self) -> None:
        """Another contrast was chosen: that counts for this image from now on."""
        if isalive(self.target) and self.layer is not None and (source := self.source.currentText()):
            self._said[self.layer] = Contrast(source)
        self._on_source()

    def _on_source(self) -> None:
        if not isalive(self.target):
            return
        source = self.source.currentText()
        targets = choices.targets_from(Contrast(source)) if source else []
        refill(self.target, [target.value for target in targets], self.usual_target(source))
        self.changed.emit()


def refill(combo: QComboBox, texts: list[str], usual: str = "") -> None:
    """Replace the entries without a signal; keep the chosen text where it is still there, else choose the usual."""
    chosen = combo.currentText()
    if chosen not in texts:
        chosen = usual
    combo.blockSignals(True)
    combo.clear()
    combo.addItems(texts)
    combo.setCurrentIndex(max(combo.findText(chosen), 0) if texts else -1)
    combo.blockSignals(False)
