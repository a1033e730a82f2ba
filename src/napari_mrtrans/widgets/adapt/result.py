"""What came of an adaptation: whether it is better, the table, and what can be done with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..verdict_sign import VerdictSign
from ..wording import for_adapting
from .table import GainTable, mean_gain


class ResultPanel(QWidget):
    """Shown at the end.

    Attributes:
        told: What the command told last.

    Signals:
        wanted: *Use it now* was pressed.
        discarded: *Discard* was pressed.
    """

    wanted = Signal()
    discarded = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.told: dict[str, Any] = {}
        self.sign, self.verdict = VerdictSign(), QLabel()
        self.verdict.setWordWrap(True)
        self.table = GainTable()
        self.warnings = QLabel()
        self.warnings.setWordWrap(True)
        self.use, self.page, self.discard = QPushButton("Use it now"), QPushButton("Open page"), QPushButton("Discard")
        self.use.setToolTip("Choose it in the dock of the transformation.")
        self.page.setToolTip("The table with pictures of held-out slices. It shows your scans.")
        self.discard.setToolTip("Delete the new model and its page. What it was made from stays.")
        top, buttons = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.sign)
        top.addWidget(self.verdict, 1)
        for button in (self.use, self.page, self.discard):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(top)
        column.addLayout(buttons)
        column.addWidget(self.table)
        column.addWidget(self.warnings)
        self.use.clicked.connect(self.wanted)
        self.discard.clicked.connect(self.discarded)
        self.page.clicked.connect(self._on_page)
        self.hide()

    @property
    def report(self) -> Path:
        """The page."""
        return Path(self.told["report"])

    def show_result(self, told: dict[str, Any]) -> None:
        """Show what the command told at its end."""
        self.told = told
        rows, gain = told["table"], mean_gain(told["table"])
        by = "" if math.isnan(gain) else f"{gain:+.2f} dB on average"
        if told["better"]:
            self.sign.show_verdict("in distribution")
            self.verdict.setText(f"<b>{told['name']}</b> is better: {by}, judged on {told['judged_on']}.")
        else:
            self.sign.show_verdict("unsure")
            self.verdict.setText(
                f"<b>{told['name']}</b> is not better ({by}, judged on {told['judged_on']}). Keep the model you had, "
                "or give it more minutes or sessions."
            )
        self.sign.setAccessibleName("better" if told["better"] else "not better")
        self.table.setVisible(bool(rows))
        self.table.show_rows(rows)
        # That it is not better, and so not installed, is said above.
        lines = [for_adapting(line) for line in told["warnings"] if "is not better than" not in line]
        self.warnings.setText("\n".join(lines))
        self.warnings.setVisible(bool(lines))
        self._show_use()
        self.show()

    def show_installed(self, path: str) -> None:
        """It is installed now, as ``path``."""
        self.told |= {"installed": True, "path": path}
        self._show_use()

    def _show_use(self) -> None:
        self.use.setText("Use it now" if self.told["installed"] else "Install and use")

    def _on_page(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.report)))
