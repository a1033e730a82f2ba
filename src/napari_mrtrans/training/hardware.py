"""What a run computes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """What a run computes on.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: How many on each machine. Several share every batch, and losses, steps and results are those of one
            (dropout apart). Each process sees the same data and folders, and the first alone writes and speaks.
        num_nodes: Machines, each of which torchrun or SLURM starts.
        workers: Background decoding processes.
        compiled: Compile the network first.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    workers: int = 1
    compiled: bool = False


#: One device, whichever there is.
HERE = Hardware()
