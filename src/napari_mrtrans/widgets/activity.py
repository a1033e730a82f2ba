"""A run in napari's own activity dock."""

from __future__ import annotations

from napari.utils import progress


class Activity:
    """One line there, from the begin of a run to its end.

    Args:
        title: What runs.
    """

    def __init__(self, title: str) -> None:
        self._bar = progress(total=0, desc=title)

    def show(self, done: int, total: int) -> None:
        """``done`` of ``total``; a total of 0: nothing to count yet."""
        if total and total != self._bar.total:
            self._bar.total = total
        if total and done != self._bar.n:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """It has ended."""
        self._bar.close()
