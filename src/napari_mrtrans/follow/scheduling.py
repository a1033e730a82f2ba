"""Which slice to compute next while somebody scrolls. Safe from several threads; knows no images and no window."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from threading import Condition

#: Slices on either side of the one on screen that are computed ahead of the user.
REACH = 6


@dataclass(frozen=True)
class Task:
    """A slice to compute; ``preview``: quickly, to be refined later."""

    index: int
    preview: bool


class Stage(Enum):
    """How far a slice is."""

    UNKNOWN = auto()
    EMPTY = auto()
    WAITING = auto()
    PREVIEWED = auto()
    FINISHED = auto()


class Scheduler:
    """Orders the slices round the one on screen: its preview, its refinement, then the neighbours'.

    Nothing is queued: what comes next is found anew for wherever the user is by then, so slices scrolled past are never
    begun, and one that is under way is no longer :meth:`wanted`.

    Args:
        reach: Neighbours on either side that are computed when there is nothing else to do.
    """

    def __init__(self, reach: int = REACH) -> None:
        self._changed = Condition()
        self._reach = reach
        self._centre = 0
        self._direction = 1
        self._everything = False
        self._offered: frozenset[int] | None = None
        self._previews = True
        self._previewed: set[int] = set()
        self._finished: set[int] = set()
        self._closed = False

    @property
    def finished(self) -> int:
        """Number of slices that need no more work."""
        return len(self._finished)

    @property
    def offered(self) -> int:
        """Number of slices that can be computed; 0 until they are offered."""
        return len(self._offered or ())

    def stage(self, index: int) -> Stage:
        """How far slice ``index`` is; UNKNOWN until slices are offered, EMPTY where it is not among them."""
        with self._changed:
            if index in self._finished:
                return Stage.FINISHED
            if self._offered is None:
                return Stage.UNKNOWN
            if index not in self._offered:
                return Stage.EMPTY
            return Stage.PREVIEWED if index in self._previewed else Stage.WAITING

    def offer(self, slices: Collection[int], *, previews: bool = True) -> None:
        """These slices can be computed; ``previews``: each has a quick version, worth showing first."""
        with self._changed:
            self._offered, self._previews = frozenset(slices), previews
            self._changed.notify_all()

    def look_at(self, index: int, *, everything: bool = False) -> None:
        """Slice ``index`` is on screen; ``everything``: so are all others, as lines or as a volume."""
        with self._changed:
            if index != self._centre:
                self._direction = 1 if index > self._centre else -1
            self._centre, self._everything = index, everything
            self._changed.notify_all()

    def next(self) -> Task | None:
        """The most urgent task, waiting until there is one; None once closed."""
        with self._changed:
            while not self._closed:
                task = self._most_urgent()
                if task is not None:
                    return task
                self._changed.wait()
            return None

    def wanted(self, task: Task) -> bool:
        """Whether a task under way is still worth finishing: nothing is missing on screen that it holds up."""
        with self._changed:
            if self._closed:
                return False
            if task.index == self._centre:
                return True
            return self._within_reach(task.index) and self._missing(self._centre) is None

    def finish(self, task: Task) -> None:
        """A task is done."""
        with self._changed:
            (self._previewed if task.preview else self._finished).add(task.index)

    def close(self) -> None:
        """Want nothing any more, and wake whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _within_reach(self, index: int) -> bool:
        return self._everything or abs(index - self._centre) <= self._reach

    def _missing(self, index: int) -> Task | None:
        if index not in (self._offered or ()) or index in self._finished:
            return None
        return Task(index, preview=self._previews and index not in self._previewed)

    def _most_urgent(self) -> Task | None:
        near: Collection[int] = range(self._centre - self._reach, self._centre + self._reach + 1)
        if self._everything:
            near = self._offered or ()
        tasks = [task for index in near if (task := self._missing(index)) is not None]
        return min(tasks, key=self._urgency, default=None)

    def _urgency(self, task: Task) -> tuple[bool, bool, int, bool]:
        """Smallest first: on screen, previews, near, where the user is heading."""
        ahead = (task.index - self._centre) * self._direction
        return task.index != self._centre, not task.preview, abs(ahead), ahead < 0
