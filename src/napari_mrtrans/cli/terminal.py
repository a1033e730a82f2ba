"""What both command lines show and read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..errors import MrtransError
from ..wording import clock

if TYPE_CHECKING:
    from rich.console import Console


class ProgressBar:
    """A progress bar on a terminal; elsewhere a line now and then. Gives (tell a finished slice, say a notice).

    Args:
        title: What is computed.
        unit: What is counted; may be empty.
        console: Where it is; None = stderr.
        pause: Seconds at least between two lines where there is no terminal.
        held: Takes notices, which then are part of the title only until the work is done; unless it fails, which
            prints them.
    """

    def __init__(
        self,
        title: str,
        unit: str = "slice",
        *,
        console: Console | None = None,
        pause: float = 60.0,
        held: list[str] | None = None,
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.title, self.unit, self.console, self.pause = title, unit, console or Console(stderr=True), pause
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{unit} {{task.completed:.0f}}/{{task.total}}".strip()),
            TimeRemainingColumn(),
        )
        self._held = held
        self.visible = self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, disable=not self.visible)
        self.task = self.bar.add_task(title, total=None)
        self._spoken = time.monotonic()

    def __enter__(self) -> tuple[Any, Any]:
        self.bar.start()
        tell = lambda update: self.show(self.title, update.done, update.total)  # noqa: E731
        return tell, self.say if self._held is None else self._hold

    def _hold(self, line: str) -> None:
        assert self._held is not None
        self._held.append(line)
        self.bar.update(self.task, description=f"{self.title} · {line}".replace("[", r"\["))

    def show(self, title: str, done: float, total: int, line: str = "") -> None:
        """Set it: what is computed, how far it is, and the line that says so where there is no terminal."""
        self.bar.update(self.task, description=title, completed=done, total=total)
        if done and not self.visible and time.monotonic() - self._spoken > self.pause:
            self._spoken = time.monotonic()
            self.say(line or self._line(done, total))

    def _line(self, done: float, total: int) -> str:
        """``T1→T2 · t1-t2-flair-flow: slice 41/180, 1:20 left``."""
        left = self.bar.tasks[0].time_remaining
        line = f"{self.title}: {self.unit} {done:.0f}/{total}"
        return line if left is None else f"{line}, {clock(left)} left"

    def say(self, line: str) -> None:
        """Print a line as it is, above the bar."""
        self.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.bar.stop()
        if kind is not None:
            for line in dict.fromkeys(self._held or ()):
                self.say(line)


def slice_range(text: str | None) -> tuple[int, int] | None:
    """Read ``40:60``.

    Raises:
        MrtransError: it is no range.
    """
    if text is None:
        return None
    first, _, last = text.partition(":")
    try:
        return int(first), int(last)
    except ValueError:
        raise MrtransError(f"--slices '{text}' is no range; write it as 40:60.") from None
