"""One row for each scan: how far it is, and how it was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QIcon, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidgetItem, QWidget

from ..figure_table import FigureTable
from ..verdict_sign import verdict_icon
from ..wording import for_many

if TYPE_CHECKING:
    from ...cohort.plan import Scan
    from ...cohort.summary import Row
    from .run import Queue

#: Heading and what it means.
COLUMNS = {
    "Scan": "Double-click, or Return: opens source, mean and std.",
    "Verdict": "P(OOD) in words, with what speaks against the scan; why it failed; or how far it is.",
    "P(OOD)": "Probability that the scan is unlike those the model was trained on, so that its answer may be wrong.",
    "σ̂": "How far the samples differ from one another, averaged over the head.",
    "s": "Seconds it took.",
}
NAME, VERDICT, P_OOD, SIGMA, SECONDS = range(len(COLUMNS))
_SCAN, _KEY = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
HEIGHT = 180


class _Item(QTableWidgetItem):
    """Sorted by its key, so that 10 comes after 9, and what is unknown comes last."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return bool(self.data(_KEY) < other.data(_KEY))


class ScanTable(FigureTable):
    """The scans of a queue; a click on a heading sorts them.

    Signals:
        opened: The scan whose row was double-clicked, or on which Return was pressed.
    """

    opened = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(COLUMNS.items(), "Scans and their verdicts", parent)
        self._scans: list[Scan] = []
        self._shown: dict[Scan, tuple[str, ...]] = {}
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setMinimumHeight(HEIGHT)
        header, side = self._header, self._side
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(VERDICT, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Interactive)
        self.setColumnWidth(NAME, 120)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their ends
        self.setWordWrap(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # as they are queued, until a heading is clicked
        side.setDefaultSectionSize(24)
        side.setMinimumSectionSize(24)
        self.cellActivated.connect(self._on_activated)

    def show_queue(self, queue: Queue | None, running: bool) -> None:
        """Show how far a queue is; rows that are as they were are left alone."""
        scans = [] if queue is None else queue.scans
        rows = {} if queue is None else dict(queue.rows)
        if scans != self._scans:
            self._scans, self._shown = list(scans), {}
            self.setSortingEnabled(False)
            self.setRowCount(len(scans))
            for number in range(len(scans)):
                for column in range(len(COLUMNS)):
                    self.setItem(number, column, _Item())
                first = self.item(number, 0)
                assert first is not None
                first.setData(_SCAN, number)
        shares = {} if queue is None else dict(queue.shares)
        changed = {
            scan: texts
            for scan in scans
            if scan in rows and (texts := _texts(scan, rows[scan], shares.get(scan), running)) != self._shown.get(scan)
        }
        if not changed:
            return
        self.setSortingEnabled(False)
        at = {self._number(line): line for line in range(self.rowCount())}
        for number, scan in enumerate(self._scans):
            if scan in changed:
                self._show_row(at[number], rows[scan], changed[scan])
        self._shown |= changed
        self.setSortingEnabled(True)

    def _number(self, line: int) -> int:
        item = self.item(line, 0)
        assert item is not None
        return int(item.data(_SCAN))

    def _show_row(self, line: int, row: Row, texts: tuple[str, ...]) -> None:
        unknown = 2.0
        order = ("failed", "done", "not done").index(row.status)
        p_ood = -row.ood_probability if row.ood_probability is not None else unknown
        sigma = -row.sigma_hat if row.sigma_hat is not None else unknown
        said = texts[VERDICT]
        keys: tuple[Any, ...] = (texts[NAME].casefold(), (order, p_ood, said), p_ood, sigma, row.seconds or 0.0)
        tip = "\n".join(filter(None, (row.scan, said, "" if row.status == "failed" else row.reason)))
        for column, (text, key) in enumerate(zip(texts, keys, strict=True)):
            item = self.item(line, column)
            assert item is not None
            item.setText(text)
            item.setData(_KEY, key)
            item.setToolTip(tip)
            if column > VERDICT:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        sign = self.item(line, VERDICT)
        assert sign is not None
        sign.setIcon(verdict_icon(row.verdict) if row.verdict else QIcon())
        self.resizeRowToContents(line)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Lines wrap anew."""
        super().resizeEvent(event)
        self.resizeRowsToContents()

    def _on_activated(self, line: int, column: int) -> None:
        self.opened.emit(self._scans[self._number(line)])


def _texts(scan: Scan, row: Row, share: float | None, running: bool) -> tuple[str, ...]:
    """What the cells of a row say."""
    name = row.scan.rpartition("/")[2].removesuffix(".gz").removesuffix(".nii")
    if row.status == "failed":
        said = f"failed: {for_many(row.reason).replace(str(scan.path), scan.path.name)}"
    elif row.status == "done":
        said = f"{row.verdict}: {row.ood_reason}" if row.ood_reason else row.verdict
    else:
        said = f"{100 * share:.0f} %" if share is not None else "waiting" if running else "not done"
    return name, said, _number(row.ood_probability, 2), _number(row.sigma_hat, 4), _number(row.seconds, 0)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
