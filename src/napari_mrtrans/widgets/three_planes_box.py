"""Whether a head is looked at from three sides, where the model can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox

from ..checkpoints.planes import has_planes

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint


class ThreePlanesBox(QCheckBox):
    """A tick that stays when another model cannot, and counts again with one that can."""

    def __init__(self) -> None:
        super().__init__("Three planes")
        self.setToolTip(
            "Looks at the whole head from the front and from the side, too, and averages what the three views say: "
            "nearer to the target and smooth from slice to slice. Takes a minute or two more without a GPU. For "
            "direct, for flow and pool, whose samples (of pool those of flow) lie around that average then, and for "
            "voxels up to 2 mm where there are 50 mm of head from bottom to top."
        )

    def show_for(self, checkpoint: Checkpoint | None) -> None:
        """Offer it where the model can."""
        self.setEnabled(checkpoint is not None and has_planes(checkpoint))

    @property
    def chosen(self) -> bool:
        """Ticked, and the model can."""
        return self.isEnabled() and self.isChecked()
