"""One adaptation as the dock sees it: its folder first, then the process, and what is left of both at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ...asked.begun import Begun, drop, has_learned, is_done, tidy
from ...checkpoints.removing import remove
from ..background import in_background
from .process import AdaptProcess


def discard(told: dict[str, Any]) -> None:
    """Delete a result: what was installed of it, if that is still there, and its folder.

    Args:
        told: What the command told last.

    Raises:
        MrtransError: one of them cannot be deleted.
    """
    if told["installed"] and Path(told["path"]).is_file():
        remove(told["name"])
        told["installed"] = False
    drop(Path(told["report"]).parent)


class AdaptRun(QObject):
    """Whatever happens to it, its folder holds a result, or something to go on with, or is gone.

    Args:
        begun: What is asked.
        write: Puts it, and what it needs, on disk; called in a thread.

    Signals:
        told: A line of the command, as a dict.
        succeeded: What the command told last.
        failed: Why not, in a line.
        dropped: All of it is gone, as was asked; True: but for what was learned in an earlier run.
    """

    told = Signal(object)
    succeeded = Signal(object)
    failed = Signal(str)
    dropped = Signal(bool)

    def __init__(self, begun: Begun, write: Callable[[], Begun]) -> None:
        super().__init__()
        self.begun = begun
        self._write = write
        self._process: AdaptProcess | None = None
        self._dropping = self._all = self._left = False

    def start(self) -> None:
        """Let it begin."""
        in_background(self._write, self._on_written)

    def keep_best(self) -> None:
        """End soon, with the best so far."""
        if self._process is not None:
            self._process.keep_best()

    def drop(self, *, everything: bool) -> None:
        """End now. What was learned goes only if ``everything`` has to."""
        self._dropping, self._all = True, everything
        if self._process is not None:
            self._process.kill()

    def leave(self) -> None:
        """Its window is gone: it saves what there is and ends by itself."""
        if self._process is not None and not self._left:
            self._process.leave()
        self._left = True

    def _on_written(self, written: Begun | None, problem: str) -> None:
        if written is None or self._dropping or self._left:
            self._clean_up(problem)
            return
        self.begun = written
        self._process = process = AdaptProcess(written.words())
        process.told.connect(self.told)
        process.ended.connect(self._on_ended)
        process.start()

    def _on_ended(self, problem: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        result = process.result
        if result is None:
            self._clean_up(problem)
        elif self._all:  # it was done before it could be ended
            in_background(partial(discard, result), lambda *_: self._tell(problem, False))
        else:
            in_background(partial(tidy, self.begun.folder), lambda *_: self.succeeded.emit(result))

    def _clean_up(self, problem: str) -> None:
        """Of what can be gone on with, all stays, unless the user wants none of it."""
        folder = self.begun.folder
        kept = has_learned(folder) or is_done(folder)
        if kept and not self._all:
            self._tell(problem, kept)
        else:
            in_background(partial(drop, folder), lambda *_: self._tell(problem, False))

    def _tell(self, problem: str, kept: bool) -> None:
        if self._dropping:
            self.dropped.emit(kept)
        elif not self._left:
            self.failed.emit(problem)
