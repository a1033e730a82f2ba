"""Our sampler beside those of MONAI and diffusers: what a step of each costs, and how many steps each needs.

    python benchmarks/peers.py [--steps 8] [--rounds 5] [-n 20] [--size 64]

First table: one small network, one slice, as many evaluations and samples for all; variants take turns, and ratios are
of medians, of processor time (one thread: OMP_NUM_THREADS=1), which other jobs on the machine disturb less. A sampler's
own time is taken with a network that costs nothing.

Second table: pixels of known law, three Gaussians (standard deviation s, of images in [-1, 1]) and two modes at ±0.4,
with their exact denoiser in the place of a network: only the sampler errs. Told is the least number of evaluations from
which on the standard deviation of samples is within 5 % of the truth, and the time, ours on a network of that kind = 1,
at the cost of a step by the first table. Tried are 2 to 50 evaluations and, beyond, divisors of the 1000 time steps of
the schedulers; numbers at which one breaks down are passed over.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from time import process_time

import numpy as np
import torch
from slice_speed import measure
from torch import Tensor

from napari_mrtrans.models import DDPM
from napari_mrtrans.models.sampler_plan import plan
from napari_mrtrans.networks.unet import UNet

#: (noisy image beside the source, timesteps=) -> the noise in it, or the velocity of MONAI's rectified flow.
Net = Callable[..., Tensor]
#: (network, unit noise, source, evaluations) -> samples.
Sample = Callable[[Net, Tensor, Tensor, int], Tensor]

PEERS = [name for name in ("monai", "diffusers") if find_spec(name)]
#: Its time steps are the peers', too: linear β, 1000.
SCHEDULE = DDPM(network="tiny", conditional=False)
TRIED = [*range(2, 51), 100, 125, 200, 250, 500, 1000]
#: Asked for fewer steps, this one goes on as if they were neighbours among 1000.
ONLY = {"MONAI DDPM": [1000]}
#: Of the known pixels: where the modes lie on either side of 0, and how wide each is.
CENTRES, WIDTHS = torch.tensor([0, 0, 0, 0.4]), torch.tensor([0.012, 0.036, 0.11, 0.02])


def known(flow: bool) -> Net:
    """In the place of a network: knows E[clean | noisy] of pixels, whose last axis is :data:`WIDTHS`."""

    def tell(images: Tensor, timesteps: Tensor, context: None = None) -> Tensor:
        x, time = images[:, :1], float(timesteps[0])
        a, b = 1 - time / 1000, time / 1000  # x = a clean + b noise
        if not flow:
            sigma = math.exp(np.interp(time, np.arange(1000), SCHEDULE.log_sigmas))
            a, b = 1 / math.hypot(1, sigma), sigma / math.hypot(1, sigma)
        variance = a**2 * WIDTHS**2 + b**2
        right = torch.sigmoid(2 * a * CENTRES * x / variance)
        clean = ((2 * right - 1) * CENTRES * b**2 + a * WIDTHS**2 * x) / variance
        noise = (x - a * clean) / b
        return clean - noise if flow else noise

    return tell


def ours(low: float, high: float, flow: bool = False) -> Sample:
    """DPM-Solver++(2M) as the package runs it, from σ = ``high`` to ``low``, on a network of either kind."""

    def sample(net: Net, noise: Tensor, source: Tensor, steps: int) -> Tensor:
        def predict(y: Tensor, sigma: Tensor) -> Tensor:
            s = float(sigma[0])
            scale, time = (1 + s, 1000 * sigma / (1 + sigma)) if flow else (math.hypot(1, s), SCHEDULE.time_of(sigma))
            x = y / scale
            told = net(torch.cat([x, source], 1), timesteps=time)
            return x + s / scale * told if flow else (y - s * told).clamp(-1, 1)

        sampler, levels = plan(SCHEDULE, "dpm++2m", steps, low, high)
        return sampler(predict, noise * levels[0], levels)

    return sample


def of_monai(name: str, net: Net, noise: Tensor, source: Tensor, steps: int) -> Tensor:
    """A scheduler of MONAI, run by its inferer."""
    from monai.inferers import DiffusionInferer
    from monai.networks import schedulers

    scheduler = getattr(schedulers, name)(1000)
    scheduler.set_timesteps(steps)
    return DiffusionInferer(scheduler).sample(noise, net, conditioning=source, mode="concat", verbose=False)


def of_diffusers(name: str, net: Net, noise: Tensor, source: Tensor, steps: int, **options: object) -> Tensor:
    """A scheduler of diffusers, in the loop that its manual gives."""
    import diffusers

    scheduler, image = getattr(diffusers, name)(1000, **options), noise  # whose σ is 1 in all of these
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        image = scheduler.step(net(torch.cat([image, source], 1), timesteps=t[None]), t, image).prev_sample
    return image


def samplers() -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Those there are, by name: on a network that tells the noise, and on one that tells the velocity. Ours first."""
    noise: dict[str, Sample] = {"ours": ours(0.01, 157), "ours, σ 157 to 0.02 as `ddpm`": ours(0.02, 157)}
    flow: dict[str, Sample] = {"ours, flow": ours(0.002, 20, flow=True)}
    if "diffusers" in PEERS:
        solver, chain = (partial(of_diffusers, f"{name}Scheduler") for name in ("DPMSolverMultistep", "DDPM"))
        noise["diffusers DPM-Solver++"] = solver
        noise["the same, use_karras_sigmas"] = partial(solver, use_karras_sigmas=True)
        noise["the same, use_lu_lambdas"] = partial(solver, use_lu_lambdas=True)
        noise["diffusers DDIM"] = partial(of_diffusers, "DDIMScheduler")
        noise["diffusers DDPM"] = chain
        noise["the same, fixed_large"] = partial(chain, variance_type="fixed_large")
    if "monai" in PEERS:
        noise["MONAI DDIM"] = partial(of_monai, "DDIMScheduler")
        noise["MONAI DDPM"] = partial(of_monai, "DDPMScheduler")
        flow["MONAI RFlow"] = partial(of_monai, "RFlowScheduler")
    return noise, flow


