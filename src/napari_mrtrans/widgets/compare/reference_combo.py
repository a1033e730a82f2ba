"""A combo box of acquired images, one of which may serve as a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtWidgets import QWidget

from ...scan.contrasts import Contrast
from ..layer_combo import LayerCombo
from ..source import guess_layer_contrast, is_acquired

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ReferenceCombo(LayerCombo):
    """Acquired images, none at first; one is suggested until the user has chosen for himself.

    Args:
        viewer: Whose layers.
        none: What the entry for no reference says.
        parent: The widget around it.
    """

    def __init__(self, viewer: ViewerModel, none: str, parent: QWidget | None = None) -> None:
        super().__init__(viewer, is_acquired, none=none, parent=parent)
        self._by_hand = False
        self.activated.connect(self._on_activated)

    def suggest(self, contrast: Contrast, other_than: Image | None = None) -> None:
        """Choose the newest image of ``contrast``, unless one of it is chosen or the user has decided.

        Where there is none, one of another contrast that was suggested before is no reference any more.
        """
        known = None if self.layer is None else guess_layer_contrast(self.layer)
        if self._by_hand or known == contrast:
            return
        fitting = [one for one in self.layers if one is not other_than and guess_layer_contrast(one) == contrast]
        if fitting:
            self.choose(fitting[-1])
        elif known is not None:
            self.setCurrentIndex(0)

    def _on_activated(self) -> None:
        self._by_hand = True
