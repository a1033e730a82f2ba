"""Text that names layers and files."""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

#: What joins the parts of a name, where Qt does not begin a new line by itself.
_JOINT = re.compile(r"(?<=[_./\\])(?=\w)")
_ZERO_WIDTH_SPACE = "\u200b"


class NamedText(QLabel):
    """Lines that are wrapped, within a long name as well, whose end would be cut off; names are no markup."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._told = ""
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)

    def text(self) -> str:
        """What it was told to show."""
        return self._told

    def setText(self, text: str | None) -> None:
        """Show ``text``; an address in rich text stays whole."""
        self._told = text or ""
        plain = self.textFormat() == Qt.TextFormat.PlainText
        super().setText(_JOINT.sub(_ZERO_WIDTH_SPACE, self._told) if plain else self._told)

    def clear(self) -> None:
        """Show nothing."""
        self.setText("")
