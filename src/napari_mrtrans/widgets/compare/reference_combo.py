"""A combo box of acquired images, one of which may serve as a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtWidgets import QWidget

from ...scan.contrasts import Contrast
from ..layer_combo import LayerCombo
from ..reopened import made_of
from ..source import guess_layer_contrast, is_acquired, layer_stem, result_record
from ..who import OTHERS, UNKNOWN, kinship, may_be_one

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

    def suggest(self, contrast: Contrast, of: Image | None = None) -> None:
        """Choose the image of ``contrast`` that names say is of the same person as ``of``, unless the user has decided.

        What was decided holds until its image is gone, or names say that ``of`` is of somebody else.
        An image of which ``of`` was made is none. Of several, that which is chosen stays, else it is the newest. Where
        there is none, one that was suggested before, of another contrast or person, is no reference any more.
        """
        chosen = self.layer
        if self.by_hand and (chosen is None or of is None or kinship(chosen, of) != OTHERS):
            return
        self.by_hand = False
        record, there = {} if of is None else result_record(of), self._viewer.layers
        others = [one for one in self.layers if one is not of and not made_of(record, one, layer_stem(one), there)]
        fitting = [one for one in others if guess_layer_contrast(one) == contrast]
        fitting = [one for one in fitting if of is None or may_be_one(one, of)]
        near = [UNKNOWN if of is None else kinship(one, of) for one in fitting]
        best = [one for one, kin in zip(fitting, near, strict=True) if kin == max(near)]
        if best and self.layer not in best:
            self.choose(best[-1])
        elif not best and self.layer is not None and guess_layer_contrast(self.layer) is not None:
            self.setCurrentIndex(0)
