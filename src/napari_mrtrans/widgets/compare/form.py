"""The form at the top of the comparison: which image, which models, against what."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from ...transformation.request import Request
from ..model_list import ModelList
from ..pair_choice import PairChoice
from ..transform.form import sample_box, seed_box, side_by_side
from ..transform.run import RunSettings
from .reference_combo import ReferenceCombo

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...scan.contrasts import Pair


class ComparedSlices(StrEnum):
    """Which axial slices a comparison covers."""

    ALL = "All slices"
    CURRENT = "This slice"


class CompareForm(QWidget):
    """Choices that always fit each other; a reference is suggested until the user has chosen one.

    Signals:
        changed: Any choice changed; ``problem`` may have changed with it.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choice = PairChoice(viewer, self)
        self.image, self.source, self.target = self._choice.image, self._choice.source, self._choice.target
        self.models = ModelList()
        self.reference = ReferenceCombo(viewer, "None")
        self.samples, self.seed = sample_box(), seed_box()
        self.range = QComboBox()
        self.range.addItems([choice.value for choice in ComparedSlices])
        self._build()
        self._choice.changed.connect(self._on_pair)
        self.models.changed.connect(self.changed)
        self.reference.layer_changed.connect(self.changed)
        viewer.layers.events.inserted.connect(self._suggest_reference, position="last")
        self._choice.reload()

    def _build(self) -> None:
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._choice.add_rows(rows)
        rows.addRow("Models", self.models)
        rows.addRow("Reference", self.reference)
        rows.addRow("Samples", side_by_side(self.samples, self.seed))
        rows.addRow("Slices", self.range)

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        return self._choice.layer

    @property
    def pair(self) -> Pair | None:
        """Source and target contrast, once both are chosen."""
        return self._choice.pair

    def settings(self, pair: Pair) -> RunSettings:
        """What all models share."""
        request = Request(pair.target, pair.source, n=self.samples.value(), seed=self.seed.value())
        return RunSettings(request, this_slice=self.range.currentText() == ComparedSlices.CURRENT)

    @property
    def problem(self) -> str:
        """What keeps this from being run, in one line; empty where nothing does."""
        return self._choice.problem() or ("" if self.models.chosen else "Tick at least one model.")

    def reload(self) -> None:
        """Look again at which checkpoints are installed."""
        self._choice.reload()

    def _on_pair(self) -> None:
        self.models.show_pair(self.pair)
        self._suggest_reference()

    def _suggest_reference(self, event: Any = None) -> None:
        if isalive(self) and self.pair is not None:
            self.reference.suggest(self.pair.target, other_than=self.layer)
