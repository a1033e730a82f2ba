"""The buttons that write what was made: its files, and one page about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from .report import ReportButton
from .result_folder import ResultFolder
from .run import Run
from .save import SaveButton

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .saved_run import Result


class FileButtons(QWidget):
    """*Save results…* and *Report…* of one result; what was saved already is reported only.

    Args:
        viewer: Whose slider numbers the slices.
        parent: The widget around it.

    Signals:
        told: One line on what was saved.
        written: Where the page is.
        failed: One line on why nothing was.
    """

    told = Signal(str)
    written = Signal(object)
    failed = Signal(str)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        folder = ResultFolder()
        self.save, self.report = SaveButton(folder), ReportButton(viewer, folder)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.save, 1)
        line.addWidget(self.report)
        for button in (self.save, self.report):
            button.failed.connect(self.failed)
        self.save.told.connect(self.told)
        self.report.written.connect(self.written)

    def offer(self, run: Result | None) -> None:
        """It is about this result from now on; None: nothing can be written now."""
        self.save.offer(run if isinstance(run, Run) else None)
        self.report.offer(run)
