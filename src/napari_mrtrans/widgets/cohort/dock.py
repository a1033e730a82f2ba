"""The dock of many scans: a folder or the images of the window, queued, with a table of their verdicts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from ...errors import MrtransError
from ..start_dock import REFRESH_MS, StartDock
from ..state import DockState
from ..wording import for_many
from .form import CohortForm
from .opening import open_scan
from .run import Queue
from .table import ScanTable

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...cohort.plan import Scan
    from ..transform.worker import TransformWorker

logger = logging.getLogger(__name__)

#: Steps of the bar for each scan.
STEPS = 100


class CohortWidget(StartDock):
    """Transforms every scan of a folder, or every image that is ticked; what is finished is kept, also by a cancel."""

    form: CohortForm

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(CohortForm(napari_viewer), "Start", parent)
        self._viewer = napari_viewer
        self._queue: Queue | None = None
        self._noticed = ""
        self._worker: TransformWorker | None = None
        self.table = ScanTable()
        self.table.hide()
        self._stack((self.form, self.button, self.progress, self.message, self.table), 440, tall=self.table)
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._tick)
        self.table.opened.connect(self.open)
        self._on_choice()

    @property
    def queue(self) -> Queue | None:
        """What runs or ran last."""
        return self._queue

    def start(self) -> None:
        """Run what the form says; scans that an earlier run has finished are not done again."""
        if self._state.busy:
            return
        try:
            self._queue = Queue(self.form.asked())
        except MrtransError as error:
            self._fail(str(error))
            return
        self._say("")
        self._noticed = ""
        self.table.show_queue(None, True)
        self.table.hide()
        self._worker = worker = self._queue.worker()
        worker.finished.connect(self._on_finished)
        self._set_state(DockState.LOADING)
        self._begin_activity(f"{self._queue.asked.request.pair} of many scans", self._queue.cancel)
        self._timer.start()
        worker.start()

    def cancel(self) -> None:
        """Stop at the next network evaluation."""
        if self._queue is not None and self._state.busy:
            self._queue.cancel()
            if isalive(self):
                self._set_state(DockState.CANCELLING)

    def open(self, scan: Scan) -> None:
        """Add source, mean and std of a finished scan to the window; say why where it has none."""
        queue = self._queue
        if queue is None or queue.order is None or scan not in queue.rows:
            return
        row = queue.rows[scan]
        if row.status == "failed":
            self._say(f"{scan.path.name}: {for_many(row.reason)}")
            return
        if row.status != "done":
            self._say(f"{scan.path.name} is not done yet.")
            return
        try:
            open_scan(self._viewer, scan, queue.order, queue.voxels.get(scan.path))
        except Exception as error:  # of any reader
            logger.info("A result cannot be opened", exc_info=True)
            said = str(error).splitlines()[:1] or [type(error).__name__]
            self._complain(f"The result of {scan.path.name} cannot be opened: {said[0]}")
            return
        if self._state.busy:  # in place of what an earlier row has said
            self._say(self._noticed)

    def _end(self) -> None:
        self.cancel()
        super()._end()

    def _tick(self) -> None:
        queue = self._queue
        if queue is None:
            return
        if queue.order is None:
            self.progress.show_waiting(queue.monitor.stage)
            return
        if self._state is DockState.LOADING:
            self._set_state(DockState.RUNNING)
        self.table.show()
        self.table.show_queue(queue, self._state.busy)
        total = STEPS * len(queue.scans)
        done = round(STEPS * (queue.done + queue.failed + sum(dict(queue.shares).values())))
        self.progress.show_count(done, total, queue.line())
        if self._activity is not None:
            self._activity.show(done, total)
        notices = "\n".join(queue.notices)
        if notices != self._noticed:  # or what a row has said would be gone at once
            self._noticed = notices
            self._say(notices)

    def _on_finished(self, event: Any = None) -> None:
        queue, self._worker = self._queue, None
        self._timer.stop()
        self._end_activity()
        if queue is None or not isalive(self):
            return
        cancelled = queue.monitor.cancel.is_set()
        self._set_state(DockState.FAILED if queue.problem else DockState.CANCELLED if cancelled else DockState.DONE)
        self._catch_up()
        if queue.order is not None:
            self._tick()
        self.progress.reset()
        if queue.problem:
            self._complain(queue.problem)
            return
        self._say(queue.ending())
        self._announce(f"{queue.title}: {queue.ending()}")
