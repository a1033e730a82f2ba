"""Installing in the background: what that and the dock tell each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...checkpoints.checkpoint import Checkpoint

#: Installs, and tells the function that it is given what is worth a line.
Job = Callable[[Callable[[str], None]], "Checkpoint"]


@dataclass(eq=False)
class Transfer:
    """How far a download is. Safe from both threads.

    Attributes:
        cancel: Set by the dock.
        done: Bytes that have come.
        total: Bytes in all, 0 where the server does not say.
    """

    cancel: Event = field(default_factory=Event)
    done: int = 0
    total: int = 0

    def report(self, done: int, total: int) -> None:
        """Note how far it is."""
        self.done, self.total = done, total
