"""A table to read."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget


class FigureTable(QTableWidget):
    """Cannot be edited, and its columns say what they mean.

    Args:
        columns: Heading and meaning of each.
        name: What it is, for who cannot see it.
        parent: The widget around it.
    """

    def __init__(self, columns: Iterable[tuple[str, str]], name: str, parent: QWidget | None = None) -> None:
        headings = list(columns)
        super().__init__(0, len(headings), parent)
        for number, (heading, meaning) in enumerate(headings):
            item = QTableWidgetItem(heading)
            item.setToolTip(meaning)
            self.setHorizontalHeaderItem(number, item)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAccessibleName(name)
        header, side = self.horizontalHeader(), self.verticalHeader()
        assert header is not None and side is not None
        self._header, self._side = header, side
        side.hide()

    def fit(self, most: int | None = None) -> None:
        """Be as high as all rows, or as the first ``most`` of them."""
        rows = sum(self.rowHeight(row) for row in range(self.rowCount())[:most])
        self.setFixedHeight(self._header.sizeHint().height() + rows + 2 * self.frameWidth())
