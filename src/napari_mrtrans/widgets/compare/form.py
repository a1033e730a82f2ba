"""The form at the top of the comparison: which image, which models, against what."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QLabel, QWidget

from ...checkpoints.shared import sharing_lines
from ...transformation.request import Request
from ..model_list import ModelList
from ..pair_form import PairForm
from ..transform.run import RunSettings
from .reference_combo import ReferenceCombo

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...scan.contrasts import Pair


class ComparedSlices(StrEnum):
    """Which axial slices a comparison covers."""

    ALL = "All slices"
    CURRENT = "This slice"


class CompareForm(PairForm):
    """Models follow the pair; a reference is suggested until the user has chosen one."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(viewer, ComparedSlices, parent)
        self.models = ModelList()
        self.shared = QLabel()
        self.shared.setWordWrap(True)
        self.reference = ReferenceCombo(viewer, "None")
        self.setLayout(self._rows(("Models", self.models), ("", self.shared), ("Reference", self.reference)))
        self._choice.changed.connect(self._on_pair)
        self.models.changed.connect(self._on_models)
        self.reference.layer_changed.connect(self.changed)
        viewer.layers.events.inserted.connect(self._suggest_reference, position="last")
        self._choice.reload()

    def settings(self, pair: Pair) -> RunSettings:
        """What all models share."""
        request = Request(pair.target, pair.source, n=self.samples.value(), seed=self.seed.value())
        return RunSettings(request, this_slice=self.range.currentText() == ComparedSlices.CURRENT)

    @property
    def problem(self) -> str:
        """What keeps this from being run, in one line; empty where nothing does."""
        return super().problem or ("" if self.models.chosen else "Tick at least one model.")

    def _on_models(self) -> None:
        self.shared.setText("\n".join(sharing_lines(checkpoint for _, checkpoint in self.models.chosen)))
        self.shared.setVisible(bool(self.shared.text()))
        self.changed.emit()

    def _on_pair(self) -> None:
        self.models.show_pair(self.pair)
        self._suggest_reference()

    def _suggest_reference(self, event: Any = None) -> None:
        if isalive(self) and self.pair is not None:
            self.reference.suggest(self.pair.target, other_than=self.layer)
