"""The collapsed part of the form: device, batch, sampler, steps and what to keep of the samples."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import QRegularExpression
from qtpy.QtGui import QIcon, QRegularExpressionValidator
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSpinBox, QWidget
from superqt import QCollapsible

from ..layer_combo import LayerCombo
from ..layer_kinds import KeepSamples
from ..source import is_region
from ..three_planes_box import ThreePlanesBox

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...checkpoints.checkpoint import Checkpoint

#: Names as the engine's device option takes them. A list of what is there would need torch.
DEVICES = ("auto", "cpu", "mps") if sys.platform == "darwin" else ("auto", "cpu", "cuda")
#: The names of ``sampler_plan.SAMPLERS``, which likewise would need torch; a test compares the two.
SAMPLER_NAMES = ("dpm++2m", "heun", "ancestral", "ddim", "euler", "langevin", "langevin-ncsnv2")
DEVICE_PATTERN = r"auto|cpu|mps|cuda(:\d+)?"


class Advanced(QCollapsible):
    """Settings with a good default; ``None`` or ``"auto"`` leave the choice to the checkpoint and the engine."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        # The default icons are painted in a colour that napari's theme does not reach; text follows it.
        super().__init__("", parent, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title(False)
        self.toggled.connect(self._title)
        # Its own margins would set it apart from the rows above.
        if (layout := self.layout()) is not None:
            layout.setContentsMargins(0, 0, 0, 0)
        self._device = QComboBox()
        self._device.addItems(DEVICES)
        self._device.setEditable(True)
        self._device.setValidator(QRegularExpressionValidator(QRegularExpression(DEVICE_PATTERN), self._device))
        self._device.setToolTip("auto takes a GPU where there is one. A certain one: cuda:1")
        self._batch = _optional_number("auto", 512)
        self._batch.setToolTip("Images per network call. auto lowers it by itself when memory is short.")
        self._sampler = QComboBox()
        self._sampler.addItems(["default", *SAMPLER_NAMES])
        self._sampler.setToolTip(
            "The recipe that turns noise into an image. The checkpoint's own is the one its spread was checked with."
        )
        self._steps = _optional_number("default", 2000)
        self._steps.setToolTip("Sampling steps per image. Fewer are faster and less exact.")
        self._keep = QComboBox()
        self._keep.addItems([choice.value for choice in KeepSamples])
        self._keep.setToolTip(
            "Every single plausible image as well, to look at or to measure a lesion in. Takes n times the memory of "
            "the volume."
        )
        self._calibrated = QCheckBox("Calibrated std")
        self._calibrated.setChecked(True)
        self._calibrated.setToolTip(
            "The plain std only says how far the model's own answers lie apart; errors that all share are not in it. "
            "The calibrated one was compared with true errors: 90 % of those, on people kept for that, lie within "
            "1.64 std of the mean. It is smoother (1.5 mm), and larger at intensities where errors are."
        )
        self.brain = LayerCombo(
            viewer, lambda layer: isinstance(layer, Labels) and is_region(layer), none="Found by itself"
        )
        self.brain.setToolTip("A labels layer in which the brain is painted: what is outside it is left out.")
        self._three_planes = ThreePlanesBox()
        self._prepare = QCheckBox("Prepare whole heads")
        self._prepare.setChecked(True)
        self._prepare.setToolTip("Where skull and scalp are still there: extract the brain, correct the bias field.")

        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, field in (
            ("Device", self._device),
            ("Batch", self._batch),
            ("Sampler", self._sampler),
            ("Steps", self._steps),
            ("Keep samples", self._keep),
            ("Brain mask", self.brain),
        ):
            form.addRow(label, field)
        form.addRow(self._calibrated)
        form.addRow(self._three_planes)
        form.addRow(self._prepare)
        self.addWidget(inner)

    def _title(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'} Advanced")

    def show_defaults(self, checkpoint: Checkpoint | None) -> None:
        """Name the checkpoint's own settings as the defaults, and switch off what its model ignores."""
        chosen = self.sampler
        sampling = checkpoint is not None and not checkpoint.single_pass
        self._sampler.clear()
        self._sampler.addItem("default")
        self._steps.setSpecialValueText("default")
        if sampling and checkpoint is not None:
            self._sampler.setItemText(0, f"default ({checkpoint.card.sampler.name})")
            self._steps.setSpecialValueText(f"default ({checkpoint.card.sampler.steps})")
        self._sampler.addItems(SAMPLER_NAMES)
        if chosen is not None:
            self._sampler.setCurrentText(chosen)
        for field in (self._sampler, self._steps):
            field.setEnabled(sampling)
        self._keep.setEnabled(checkpoint is not None and not checkpoint.deterministic)
        self._calibrated.setEnabled(checkpoint is not None and bool(checkpoint.spread))
        self._three_planes.show_for(checkpoint)

    @property
    def fields(self) -> dict[str, QSpinBox | QComboBox | QCheckBox]:
        """What can be set, by name."""
        return {
            "device": self._device,
            "batch": self._batch,
            "sampler": self._sampler,
            "steps": self._steps,
            "keep_samples": self._keep,
            "calibrated": self._calibrated,
            "three_planes": self._three_planes,
            "prepare": self._prepare,
        }

    @property
    def device(self) -> str:
        """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...; a half-typed name counts as ``auto``."""
        name = self._device.currentText()
        return name if re.fullmatch(DEVICE_PATTERN, name) else "auto"

    @property
    def batch(self) -> int | str:
        """Images per network call, or ``auto``."""
        return self._batch.value() or "auto"

    @property
    def sampler(self) -> str | None:
        """Name of a sampler, or None for the checkpoint's own."""
        return self._sampler.currentText() if self._sampler.currentIndex() > 0 else None

    @property
    def steps(self) -> int | None:
        """Number of steps, or None for the checkpoint's own."""
        return self._steps.value() or None

    @property
    def keep_samples(self) -> KeepSamples:
        """Which sample layers to make."""
        return KeepSamples(self._keep.currentText())

    @property
    def calibrated(self) -> bool:
        """Show the corrected standard deviation where there is one."""
        return self._calibrated.isChecked()

    @property
    def three_planes(self) -> bool:
        """Average the axial slices with coronal and sagittal ones, where the model can."""
        return self._three_planes.chosen

    @property
    def prepare(self) -> bool | None:
        """None: whole heads are prepared; False: nothing is."""
        return None if self._prepare.isChecked() else False


def _optional_number(unset: str, maximum: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, maximum)
    box.setSpecialValueText(unset)
    return box
