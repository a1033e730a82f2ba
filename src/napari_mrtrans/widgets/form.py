"""The form at the top of the dock: what to transform, into what, with which model."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from ..contrasts import Contrast, Pair
from ..errors import CheckpointError, VolumeError
from ..library import no_checkpoint_line
from . import choices
from .advanced import Advanced
from .layer_combo import LayerCombo
from .source import check_layer, guess_layer_contrast, nifti_affine

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..checkpoint import Checkpoint

DEFAULT_SAMPLES = 20


class SliceRange(StrEnum):
    """Which axial slices a run covers."""

    ALL = "All slices"
    CURRENT = "This slice"
    FOLLOW = "Follow the slider"


class TransformForm(QWidget):
    """Choices that always fit each other: targets follow the source contrast, models follow the pair.

    Signals:
        changed: Any choice changed; ``problem`` may have changed with it.
        edited: The same, or a number or setting changed.
    """

    changed = Signal()
    edited = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.problem = ""
        self.image = LayerCombo(viewer)
        self.source = QComboBox()
        self.source.setPlaceholderText("Choose…")
        self.source.addItems([contrast.value for contrast in Contrast])
        self.source.setToolTip("Guessed from the layer or file name. Correct it if it is wrong.")
        self.target = QComboBox()
        self.target.setToolTip("Only what an installed checkpoint can make from this contrast.")
        self.model = QComboBox()
        self.samples = QSpinBox()
        self.samples.setRange(1, 1000)
        self.samples.setValue(DEFAULT_SAMPLES)
        self.samples.setToolTip("Independent samples per slice: their mean is the image, their spread the std.")
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setToolTip("The same seed gives the same samples again.")
        self.range = QComboBox()
        self.range.addItems([choice.value for choice in SliceRange])
        self.range.setToolTip(
            "The slice on screen always comes first, then its neighbours outwards. While the slider is followed, the "
            "slice you scroll to is computed next, a quick preview first; another model or target is shown at once."
        )
        self.advanced = Advanced()
        self._checkpoints: list[Checkpoint] = []
        self._guessed_for: Image | None = None
        self._build()
        self.image.layer_changed.connect(self._on_image)
        self.source.currentIndexChanged.connect(self._on_source)
        self.target.currentIndexChanged.connect(self._on_target)
        self.model.currentIndexChanged.connect(self._on_model)
        self._on_image()

    def _build(self) -> None:
        numbers = QHBoxLayout()
        numbers.addWidget(self.samples, 1)
        numbers.addSpacing(8)
        numbers.addWidget(QLabel("Seed"))
        numbers.addWidget(self.seed, 1)
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Image", self.image)
        rows.addRow("Contrast", self.source)
        rows.addRow("Target", self.target)
        rows.addRow("Model", self.model)
        rows.addRow("Samples", numbers)
        rows.addRow("Slices", self.range)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)
        column.addWidget(self.advanced)
        self.changed.connect(self.edited)
        for combo in self.findChildren(QComboBox):
            combo.currentIndexChanged.connect(self.edited)
        for number in self.findChildren(QSpinBox):
            number.valueChanged.connect(self.edited)
        for check in self.findChildren(QCheckBox):
            check.toggled.connect(self.edited)

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        return self.image.layer

    @property
    def pair(self) -> Pair | None:
        """Source and target contrast, once both are chosen."""
        source, target = self.source.currentText(), self.target.currentText()
        return Pair(Contrast(source), Contrast(target)) if source and target else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The chosen checkpoint."""
        index = self.model.currentIndex()
        return self._checkpoints[index] if 0 <= index < len(self._checkpoints) else None

    @property
    def slice_range(self) -> SliceRange:
        """All slices, the one on screen, or whichever is on screen."""
        return SliceRange(self.range.currentText())

    def choose(self, source: Contrast, target: Contrast, model: str | None = None) -> None:
        """Choose a pair and, by kind or name, a model.

        Raises:
            CheckpointError: no installed checkpoint serves it.
        """
        self.source.setCurrentText(source.value)
        if self.target.findText(target.value) < 0:
            raise CheckpointError(no_checkpoint_line(Pair(source, target)))
        self.target.setCurrentText(target.value)
        if model is None:
            return
        for index, checkpoint in enumerate(self._checkpoints):
            if model in (checkpoint.card.model, checkpoint.name):
                self.model.setCurrentIndex(index)
                return
        raise CheckpointError(f"No '{model}' checkpoint for {source} → {target}.")

    def reload(self) -> None:
        """Look again at which checkpoints are installed."""
        self._on_source()

    def _on_image(self) -> None:
        layer = self.layer
        if layer is not None:
            # A rename must not undo a correction by hand.
            if layer is not self._guessed_for or not self.source.currentText():
                guess = guess_layer_contrast(layer)
                self.source.blockSignals(True)
                self.source.setCurrentIndex(-1 if guess is None else self.source.findText(guess.value))
                self.source.blockSignals(False)
            self._guessed_for = layer
            where = "from its NIfTI affine" if nifti_affine(layer) is not None else "first axis taken as axial"
            self.image.setToolTip(f"{layer.name} ({where})")
        self._on_source()

    def _on_source(self) -> None:
        source = self.source.currentText()
        targets = choices.targets_from(Contrast(source)) if source else []
        _refill(self.target, [target.value for target in targets])
        self._on_target()

    def _on_target(self) -> None:
        pair = self.pair
        models = choices.models_for(pair) if pair is not None else []
        self._checkpoints = [checkpoint for _, checkpoint in models]
        _refill(self.model, [label for label, _ in models])
        self._on_model()

    def _on_model(self) -> None:
        checkpoint = self.checkpoint
        self.model.setToolTip(choices.card_summary(checkpoint) if checkpoint else "")
        self.samples.setEnabled(checkpoint is not None and not checkpoint.deterministic)
        self.advanced.show_defaults(checkpoint)
        self.problem = self._find_problem()
        self.changed.emit()

    def _find_problem(self) -> str:
        layer = self.layer
        if layer is None:
            return "Open a brain MR image, or try File ▸ Open Sample ▸ MR contrast transformation."
        try:
            check_layer(layer)
        except VolumeError as error:
            return str(error)
        source = self.source.currentText()
        if not source:
            return f"Which contrast is '{layer.name}'? Choose it above."
        if self.checkpoint is None:
            return choices.no_target_line(Contrast(source))
        return ""


def _refill(combo: QComboBox, texts: list[str]) -> None:
    """Replace the entries without a signal; keep the chosen text where it is still there."""
    chosen = combo.currentText()
    combo.blockSignals(True)
    combo.clear()
    combo.addItems(texts)
    combo.setCurrentIndex(max(combo.findText(chosen), 0) if texts else -1)
    combo.blockSignals(False)
