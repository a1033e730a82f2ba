"""Keys of the dock. They work wherever the window has the focus, as long as the dock is in sight.

``viewer.bind_key`` would know the canvas alone, and napari 0.9 does not read keybindings from a manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

#: What a key does, and the key; none of them is napari's (a test compares).
KEYS = {
    "start": "Ctrl+Return",
    "follow": "Ctrl+Shift+Return",
    "next_model": "Alt+PgDown",
    "previous_model": "Alt+PgUp",
    "flip": "Ctrl+Shift+Space",
}


def bind(widget: QWidget, actions: Mapping[str, Callable[[], object]]) -> None:
    """Let the keys of :data:`KEYS` call these, by name, while ``widget`` is in sight."""
    for name, action in actions.items():
        shortcut = QShortcut(QKeySequence(KEYS[name]), widget)
        shortcut.setAutoRepeat(False)  # a key that is held is pressed once
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.activated.connect(action)


def shown(name: str) -> str:
    """The key as this system writes it."""
    return QKeySequence(KEYS[name]).toString(QKeySequence.SequenceFormat.NativeText)
