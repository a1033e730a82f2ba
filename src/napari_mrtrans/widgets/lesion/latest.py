"""What the lesion check measured last of each prediction, for the page of its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QObject, Signal

from ...errors import MrtransError
from ...lesion.report import LesionReport
from .measure import measured

if TYPE_CHECKING:
    from napari.components import ViewerModel


@dataclass(frozen=True, eq=False)
class Measured:
    """A report, the name of the layer in which its region is marked, and the layers that it was made of."""

    report: LesionReport
    region: str
    roi: ReferenceType[Labels | Shapes]
    reference: ReferenceType[Image] | None

    @classmethod
    def of(cls, report: LesionReport, reference: Image | None, roi: Labels | Shapes) -> Measured:
        """A report that was just made of these."""
        return cls(report, roi.name, ref(roi), None if reference is None else ref(reference))


_latest: WeakKeyDictionary[Layer, Measured] = WeakKeyDictionary()


class Changes(QObject):
    """One for all docks.

    Signals:
        completed: No more slices come into this prediction, in which something was measured meanwhile.
        forgotten: This prediction is made anew; what was measured in it is true no more.
    """

    completed = Signal(object)
    forgotten = Signal(object)


changes = Changes()


def remember(prediction: Layer, measured: Measured | None) -> None:
    """This was measured in it now; None: what was measured before is true no more."""
    if measured is None:
        _latest.pop(prediction, None)
    else:
        _latest[prediction] = measured


def latest(prediction: Layer | None) -> Measured | None:
    """What was measured in it last."""
    return None if prediction is None else _latest.get(prediction)


def still_measured(viewer: ViewerModel, prediction: Image | None) -> Measured | None:
    """The same, measured again in the layers as they are now; None where one of them is gone or of no use any more."""
    known = latest(prediction)
    if known is None or prediction is None:
        return None
    roi, reference = known.roi(), None if known.reference is None else known.reference()
    if roi is None or roi not in viewer.layers:
        return None
    if known.reference is not None and (reference is None or reference not in viewer.layers):
        return None
    try:
        report, _ = measured(viewer, prediction, reference, roi)
    except MrtransError:
        return None
    return Measured.of(report, reference, roi)


def ended(prediction: Layer | None) -> None:
    """No more slices come into it: what was measured before counts only if it is measured again."""
    if prediction is not None and _latest.pop(prediction, None) is not None:
        changes.completed.emit(prediction)


def forget(prediction: Layer) -> None:
    """It is made anew: what was measured before is true no more, and nobody may go on showing it."""
    remember(prediction, None)
    changes.forgotten.emit(prediction)
