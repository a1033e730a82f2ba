"""Progress of one run: counts, the time that is left, and the two widgets that show them."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from ...wording import clock
from ..named_text import NamedText


class Countdown:
    """Estimates the time left from the pace since the first network evaluation."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._started: float | None = None
        self._last = 0.0
        self.done = 0
        self.total = 0

    def start(self) -> None:
        """Begin to measure; later calls change nothing."""
        if self._started is None:
            self._started = self._last = self._now()

    def advance(self, done: int, total: int) -> None:
        """``done`` of ``total`` slices are finished."""
        self.start()
        self.done, self.total = done, total
        self._last = self._now()

    @property
    def seconds(self) -> float:
        """From the first network evaluation to the last slice."""
        return 0.0 if self._started is None else self._last - self._started

    def left(self) -> float | None:
        """Seconds left, or None before the first slice."""
        if self._started is None or not self.done:
            return None
        pace = (self._last - self._started) / self.done
        return max(pace * (self.total - self.done) - (self._now() - self._last), 0.0)

    def text(self) -> str:
        """``slice 41/180 · 1:20 left``."""
        left = self.left()
        return f"slice {self.done}/{self.total} · {clock(left)} left" if left is not None else ""


class _Bar(QProgressBar):
    """A thin bar that redraws with the rest of the window.

    ``QProgressBar.setValue`` repaints at once, and with napari's canvas in the same window that costs a whole frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setFixedHeight(8)

    def show_value(self, value: int, maximum: int) -> None:
        """Set both without an immediate repaint; maximum 0 shows a moving bar."""
        self.setUpdatesEnabled(False)
        self.setRange(0, maximum)
        self.setValue(value)
        self.setUpdatesEnabled(True)


class ProgressLine(QWidget):
    """A bar, and while something runs one line under it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = _Bar()
        self._label = NamedText()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._bar)
        column.addWidget(self._label)
        self.reset()

    @property
    def text(self) -> str:
        """The line under the bar."""
        return self._label.text()

    def reset(self) -> None:
        """Empty bar, empty line."""
        self._bar.show_value(0, 1)
        self._say("")

    def show_waiting(self, text: str) -> None:
        """A moving bar: nothing to count yet."""
        self._bar.show_value(0, 0)
        self._say(text)

    def show_count(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total``."""
        self._bar.show_value(done, max(total, 1))
        self._say(text)

    @property
    def count(self) -> tuple[int, int]:
        """Done and total; (0, 0) while there is nothing to count."""
        return self._bar.value() if self._bar.maximum() else 0, self._bar.maximum()

    def _say(self, text: str) -> None:
        self._label.setText(text)
        self._label.setVisible(bool(text))
