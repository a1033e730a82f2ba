"""The form at the top of the dock: what to transform, into what, with which model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QSpinBox, QVBoxLayout, QWidget

from ...errors import CheckpointError
from ...scan.contrasts import Contrast, Pair
from ...transformation.request import Request
from .. import choices
from ..last_used import LastUsed
from ..lesion.roi import roi_on
from ..model_combo import ModelCombo
from ..named_text import NamedText
from ..pair_form import PairForm
from ..preferences import defaults
from ..watch import EDITS, MOVES, Watch, fingerprint, pause_before
from .advanced import Advanced
from .extent import Extent, SliceRange
from .run import RunSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from ...checkpoints.checkpoint import Checkpoint


class TransformForm(PairForm):
    """Targets follow the source contrast, models follow the pair.

    Signals:
        edited: A choice, number or setting changed, or the brain mask was painted on.
    """

    edited = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(viewer, SliceRange, parent)
        self._viewer = viewer
        self.model = ModelCombo()
        self.note = NamedText()
        self.range.setToolTip(
            "The slice on screen always comes first, then its neighbours outwards. While the slider is followed, the "
            "slice you scroll to is computed next, a quick preview first; another model or target is shown at once."
        )
        self.advanced = Advanced(viewer)
        self.extent = Extent(viewer)
        self._masked: Layer | None = None
        self._mask: tuple[object, ...] = ()
        self._pause = pause_before(self._look_at_mask, self)
        self._mask_edits = Watch(self._on_mask_edit, [*EDITS, *MOVES])
        self.advanced.brain.layer_changed.connect(self._on_mask)
        self._build()
        self._remember()
        self._choice.changed.connect(self._on_pair)
        self._choice.changed.connect(self._drop_mask)
        self.model.currentIndexChanged.connect(self._on_model)
        self._choice.reload()

    def _remember(self) -> None:
        """Begin with what is preferred, or was used last."""
        preferred = defaults()
        self._last = LastUsed({"samples": self.samples, "slices": self.range, **self.advanced.fields})
        self._last.prefer("device", preferred.device)
        self._last.restore()
        if self.slice_range is SliceRange.SLAB or self.slice_range.of_roi:  # of another image
            self.range.setCurrentText(SliceRange.ALL.value)
        self._choice.usual_target = self._last.target
        if preferred.events is not None:
            preferred.events.connect(self._on_preference)

    def _on_preference(self, event: Any) -> None:
        if isalive(self) and event.type in ("samples", "device"):
            self._last.forget(event.type)
            self._last.prefer(event.type, str(event.value))

    def remember(self) -> None:
        """What is chosen now comes back in the next dock."""
        if self.pair is not None and self.checkpoint is not None:
            self._last.remember(self.pair, self.checkpoint.name)

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = self._rows(("Model", self.model), ("", self.note))
        rows.insertRow(rows.rowCount() - 1, "", self.extent)
        column.addLayout(rows)
        column.addWidget(self.advanced)
        self.range.currentIndexChanged.connect(self._on_range)
        self._choice.changed.connect(self._show_extent)
        self.view.axis_chosen.connect(self._show_extent)
        self.extent.changed.connect(self.changed)
        self.image.renamed.connect(self._on_renamed)
        self.changed.connect(self.edited)
        for combo in self.findChildren(QComboBox):
            combo.currentIndexChanged.connect(self.edited)
        for number in self.findChildren(QSpinBox):
            number.valueChanged.connect(self.edited)
        for check in self.findChildren(QCheckBox):
            check.toggled.connect(self.edited)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The chosen checkpoint."""
        return self.model.checkpoint

    @property
    def slice_range(self) -> SliceRange:
        """What a run covers."""
        return SliceRange(self.range.currentText())

    @property
    def problem(self) -> str:
        """What keeps this from being run, in one line; empty where nothing does."""
        return super().problem or self.extent.problem

    def _drop_mask(self) -> None:
        """A brain mask is of one image; on the next one, it would cut out another head's brain."""
        if self.layer is not self._masked:
            self._masked = self.layer
            self.advanced.brain.setCurrentIndex(0)

    def _on_mask(self) -> None:
        self._mask = fingerprint(self.advanced.brain.layer)
        self._mask_edits.follow(self.advanced.brain.layer)

    def _on_mask_edit(self, event: Any = None) -> None:
        if isalive(self):
            self._pause.start()

    def _look_at_mask(self) -> None:
        """Scrolling, too, looks like an edit."""
        if isalive(self) and (now := fingerprint(self.advanced.brain.layer)) != self._mask:
            self._mask = now
            self.edited.emit()

    def _on_range(self) -> None:
        self._show_extent()
        self.changed.emit()

    def _on_renamed(self) -> None:
        """What stands in the way of a slab or a region names the image."""
        if self.extent.problem:
            self._on_range()

    def _show_extent(self) -> None:
        self.extent.show_range(self.slice_range, None if self._choice.problem_of_layer() else self.layer)

    def settings(self, pair: Pair) -> RunSettings:
        """Everything else that a run of ``pair`` depends on.

        Raises:
            MrtransError: the mask does not lie on the image, or the region cannot be used.
        """
        advanced = self.advanced
        painted, layer, mask = advanced.brain.layer, self.layer, None
        if painted is not None and layer is not None:
            mask = roi_on(painted, layer, self._viewer.layers, what="brain mask")
        request = Request(
            pair.target,
            pair.source,
            n=self.samples.value(),
            seed=self.seed.value(),
            steps=advanced.steps,
            sampler=advanced.sampler,
            three_planes=advanced.three_planes,
            prepare=advanced.prepare,
            slices=self.extent.slices,
            mask=mask,
            roi=self.extent.region(),
            roi_only=self.slice_range is SliceRange.ROI,
            device=advanced.device,
            batch=advanced.batch,
        )
        this_slice = self.slice_range is SliceRange.CURRENT
        return RunSettings(request, this_slice, advanced.keep_samples, advanced.calibrated)

    def choose(self, source: Contrast, target: Contrast, model: str | None = None) -> None:
        """Choose a pair and, by kind or name, a model.

        Raises:
            CheckpointError: no installed checkpoint serves it.
        """
        self._choice.choose(source, target)
        if model is None:
            return
        for index, checkpoint in enumerate(self.model.checkpoints):
            if model in (checkpoint.card.model, checkpoint.name):
                self.model.setCurrentIndex(index)
                return
        raise CheckpointError(f"No '{model}' checkpoint for {source} → {target}.")

    def step_model(self, step: int) -> None:
        """Choose the next (1) or previous (-1) model of the list, round and round."""
        if self.isEnabled() and self.model.count():
            self.model.setCurrentIndex((self.model.currentIndex() + step) % self.model.count())

    def _on_pair(self) -> None:
        self.model.offer(choices.models_for(self.pair) if self.pair is not None else [], self._last.model)
        self._on_model()

    def _on_model(self) -> None:
        checkpoint, pair = self.checkpoint, self.pair
        notes = [*self.notes_of_layer, *(choices.contrast_notes(checkpoint, pair) if checkpoint and pair else ())]
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))
        self.samples.setEnabled(checkpoint is not None and not checkpoint.deterministic)
        self.advanced.show_defaults(checkpoint)
        self.changed.emit()
