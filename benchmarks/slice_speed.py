"""Seconds for one slice with n = 20 samples: every shipped model, and what each choice costs, side by side in one run.

    python benchmarks/slice_speed.py [--rounds 3]

Ratios are of medians over rounds in which all variants take turns, so a machine that drifts hurts all alike.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping

import torch

import napari_mrtrans as mt
from napari_mrtrans.devices import bf16_is_fast, resolve_device, to_channels_last
from napari_mrtrans.networks.unet import UNet

SLICE = 90


def sampling(name: str = "flow", **options: object) -> Callable[[], None]:
    """Transform one slice of the sample brain by a checkpoint, reading it and preparing the volume each time."""
    volume, checkpoint = mt.sample_volume(), mt.load_checkpoint(name)

    def run() -> None:
        for _ in mt.stream(volume, checkpoint, target="T2", slices=(SLICE, SLICE + 1), **options):  # type: ignore[arg-type]
            pass

    return run


def forward(net: UNet, batch: int, size: tuple[int, int]) -> Callable[[], None]:
    """One network call on random input."""
    net = net.eval()
    image = torch.randn(batch, 2, *size).contiguous(memory_format=torch.channels_last)
    index, level = torch.zeros(batch, dtype=torch.int64), torch.zeros(batch)

    def run() -> None:
        with torch.inference_mode():
            net(image, level, index, index)

    return run


def measure(
    variants: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each variant by a clock; one warm-up round first."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        for name, run in variants.items():
            began = clock()
            run()
            if i:
                seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    device = resolve_device()[0]
    cpu, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    bf16 = "on" if bf16_is_fast(device.type) else "off"
    print(f"{platform.machine()} {cpu}, {threads} threads, {device}, torch {torch.__version__}, bf16 {bf16}")
    empty = measure({"1 sample, 1 step": sampling(n=1, steps=1)}, rounds)["1 sample, 1 step"]
    runs = {}
    for checkpoint in mt.list_checkpoints():  # flow, the default, comes first
        steps = "its members' own" if checkpoint.steps is None else checkpoint.steps
        runs[f"{checkpoint.name}, steps: {steps}"] = sampling(checkpoint.name)
    runs["flow, 20 steps"] = sampling(n=20, steps=20)
    runs["flow, n=1"] = sampling(n=1)
    found = measure(runs, rounds)
    base = next(iter(found.values()))
    for name, value in found.items():
        print(f"{name:44} {value:7.2f} s   {value / base:5.2f} x default   ({value - empty:.2f} s without reading)")
    nets = {
        "a network of flow's size": UNet(in_channels=2, **mt.load_checkpoint("flow").card.options["network"]),
        "one U-Net, 2.7 M": UNet(in_channels=2, widths=(32, 64, 128)),
        "same, full resolution": UNet(in_channels=2, widths=(32, 64, 128), unshuffle=1),
    }
    calls = measure({name: forward(to_channels_last(net), 4, (160, 144)) for name, net in nets.items()}, rounds)
    first = next(iter(calls.values()))
    for name, value in calls.items():
        print(f"{name:28} {4 / value:7.1f} images/s   {value / first:5.2f} x the time of the first")


if __name__ == "__main__":
    main()
