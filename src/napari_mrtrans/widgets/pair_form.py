"""What the forms of the transformation and of the comparison have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from .frame_row import FrameRow
from .pair_choice import PairChoice
from .preferences import defaults
from .source import is_synthetic
from .view_row import ViewRow

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..scan.contrasts import Pair


class PairForm(QWidget):
    """Image and contrast pair, number of samples, seed and slices, in choices that always fit each other.

    Args:
        viewer: Whose layers.
        ranges: What there is to choose of the slices.
        parent: The widget around it.

    Signals:
        changed: Any choice changed; :attr:`problem` may have changed with it.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, ranges: Iterable[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choice = PairChoice(viewer, self)
        self.image, self.source, self.target = self._choice.image, self._choice.source, self._choice.target
        self.samples, self.seed = sample_box(), seed_box()
        self.range = QComboBox()
        self.range.addItems([str(choice) for choice in ranges])
        self.frame = FrameRow(viewer, self)
        self.frame.taken.connect(self.image.choose)
        self.view = ViewRow(viewer, self)
        self.view.axis_chosen.connect(self.changed)
        self.changed.connect(self._show_view)
        self.range.currentIndexChanged.connect(self._show_view)

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        return self._choice.layer

    @property
    def pair(self) -> Pair | None:
        """Source and target contrast, once both are chosen."""
        return self._choice.pair

    @property
    def problem(self) -> str:
        """What keeps this from being run, in one line; empty where nothing does."""
        return self._choice.problem()

    @property
    def notes_of_layer(self) -> list[str]:
        """What to keep in mind of the chosen image, a line each."""
        if self.layer is None or not is_synthetic(self.layer):
            return []
        return ["This image is synthetic itself: what is made of it is a guess from a guess."]

    def reload(self) -> None:
        """Look again at which checkpoints are installed."""
        self._choice.reload()

    def _show_view(self) -> None:
        layer = None if self._choice.problem_of_layer() else self.layer
        self.frame.show_layer(self.layer)
        self.view.show_layer(layer, one_slice=self.range.currentText().startswith(("This", "Follow")))

    def _rows(self, *own: tuple[str, QWidget]) -> QFormLayout:
        """All rows, the form's ``own`` ones (label, field) after the pair."""
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._choice.add_rows(rows)
        self.frame.add_row(rows)
        self.view.add_axis_row(rows)
        for label, field in own:
            rows.addRow(label, field)
        numbers = QHBoxLayout()
        numbers.addWidget(self.samples, 1)
        numbers.addSpacing(8)
        numbers.addWidget(QLabel("Seed"))
        numbers.addWidget(self.seed, 1)
        rows.addRow("Samples", numbers)
        rows.addRow("Slices", self.range)
        rows.addRow(self.view.warning)
        return rows


def sample_box() -> QSpinBox:
    """For the number of samples."""
    box = QSpinBox()
    box.setAccessibleName("Number of samples")
    box.setRange(1, 1000)
    box.setValue(defaults().samples)
    box.setToolTip(
        "How many plausible images are drawn for each slice. Their mean is the image you get; how far they lie apart, "
        "voxel by voxel, is its standard deviation (std). More samples: smoother, and slower in proportion."
    )
    return box


def seed_box() -> QSpinBox:
    """For the seed."""
    box = QSpinBox()
    box.setAccessibleName("Seed")
    box.setRange(0, 2**31 - 1)
    box.setToolTip("The same seed gives the same samples of a model again. Each kind of model has noise of its own.")
    return box
