"""A combo box of installed checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QWidget

from . import choices
from .pair_choice import refill

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint


class ModelCombo(QComboBox):
    """One checkpoint of some, each called as its form likes; the card of the chosen one is in the tooltip.

    Attributes:
        checkpoints: All that are listed.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.checkpoints: list[Checkpoint] = []
        self.setAccessibleName("Model")
        self.currentIndexChanged.connect(self._tell)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The chosen one."""
        index = self.currentIndex()
        return self.checkpoints[index] if 0 <= index < len(self.checkpoints) else None

    def offer(self, models: list[tuple[str, Checkpoint]], usual: str = "") -> None:
        """List these, without a signal; what was chosen, or else the checkpoint ``usual``, is chosen if it is there."""
        wanted = self.checkpoint.name if self.checkpoint else usual  # labels change with the pair and with other models
        self.checkpoints = [checkpoint for _, checkpoint in models]
        label = next((label for label, checkpoint in models if checkpoint.name == wanted), "")
        refill(self, [label for label, _ in models], label)
        self._tell()

    def _tell(self) -> None:
        self.setToolTip(choices.card_summary(self.checkpoint) if self.checkpoint else "")
