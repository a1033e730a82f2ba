"""Runs commands in processes forked from this one, which has everything loaded: each starts in milliseconds.

A script. It reads orders (``Order`` in runs.py) from stdin, one JSON document a line, and answers with two lines: the
process's number when it begins, its exit status when it has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR
HEARD = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


class Watch:
    """Notes what the process does to files below a folder, a line each; at the event ``kill_at`` the process is killed,
    ``after`` seconds later, and at the event ``vanish_at`` a file is removed."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order, self.count, self.pid = order, 0, os.getpid()
        self.file = os.open(order["events"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in HEARD or os.getpid() != self.pid:
            return
        if event == "open" and Path(str(arguments[0])).name == self.order["vanish_at"]:
            Path(self.order["vanishes"]).unlink(missing_ok=True)
        if not self.heeds(event, arguments):
            return
        count, self.count = self.count, self.count + 1
        os.write(self.file, f"{event}\t{os.fspath(arguments[0])}\n".encode())
        if count == self.order["vanish_at"]:
            Path(self.order["vanishes"]).unlink()
        if count == self.order["kill_at"]:
            if not self.order["after"]:
                os.kill(self.pid, signal.SIGKILL)
            threading.Thread(target=self.kill_later, daemon=True).start()

    def kill_later(self) -> None:
        time.sleep(self.order["after"])
        os.kill(self.pid, signal.SIGKILL)

    def heeds(self, event: str, arguments: tuple[Any, ...]) -> bool:
        path = arguments[0]
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(self.order["below"]):
            return False
        if event == "open":
            _, mode, flags = arguments
            return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(flags & WRITES)
        return True


def begin(order: dict[str, Any]) -> None:
    """In the new process: see to what the order says, then run the command as its entry point does."""
    from napari_mrtrans.cli import main, train
    from napari_mrtrans.training import loop

    os.setsid()
    for stream, file in ((1, order["output"]), (2, order["errors"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    if order["largest"] is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], resource.RLIM_INFINITY))
    losses, told = os.open(order["losses"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), loop.Progress

    def noted(step: int, total: int, loss: float, seconds: float) -> loop.Progress:
        os.write(losses, f"{step} {loss.hex()}\n".encode())
        return told(step, total, loss, seconds)

    loop.Progress = noted
    Watch(order)
    sys.argv = order["argv"]
    (main if order["argv"][0] == "napari-mrtrans" else train).main()


def load() -> None:
    """What the commands import."""
    import lightning_fabric  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import SimpleITK  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import torchio  # noqa: F401

    import napari_mrtrans.cohort.run
    import napari_mrtrans.evaluation.calibrate
    import napari_mrtrans.evaluation.evaluate
    import napari_mrtrans.prepare.pipeline
    import napari_mrtrans.training.loop  # noqa: F401


def serve() -> None:
    """Until stdin ends."""
    answers = os.dup(1)
    os.dup2(2, 1)
    load()
    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            os.close(answers)
            status = 99
            try:
                begin(json.loads(line))
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(bool(end.code))
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        os.write(answers, b"%d\n" % pid)
        os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    serve()