def network() -> Net:
    """A small MONAI network of fixed variance; where there is no MONAI one of ours."""
    if "monai" in PEERS:
        from monai.networks.nets import DiffusionModelUNet

        sizes = {"channels": (8, 16, 32), "attention_levels": (False,) * 3, "norm_num_groups": 8, "num_res_blocks": 1}
        return DiffusionModelUNet(spatial_dims=2, in_channels=2, out_channels=1, **sizes).eval()
    net, none = UNet(in_channels=2, widths=(8, 16, 32), contrasts=0).eval(), torch.zeros(1, dtype=torch.int64)
    return lambda images, timesteps: net(images, timesteps.expand(len(images)), none, none)


def costs(found: dict[str, Sample], n: int, size: int, steps: int, rounds: int) -> dict[str, float]:
    """Seconds of an evaluation in each sampler, the network's included; prints the first table."""
    noise, source, net = torch.randn(n, 1, size, size), torch.randn(1, 1, size, size).expand(n, -1, -1, -1), network()

    def alone(net: Net, noise: Tensor, source: Tensor, steps: int) -> None:
        for _ in range(steps):
            net(torch.cat([noise, source], 1), timesteps=torch.zeros(1))

    def timed(net: Net, rounds: int) -> dict[str, float]:
        runs = {name: partial(one, net, noise, source, steps) for name, one in {"": alone, **found}.items()}
        return measure(runs, rounds, process_time)

    free, full = timed(lambda images, **_: images[:, :1], 5 * rounds), timed(net, rounds)
    call = full.pop("") / steps
    print(f"\n{n} samples of {size}², {steps} evaluations; the network alone takes {1000 * call:.1f} ms for each\n")
    print("| sampler | time, ours = 1 | its own, ms a step | of the network's |\n|---|---|---|---|")
    for name, seconds in full.items():
        own = free[name] / steps
        print(f"| {name} | {seconds / full['ours']:.2f} | {1000 * own:.2f} | {100 * own / call:.1f} % |", flush=True)
    return {name: call + seconds / steps for name, seconds in free.items()}


def needed(sample: Sample, flow: bool, tried: list[int], n: int = 20_000) -> list[int | None]:
    """Least of ``tried`` from which on the spread is right, for each kind of pixel; None: it never is."""
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    noise = quantiles[:, None, None, None].expand(-1, 1, 1, len(WIDTHS)).contiguous()
    fewest: list[int | None] = [None] * len(WIDTHS)
    for steps in tried:
        std = sample(known(flow), noise, torch.zeros_like(noise), steps)[:, 0, 0].std(0)
        right = (std / (CENTRES**2 + WIDTHS**2).sqrt() - 1).abs() <= 0.05
        if std.isfinite().all():
            fewest = [(old or steps) if ok else None for old, ok in zip(fewest, right.tolist(), strict=True)]
    return fewest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"--steps": 8, "--rounds": 5, "-n": 20, "--size": 64}.items():
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    torch.manual_seed(0)
    there = ", ".join(f"{name} {version(name)}" for name in ("torch", *PEERS))
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, {there}")
    if len(PEERS) < 2:
        print("Not all peers are there: pip install -c constraints.txt monai diffusers")
    kinds = samplers()
    with torch.inference_mode():
        cost = costs(kinds[0] | kinds[1], options.n, options.size, options.steps, options.rounds)
        print(f"\nEvaluations needed, – = more than {TRIED[-1]}; in brackets the time, ours = 1\n")
        print("| sampler | s = 0.012 | 0.036 | 0.11 | two modes |\n|---|---|---|---|---|")
        for flow, kind in enumerate(kinds):
            found = {name: needed(one, bool(flow), ONLY.get(name, TRIED)) for name, one in kind.items()}
            first = next(iter(kind))
            for name, fewest in found.items():
                rate = cost[name] / cost[first]
                pairs = zip(fewest, found[first], strict=True)
                cells = [f"{n} ({n * rate / least:.1f})" if n and least else f"{n or '–'}" for n, least in pairs]
                print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
