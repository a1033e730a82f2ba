"""The form at the top of the comparison: which image, which models, against what."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from ...checkpoints.shared import sharing_lines
from ...transformation.request import Request
from ..last_used import LastUsed
from ..model_list import ModelList
from ..named_text import NamedText
from ..pace import estimate
from ..pair_form import PairForm
from ..preferences import defaults
from ..source import axial_axis, layer_affine
from ..transform.run import RunSettings
from .reference_combo import ReferenceCombo

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...scan.contrasts import Pair


class ComparedSlices(StrEnum):
    """Which axial slices a comparison covers."""

    CURRENT = "This slice"
    ALL = "All slices"


class CompareForm(PairForm):
    """Models follow the pair; a reference is suggested until the user has chosen one."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(viewer, ComparedSlices, parent)
        self.models = ModelList(LastUsed({}).model)
        self.note, self.shared, self.time = NamedText(), NamedText(), NamedText()
        self.reference = ReferenceCombo(viewer, "None")
        self.rows = self._rows(
            ("Models", self.models), ("", self.note), ("", self.shared), ("Reference", self.reference)
        )
        self.setLayout(self.rows)
        self.rows.addRow("", self.time)
        self.changed.connect(self._tell_time)
        self.range.currentIndexChanged.connect(self._tell_time)
        self.samples.valueChanged.connect(self._tell_time)
        self._choice.changed.connect(self._on_pair)
        self.models.changed.connect(self._on_models)
        self.reference.layer_changed.connect(self.changed)
        for event in (viewer.layers.events.inserted, viewer.layers.events.renamed):
            event.connect(self._suggest_reference, position="last")
        self._choice.reload()

    def settings(self, pair: Pair) -> RunSettings:
        """What all models share."""
        request = Request(
            pair.target, pair.source, n=self.samples.value(), seed=self.seed.value(), device=defaults().device
        )
        return RunSettings(request, this_slice=self.range.currentText() == ComparedSlices.CURRENT)

    @property
    def problem(self) -> str:
        """What keeps this from being run, in one line; empty where nothing does."""
        return super().problem or ("" if self.models.chosen else "Tick at least one model.")

    def _on_models(self) -> None:
        self.shared.setText("\n".join(sharing_lines(checkpoint for _, checkpoint in self.models.chosen)))
        self.shared.setVisible(bool(self.shared.text()))
        self.changed.emit()

    def _tell_time(self) -> None:
        """How long it will take, as far as that is known."""
        layer = self.layer
        one = self.range.currentText() == ComparedSlices.CURRENT
        if layer is None or self.problem:
            self.time.clear()
            return
        slices = 1 if one else int(layer.data.shape[axial_axis(layer_affine(layer))])
        self.time.setText(estimate(self.models.chosen, slices, self.samples.value()))

    def _on_pair(self) -> None:
        self.models.show_pair(self.pair)
        self.note.setText("\n".join(self.notes_of_layer))
        self.note.setVisible(bool(self.note.text()))
        self._suggest_reference()

    def _suggest_reference(self, event: Any = None) -> None:
        if isalive(self) and self.pair is not None:
            self.reference.suggest(self.pair.target, of=self.layer)
