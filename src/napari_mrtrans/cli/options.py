"""Options that several commands have in common: what is asked of a model (the fields of ``Request``), where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import MrtransError

Output = Annotated[Path, typer.Option("-o", "--output", help="Output folder.")]
Model = Annotated[str | None, typer.Option(help="Family (flow, ddpm, …), installed name, or file.")]
Samples = Annotated[int | None, typer.Option("-n", min=1, help="Samples; default: the checkpoint's (20).")]
Steps = Annotated[int | None, typer.Option(min=1, help="Noise levels; default: the checkpoint's.")]
Sampler = Annotated[str | None, typer.Option(help="dpm++2m, heun, ancestral, ddim, langevin, … or reference.")]
Slices = Annotated[str | None, typer.Option(metavar="A:B", help="Only these axial slices of every scan.")]
Roi = Annotated[
    Path | None,
    typer.Option(metavar="MASK.nii.gz", help="Only slices that this region touches; any grid, by its affine."),
]
RoiOnly = Annotated[bool, typer.Option("--roi-only", help="And only its voxels: 0 elsewhere.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--pairs", metavar="T1->T2,…", help="Only these; may be repeated. Default: all that can be had."),
]
Subjects = Annotated[
    list[str] | None,
    typer.Option("--subjects", metavar="NAME,…", help="Only these, or visits; may be repeated. Default: the card's."),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the starting noise.")]
Antithetic = Annotated[
    bool, typer.Option("--antithetic/--no-antithetic", help="Samples in pairs of opposite noise, or independent ones.")
]
ThreePlanes = Annotated[
    bool,
    typer.Option(
        "--three-planes", help="Coronal and sagittal views too, averaged: nearer to the target (direct, flow, pool)."
    ),
]
Repair = Annotated[
    bool | None, typer.Option("--repair/--no-repair", help="Outliers of the mean; default: repaired for ddpm.")
]
Prepare = Annotated[
    bool | None, typer.Option("--prepare/--no-prepare", help="Brain extraction first; default: for whole heads.")
]
SaveSamples = Annotated[bool, typer.Option("--save-samples", help="Write every sample, too.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:k or mps.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Decoders = Annotated[int, typer.Option(min=0, help="Background decoding processes.")]
Cache = Annotated[Path | None, typer.Option(help="Where decoded volumes are kept.")]
Batch = Annotated[str, typer.Option(help="Images for each network call, or auto.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Also replace what another input of that name gave.")]
Bids = Annotated[bool, typer.Option("--bids", help="Name results as BIDS derivatives: sub-01_desc-synthetic_T2w.")]

#: For an application: an option that takes several is found by the name of one, too.
SPELLINGS = {"token_normalize_func": lambda name: {"pair": "pairs", "subject": "subjects"}.get(name, name)}


def each_of(option: str, given: list[str] | None) -> list[str] | None:
    """What was given with commas between, or one by one.

    Raises:
        MrtransError: an empty one is among them.
    """
    if not given:
        return None
    named = [one.strip() for text in given for one in text.split(",")]
    if not all(named):
        raise MrtransError(f"{option} '{' '.join(given)}' holds an empty name; give them with commas between.")
    return named
