"""Tells every dock that other checkpoints are installed now."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal


class Installed(QObject):
    """One for all docks.

    Signals:
        changed: A checkpoint was installed or removed, or another folder was chosen.
    """

    changed = Signal()


installed = Installed()
