"""What the lesion check measured last of each prediction, for the page of its result."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ...lesion.measure import LesionReport


@dataclass(frozen=True, eq=False)
class Measured:
    """A report, and the name of the layer in which its region is marked."""

    report: LesionReport
    region: str


_latest: WeakKeyDictionary[Layer, Measured] = WeakKeyDictionary()


class Completed(QObject):
    """One for all docks.

    Signals:
        changed: No more slices come into this prediction, in which something was measured meanwhile.
    """

    changed = Signal(object)


completed = Completed()


def remember(prediction: Layer, measured: Measured | None) -> None:
    """This was measured in it now; None: what was measured before is true no more."""
    if measured is None:
        _latest.pop(prediction, None)
    else:
        _latest[prediction] = measured


def latest(prediction: Layer | None) -> Measured | None:
    """What was measured in it last."""
    return None if prediction is None else _latest.get(prediction)


def complete(prediction: Layer | None) -> None:
    """No more slices come into it: what was measured before counts only if it is measured again."""
    if prediction is not None and _latest.pop(prediction, None) is not None:
        completed.changed.emit(prediction)
