"""The button that writes one page of a result: pictures, verdict, settings, and how to repeat it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton, QWidget

from ...errors import MrtransError
from ...paths import write_together
from ..background import in_background
from ..compare.worker import ReferenceRequest
from ..lesion.latest import Measured, still_measured
from ..source import slice_on_screen, slider_numbers
from .acquired import reference_request

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .result_folder import ResultFolder
    from .saved_run import Result

_IDLE = "Report…"


@dataclass(frozen=True, eq=False)
class PageJob:
    """What the page of a run needs, without the viewer.

    ``numbers`` and ``on_screen`` are of the source's file: what its first and last slice are called, and a slice that
    must be shown.
    """

    run: Result
    numbers: tuple[int, int]
    on_screen: int
    reference: ReferenceRequest | None
    measured: Measured | None

    @classmethod
    def of(cls, viewer: ViewerModel, run: Result, reference: Image | None) -> PageJob:
        """As the viewer is now; ``reference``: the acquired image to compare with."""
        first, last = slider_numbers(viewer, run.anchor, run.axis)
        index = slice_on_screen(viewer, run.anchor, run.axis)
        if run.upside_down:
            first, last, index = last, first, run.n_slices - 1 - index
        wanted = None if reference is None else reference_request(run, reference)
        return cls(run, (first, last), index, wanted, still_measured(viewer, run.layers.mean))


class ReportButton(QPushButton):
    """Asks for a file and writes the page there, in the background.

    Args:
        viewer: Whose slider numbers the slices.
        folder: Where results go.
        parent: The widget around it.

    Attributes:
        reference: The acquired image to compare with.

    Signals:
        written: Where the page is.
        failed: One line on why nothing was.
    """

    written = Signal(object)
    failed = Signal(str)

    def __init__(self, viewer: ViewerModel, folder: ResultFolder, parent: QWidget | None = None) -> None:
        super().__init__(_IDLE, parent)
        self._viewer = viewer
        self._folder = folder
        self._run: Result | None = None
        self._writing = False
        self.reference: Image | None = None
        self.setToolTip(
            "One HTML page with its pictures inside: slices, verdict, σ̂ of each slice, lesions if they were measured, "
            "settings, and how to repeat it. It names files without their folders."
        )
        self.clicked.connect(self._ask)
        self.offer(None)

    def offer(self, run: Result | None) -> None:
        """Write of this run when pressed, if it has a finished slice; None: nothing can be written now."""
        self._run = run if run is not None and run.gathered.finished else None
        self._refresh()

    def _refresh(self) -> None:
        self.setText("Writing…" if self._writing else _IDLE)
        self.setEnabled(self._run is not None and not self._writing)
        self.setVisible(self._run is not None or self._writing)

    def _ask(self) -> None:
        run = self._run
        if run is None:
            return
        name = f"{run.work.source.name}_{run.pair.target}_report.html".replace("/", "_")
        suggested = str(self._folder.proposed(run.path) / name)
        chosen, _ = QFileDialog.getSaveFileName(self, "Write a report to", suggested, "Web page (*.html)")
        if chosen:
            self.write(Path(chosen))

    def write(self, path: Path) -> None:
        """Write to ``path``, which gets the suffix of a page if it has none; asks before that replaces a file."""
        run = self._run
        if run is None or self._writing:
            return
        if path.suffix not in (".html", ".htm"):
            path = path.with_name(f"{path.name}.html")
            if os.path.exists(path) and not self._may_replace(path):  # noqa: PTH110 (Path.exists may raise)
                return
        try:
            job = PageJob.of(self._viewer, run, self.reference)
        except MrtransError as error:
            self.failed.emit(str(error))
            return
        self._folder.chosen(path.parent, run.path)
        self._writing = True
        self._refresh()
        in_background(partial(_write, job, path), self._on_written, "No report was written: ")

    def _may_replace(self, path: Path) -> bool:
        question = f"'{path.name}' is in '{path.parent}' already. Replace it?"
        return QMessageBox.question(self, "Write a report", question) == QMessageBox.StandardButton.Yes

    def _on_written(self, path: Path | None, problem: str) -> None:
        if not isalive(self):
            return
        self._writing = False
        self._refresh()
        if path is None:
            self.failed.emit(problem)
        else:
            self.written.emit(path)


def _write(job: PageJob, path: Path) -> Path:
    write_together(path.parent, {path.name: _page(job)}, "Choose another place.")
    return path


def _page(job: PageJob) -> str:
    from ...transformation.page import Beside, result_page

    run, acquired = job.run, None
    notices: list[str] = []
    result = run.ensemble()
    if job.reference is not None:
        try:
            acquired = run.compared(job.reference).turned(run.in_file)
            notices += acquired.notices
        except MrtransError as error:  # of another head: the page is worth having without it
            notices.append(str(error))
    result = replace(result, info={**result.info, "notices": [*result.info["notices"], *notices]})
    measured = job.measured
    return result_page(
        result,
        Beside(
            source=run.source_found,
            acquired=acquired,
            lesions=None if measured is None else measured.report,
            region="" if measured is None else measured.region,
            numbers=job.numbers,
            on_screen=job.on_screen,
            samples_kept=result.samples is not None,
        ),
    )
