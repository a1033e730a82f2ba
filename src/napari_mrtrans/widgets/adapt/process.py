"""The command that adapts, in a process of its own: what it tells line by line, and the orders it takes."""

from __future__ import annotations

import json
import sys
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, QProcess, QProcessEnvironment, Signal

from ...paths import user_checkpoint_dir

_CODE = "from napari_mrtrans.cli.train import main; main()"
#: How long napari, at its own end, waits for what saves and leaves.
QUIT_MS = 3000
#: Kept alive until they have ended, whatever becomes of their dock.
_alive: set[AdaptProcess] = set()


def command() -> list[str]:
    """The interpreter, and what it runs."""
    return [sys.executable, "-P", "-c", _CODE, "adapt"]


class AdaptProcess(QObject):
    """One adaptation at work.

    Args:
        words: Of the command, but for those that make it talk.

    Attributes:
        result: What it told last of all; None until then.

    Signals:
        told: A line that it told, as a dict.
        ended: What went wrong, in a line; empty where :attr:`result` is there.
    """

    told = Signal(object)
    ended = Signal(str)

    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self.result: dict[str, Any] | None = None
        self._words = words
        self._errors = ""
        self._left = False
        self._process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("NAPARI_MRTRANS_CHECKPOINTS", str(user_checkpoint_dir()))
        environment.insert("PYTHONIOENCODING", "utf-8")
        self._process.setProcessEnvironment(environment)
        self._process.readyReadStandardOutput.connect(self._on_output)
        self._process.readyReadStandardError.connect(self._on_errors)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_failure)

    def start(self) -> None:
        """Let it begin."""
        program, *words = command()
        _alive.add(self)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._on_quit)
        self._process.start(program, [*words, *self._words, "--json", "--listen"])

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self._process.state() != QProcess.ProcessState.NotRunning

    def keep_best(self) -> None:
        """Tell it to end with the best so far."""
        self._process.write(b"stop\n")

    def leave(self) -> None:
        """Nobody listens any more: let it save what there is and end, which it does by itself."""
        self._left = True
        self._process.closeWriteChannel()

    def kill(self) -> None:
        """End it now; what it has written is whole."""
        self._process.kill()

    def _on_quit(self) -> None:
        if not self.running:
            return
        self.leave()
        if not self._process.waitForFinished(QUIT_MS):
            self.kill()

    def _on_output(self) -> None:
        while self._process.canReadLine():
            self._take(bytes(self._process.readLine().data()))

    def _take(self, line: bytes) -> None:
        try:
            document = json.loads(line)
        except ValueError:  # of a library that talks
            return
        if not isinstance(document, dict) or self._left:
            return
        if "table" in document:
            self.result = document
        else:
            self.told.emit(document)

    def _on_errors(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        self._errors = (self._errors + text)[-4000:]

    def _on_finished(self) -> None:
        self._on_output()
        self._on_errors()
        self._end("" if self.result is not None else self._why())

    def _on_failure(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # nothing else will be heard of it
            self._end(f"Python could not be started ({self._process.errorString()}).")

    def _end(self, problem: str) -> None:
        _alive.discard(self)
        if not self._left:
            self.ended.emit(problem)

    def _why(self) -> str:
        if self._process.exitStatus() == QProcess.ExitStatus.CrashExit:
            return "The process that trains was killed (by you, or for want of memory)."
        said = [line for line in self._errors.splitlines() if line.strip()]
        return said[-1].strip() if said else f"The process that trains ended with status {self._process.exitCode()}."
