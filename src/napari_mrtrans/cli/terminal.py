"""What both command lines show and read."""

from __future__ import annotations

from typing import Any

import typer

from ..errors import MrtransError


class ProgressBar:
    """A progress bar on a terminal; quiet otherwise. Gives (tell a finished slice, say a notice)."""

    def __init__(self, title: str, unit: str = "slice") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.title, console = title, Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(unit + " {task.completed:.0f}/{task.total}"),
            TimeRemainingColumn(),
        )
        self.visible = console.is_terminal
        self.bar = Progress(*columns, console=console, disable=not self.visible)
        self.task = self.bar.add_task(title, total=None)

    def __enter__(self) -> tuple[Any, Any]:
        self.bar.start()
        tell = lambda update: self.show(self.title, update.done, update.total)  # noqa: E731
        return tell, lambda line: typer.echo(line, err=True)

    def show(self, title: str, done: float, total: int) -> None:
        """Set it: what is computed, and how far it is."""
        self.bar.update(self.task, description=title, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


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
