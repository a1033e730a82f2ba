"""Compute devices: what there is, what the user asked for, and where bfloat16 pays."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import DeviceError
from .paths import trial_file, write_shared

if TYPE_CHECKING:
    import torch

#: Of the usual way's time, below which another (bfloat16, channels last) is taken.
WORTH_IT = 0.9
#: Pairs of runs that are timed at first, and at most.
PAIRS, MOST_PAIRS = 8, 32
#: What a full memory is called: by PyTorch, and by the libraries of CUDA.
_FULL = re.compile(r"out of memory|can(?:'|no)t allocate memory|not enough memory|_ALLOC_FAILED", re.IGNORECASE)

M = TypeVar("M", bound="torch.nn.Module")


def checked_device(name: str) -> str:
    """The name of a device, whether or not that is there; without torch.

    Raises:
        DeviceError: it is none.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise DeviceError(f"Unknown device '{name}'; choose auto, cpu, cuda, cuda:k or mps.")
    return name


def resolve_device(name: str = "auto") -> tuple[torch.device, str | None]:
    """The torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:k`` or ``mps``, and a notice for the user or None.

    A missing accelerator is not fatal: the CPU is used and the notice says so.

    Raises:
        DeviceError: not a device name.
    """
    import torch

    checked_device(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), None
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu"), None
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        return torch.device("cpu"), "CUDA not available; using CPU."
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"No GPU number {device.index}; {torch.cuda.device_count()} found. Choose cuda:0 … or cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        return torch.device("cpu"), "MPS not available; using CPU."
    return device, None


def is_out_of_memory(error: Exception) -> bool:
    """Whether a computation ended because the memory of its device is full."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_FULL.search(str(error))))


def memory_line(device_type: str, when: str) -> str:
    """What is said where the memory of a device is full; ``when`` reads "at slice 41"."""
    name, remedy = ("computer", "Close") if device_type == "cpu" else ("GPU", "Choose CPU, or close")
    return f"The {name} ran out of memory {when}. {remedy} other programs."


def failure_line(device_type: str, error: Exception) -> str:
    """What is said of a device that failed."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return f"The {device_type} device failed: {said[0]}"


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether networks run in bfloat16 on a device, which may be ``auto``.

    GPUs: where there are bfloat16 units (Ampere and later). CPUs: where a short trial of a network's layers is faster
    (AMX, AVX512-BF16); it is done once for each machine and number of threads, and remembered where it was clear. The
    environment variable NAPARI_MRTRANS_BF16 (1 or 0) overrides it.
    """
    import torch

    device = resolve_device()[0] if device == "auto" else torch.device(device)
    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return _decided("NAPARI_MRTRANS_BF16", "", bf16_trial)


def channels_last_trains_faster(device_type: str, *, bf16: bool) -> bool:
    """Whether a network is trained with its weights in the memory order of :func:`to_channels_last` here.

    Accelerators: yes. CPUs: where a short trial is faster, in the number format of the training; remembered as that of
    :func:`bf16_is_fast`. NAPARI_MRTRANS_CHANNELS_LAST (1 or 0) overrides it.
    """
    if device_type != "cpu":
        return True
    question = f", channels last in {'bfloat16' if bf16 else 'float32'}"
    return _decided("NAPARI_MRTRANS_CHANNELS_LAST", question, partial(channels_last_trial, bf16=bf16))


_answers: dict[str, bool] = {}


def _decided(variable: str, question: str, trial: Callable[[], float | None]) -> bool:
    """What the environment ``variable`` says, else whether the ``trial``'s ratio was worth it when this machine was
    first asked and it was clear; ``question`` is part of the key."""
    import torch

    override = os.environ.get(variable)
    if override in ("0", "1"):
        return override == "1"
    machine = f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}{question}"
    if machine not in _answers:
        _answers[machine] = _looked_up(machine, trial)
    return _answers[machine]


def _looked_up(machine: str, trial: Callable[[], float | None]) -> bool:
    file = trial_file()
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    if isinstance(known.get(machine), bool):
        return bool(known[machine])
    ratio = trial()
    if ratio is None:
        return False
    found = ratio < WORTH_IT
    with suppress(OSError):  # the next start tries again
        write_shared(file, lambda part: part.write(json.dumps({**known, machine: found}).encode()))
    return found


def bf16_trial() -> float | None:
    """Seconds of a residual block's layers in bfloat16 over those in float32, on this CPU; None where it is not clear
    whether that is worth it. Takes about 100 ms, and four times that where it is not clear."""
    import torch

    layers, image = _residual_block()
    to_channels_last(layers)
    image = image.contiguous(memory_format=torch.channels_last)

    def run(enabled: bool) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            layers(image)

    return _ratio(partial(run, True), partial(run, False))


def channels_last_trial(*, bf16: bool) -> float | None:
    """Seconds of a step of training such a block with channels last over those with channels first, or None, as of
    :func:`bf16_trial`; about 200 ms."""
    import torch

    layers, image = _residual_block()

    def step(layers: torch.nn.Module) -> None:
        layers.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = layers(image)
        out.float().square().mean().backward()

    return _ratio(partial(step, to_channels_last(deepcopy(layers))), partial(step, layers))


def _residual_block() -> tuple[torch.nn.Module, torch.Tensor]:
    """Its layers, and images for them; takes no random numbers of the caller's."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        layers = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1)
        )
        return layers, torch.randn(2, 32, 64, 64)


def _ratio(new: Callable[[], object], usual: Callable[[], object]) -> float | None:
    """Seconds of ``new`` over those of ``usual``, the median of pairs of runs, each way round in turns: what else the
    machine does slows both. None where the middle half of the pairs does not agree on whether it is worth it."""
    new(), usual()  # prepare the weights
    ratios: list[float] = []
    while len(ratios) < MOST_PAIRS:
        for _ in range(PAIRS // 2):
            ratios.append(_seconds(new) / _seconds(usual))
            ratios.append(1 / (_seconds(usual) / _seconds(new)))
        low, median, high = quantiles(ratios, n=4)
        if high < WORTH_IT or low >= WORTH_IT:
            return median
    return None


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def number_format(device: torch.device) -> str:
    """In which networks run on a device: ``float32`` or ``bfloat16``."""
    return "bfloat16" if bf16_is_fast(device) else "float32"


def processor_name(device: torch.device) -> str:
    """What a device calls itself."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name() if device.type == "cpu" else device.type


def describe_machine(device: str) -> str:
    """Processor, threads, what computes and in which number format, for a report."""
    import torch

    kind = resolve_device(device)[0]
    if kind.type == "cuda":
        return f"{processor_name(kind)}, {number_format(kind)}"
    name = torch.backends.cpu.get_cpu_capability() if kind.type == "cpu" else kind.type
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {name}, {number_format(kind)}"


def made_on(device: str) -> dict[str, Any]:
    """What the last bits of a result depend on besides what was asked for, and the day (UTC), for its report."""
    import torch

    kind = resolve_device(device)[0]
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads() if kind.type == "cpu" else None,
        "number_format": number_format(kind),
        "processor": processor_name(kind),
        "date": datetime.now(UTC).date().isoformat(),
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    about = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in about.items()}
    flags = " ".join(flag for flag in ("avx2", "avx512_bf16", "amx_bf16") if flag in fields.get("flags", "").split())
    return f"{fields.get('model name', platform.machine())} {flags}".strip()


def to_channels_last(model: M) -> M:
    """Convolution weights in the memory order of tensor cores and, mostly, of fast CPUs; in place."""
    import torch

    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
