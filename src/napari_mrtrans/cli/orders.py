"""Orders on stdin, from a window that runs a command in a process of its own.

A pipe is the one channel that is the same on every system, and it ends with the window, however that ends.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from threading import Event, Thread

#: Seconds in which a command leaves by itself. What takes longer (scans are being registered) is ended there and then:
#: files appear whole or not at all.
GRACE = 10.0
#: Of a process that ended so.
STATUS = 130


@dataclass
class Orders:
    """Reads a descriptor in the background.

    Attributes:
        source: The descriptor; None: nothing is read.
        stop: Set by a line ``stop``.
        leave: Set by the end of what is read.
    """

    source: int | None
    stop: Event = field(default_factory=Event)
    leave: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        if self.source is not None:
            Thread(target=self._read, args=(self.source,), daemon=True).start()

    def _read(self, source: int) -> None:
        # not through sys.stdin, whose lock a waiting thread would hold while the interpreter ends
        said = b""
        while more := os.read(source, 4096):
            said += more
            if b"stop" in said.splitlines():
                self.stop.set()
        self.leave.set()
        time.sleep(GRACE)
        os._exit(STATUS)


NO_ORDERS = Orders(None)
