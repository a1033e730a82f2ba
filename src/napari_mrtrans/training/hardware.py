"""What a run computes on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import nn

from ..checkpoints.card import Training
from ..devices import bf16_is_fast, channels_last_trains_faster, processor_name, to_channels_last
from ..errors import RecipeError


@dataclass(frozen=True)
class Hardware:
    """What a run computes on.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: How many on each machine. Several share every batch, and losses, steps and results are those of one
            (dropout apart; models with a critic or batch normalisation train on one). Each process sees the same data
            and folders, and the first alone writes and speaks.
        num_nodes: Machines, each of which torchrun or SLURM starts.
        workers: Background decoding processes.
        compiled: Compile the network first.

    Raises:
        RecipeError: the accelerator is one GPU of several, as other commands take it.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    workers: int = 1
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.accelerator.startswith("cuda:"):
            number = self.accelerator.removeprefix("cuda:")
            raise RecipeError(
                "Training takes a kind of device and no number: give cuda, and choose the GPU by the environment, "
                f"CUDA_VISIBLE_DEVICES={number}."
            )


#: One device, whichever there is.
HERE = Hardware()


def precision(asked: Literal["auto", "float32", "bf16"], accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """Fabric's word for the number format of a recipe."""
    if asked == "auto":
        return "bf16-mixed" if bf16_is_fast(accelerator) else "32-true"
    return "bf16-mixed" if asked == "bf16" else "32-true"


def fabric_of(hardware: Hardware, number_format: Literal["bf16-mixed", "32-true"]) -> Fabric:
    """What drives the devices. One device is one process, however many tasks a SLURM job around it has."""
    alone = hardware.devices * hardware.num_nodes == 1
    return Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        precision=number_format,
        plugins=[LightningEnvironment()] if alone else None,
    )


def arrange(model: nn.Module, device: torch.device, number_format: str) -> None:
    """Bring the weights of a network into the memory order in which training in ``number_format`` is fastest; in place.

    The format is Fabric's word for it, as :func:`precision` gives.
    """
    if channels_last_trains_faster(device.type, bf16=number_format.startswith("bf16")):
        to_channels_last(model)


def finite_gradients(fabric: Fabric, model: nn.Module, optimiser: torch.optim.Optimizer, clip: float) -> bool:
    """Clip the gradients to this norm; whether they are finite, as those of a finite loss need not be."""
    norm = fabric.clip_gradients(model, optimiser, max_norm=clip, error_if_nonfinite=False)
    return norm is None or bool(torch.isfinite(norm))


def check_shared(model: nn.Module, fabric: Fabric) -> None:
    """See that several devices would take the steps of one.

    Raises:
        RecipeError: each would normalise by its own share of the batch.
    """
    if fabric.world_size > 1 and any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()):
        raise RecipeError("A network with batch normalisation (resvit) trains on one device; use --devices 1.")


def what_it_took(hours: float, device: torch.device) -> Training:
    """Hours, peak memory and name of the device so far."""
    gpu = device.type == "cuda"
    return Training(
        hours=round(hours, 3),
        peak_memory_gib=round((torch.cuda.max_memory_allocated(device) if gpu else _peak_of_process()) / 2**30, 2),
        device=processor_name(device),
    )


def _peak_of_process() -> int:
    """Largest resident memory of this process so far, in bytes; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
