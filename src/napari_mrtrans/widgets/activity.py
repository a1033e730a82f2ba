"""A run in napari's own activity dock."""

from __future__ import annotations

from time import monotonic

from napari.utils import progress

#: Seconds between two steps of the bar, at each of which napari handles whatever events wait, redrawing among them.
_PAUSE = 1.0


class Activity:
    """One line there, from the begin of a run to its end.

    Args:
        title: What runs.
    """

    def __init__(self, title: str) -> None:
        self._bar = progress(total=0, desc=title)
        self._stepped = float("-inf")

    def show(self, done: int, total: int) -> None:
        """``done`` of ``total``, once a second at most; a total of 0: nothing to count yet."""
        if total and total != self._bar.total:
            self._bar.total = total
        if total and done != self._bar.n and monotonic() - self._stepped >= _PAUSE:
            self._stepped = monotonic()
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """It has ended."""
        self._bar.close()
