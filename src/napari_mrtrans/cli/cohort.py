"""``napari-mrtrans cohort``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MrtransError
from ..wording import plural
from .closing import close
from .options import (
    Antithetic,
    Batch,
    Device,
    Model,
    Prepare,
    Repair,
    Sampler,
    Samples,
    SaveSamples,
    Seed,
    Slices,
    Steps,
    ThreePlanes,
)

if TYPE_CHECKING:
    from ..cohort.run import Cohort


def cohort(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A BIDS folder.")],
    to: Annotated[str, typer.Option("--to", help="Target contrast: T1, T2, PD or FLAIR.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder (BIDS derivatives).")],
    from_: Annotated[str, typer.Option("--from", help="Source contrast.")] = "T1",
    model: Model = None,
    n: Samples = None,
    steps: Steps = None,
    sampler: Sampler = None,
    slices: Slices = None,
    seed: Seed = 0,
    antithetic: Antithetic = True,
    three_planes: ThreePlanes = False,
    repair: Repair = None,
    prepare: Prepare = None,
    save_samples: SaveSamples = False,
    device: Device = "auto",
    batch: Batch = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="One-thread processes here; default: one for each core, or one on a GPU.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="A running Dask scheduler, instead of workers here.")
    ] = None,
    thumbnails: Annotated[
        bool,
        typer.Option("--thumbnails/--no-thumbnails", help="Make a small picture of each scan, for the page."),
    ] = True,
    bids: Annotated[
        bool, typer.Option("--bids/--no-bids", help="Name results as BIDS derivatives: sub-01_desc-synthetic_T2w.")
    ] = True,
) -> None:
    """Transform every scan of a BIDS folder, many at a time: results, a table and a page, least usual scans first.

    Stopped or killed, it goes on where it was when called again. A scan that fails is named and the others go on; the
    exit status is 2 then.
    """
    from ..checkpoints.library import choose_checkpoint
    from ..cohort.run import Output, Progress, Workers, run
    from ..scan.contrasts import Contrast
    from ..transformation.request import Request
    from .terminal import ProgressBar, slice_range

    source, target = Contrast.parse(from_), Contrast.parse(to)
    if source == target:
        raise MrtransError(f"The scans are {source} already; choose another --to, or other scans with --from.")
    if workers is not None and scheduler is not None:
        raise MrtransError("--workers is for a cluster on this machine, and --scheduler brings its own; give one.")
    request = Request(
        target, source, n=n, seed=seed, slices=slice_range(slices), steps=steps, sampler=sampler,
        antithetic=antithetic, three_planes=three_planes, repair=repair, prepare=prepare, device=device, batch=batch,
    )  # fmt: skip
    checkpoint = choose_checkpoint(model, source, target)
    bar = ProgressBar(f"{source}→{target} · {checkpoint.name}", "scan")

    def show(progress: Progress) -> None:
        rate = f"{progress.per_hour:.1f} scans/h"
        left = f"{progress.minutes_left:.0f} min left" if math.isfinite(progress.minutes_left) else "…"
        line = f"{progress.done:.1f}/{progress.total} scans, {rate}, {left}"
        bar.show(f"{bar.title} · {rate}", progress.done, progress.total, line)

    with bar as (_, say):
        written = Output(output, save_samples, thumbnails, bids)
        done = run(folder, written, checkpoint, request, workers=Workers(workers, scheduler), progress=show, say=say)
    notices = [f"{row.scan}: {row.reason}" for row in done.rows if row.status != "failed" and row.reason]
    headline = f"{plural(done.computed, 'scan')} computed. {len(done.rows)} in all, in '{output}'."
    close(headline, done.files, notices, _judged(done))
    if failed := sum(row.status != "done" for row in done.rows):
        raise MrtransError(f"{failed} of {plural(len(done.rows), 'scan')} failed; {done.files[0].name} says why.")


def _judged(done: Cohort) -> str:
    """How many scans are unusual, and which most."""
    known = [row for row in done.rows if row.ood_probability is not None]
    if not known:
        return ""
    worst = max(known, key=lambda row: row.ood_probability or 0.0)
    unusual = sum(row.verdict == "out of distribution" for row in known)
    return (
        f"{unusual} of {plural(len(known), 'scan')} out of distribution; least usual is {Path(worst.scan).name}, "
        f"P(OOD) {worst.ood_probability:.2f}"
    )
