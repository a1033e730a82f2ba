"""The states of a dock that runs something."""

from __future__ import annotations

from enum import Enum, auto


class DockState(Enum):
    """What the dock is doing; every enabled, shown or named control follows from it."""

    NO_IMAGE = auto()
    READY = auto()
    LOADING = auto()
    RUNNING = auto()
    CANCELLING = auto()
    DONE = auto()
    CANCELLED = auto()
    FAILED = auto()

    @property
    def busy(self) -> bool:
        """True from the press of its button until the run has ended."""
        return self in (DockState.LOADING, DockState.RUNNING, DockState.CANCELLING)
