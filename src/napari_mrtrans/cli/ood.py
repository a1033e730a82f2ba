"""``napari-mrtrans ood``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MrtransError


def ood(
    images: Annotated[list[Path], typer.Argument(metavar="IN.nii.gz...", help="NIfTI volumes.")],
    to: Annotated[str | None, typer.Option("--to", help="Target contrast; default: the model's first.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Source contrast; default: from the file name.")] = None,
    model: Annotated[str | None, typer.Option(help="Family (flow, ddpm, …), installed name, or file.")] = None,
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples; default: the checkpoint's (20).")] = None,
    slices: Annotated[int, typer.Option(min=1, help="Axial slices of each volume, evenly spread.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the starting noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:k or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How unlike the training scans each volume is: sigma-hat and the calibrated probability P(OOD).

    A file that cannot be read is reported and the others go on; the exit status is 2 then.
    """
    from ..checkpoints.library import choose_checkpoint, first_target
    from ..scan.contrasts import Contrast
    from ..scan.volume import Volume
    from ..transformation.contrast_guess import unknown_contrast_line
    from ..transformation.request import Request
    from ..transformation.whole_volume import assess

    rows: list[dict[str, Any]] = []
    failed = False
    for image in images:
        try:
            volume = Volume.load(image, from_)
            if volume.contrast is None:
                raise MrtransError(unknown_contrast_line(volume))
            target = Contrast.parse(to) if to else first_target(model, volume.contrast)
            checkpoint = choose_checkpoint(model, volume.contrast, target)
            request = Request(target, volume.contrast, n=n, seed=seed, device=device)
            row = assess(volume, checkpoint, request, count=slices)
        except MrtransError as error:
            failed = True
            typer.echo(f"{image}: {error}", err=True)
            continue
        rows.append(row)
        if not as_json:
            p = row["ood_probability"]
            said = row["verdict"] if p is None else f"P(OOD) {p:.2f}  {row['verdict']}"
            said += f": {row['ood_reason']}" if row["ood_reason"] else ""
            sigma = "" if row["sigma_hat"] is None else f"sigma-hat {row['sigma_hat']:.4f}  "
            typer.echo(f"{image}  {sigma}{said}  ({row['checkpoint']}, {row['source']}→{row['target']})")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    if failed:
        raise typer.Exit(2)
