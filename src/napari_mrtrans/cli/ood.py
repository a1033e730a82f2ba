"""``napari-mrtrans ood``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MrtransError
from ..wording import plural
from .closing import close, judged, unexpected
from .options import Device, Model, Seed


def ood(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IN.nii.gz...", readable=False, help="NIfTI volumes, or folders of DICOM slices."),
    ],
    to: Annotated[str | None, typer.Option("--to", "-t", help="Target contrast; default: the model's first.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Source contrast; default: from file name or headers.")
    ] = None,
    model: Model = None,
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples; default: the checkpoint's (20).")] = None,
    slices: Annotated[int, typer.Option(min=1, help="Axial slices of each volume, evenly spread.")] = 5,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How unlike the training scans each volume is: sigma-hat and the calibrated probability P(OOD).

    A file that cannot be read is reported and the others go on; the exit status is 2 then.
    """
    from ..checkpoints.library import choose_checkpoint, first_target
    from ..dicom.read import read_scan
    from ..ood.score import TOO_FEW
    from ..scan.contrasts import Contrast
    from ..transformation.contrast_guess import unknown_contrast_line
    from ..transformation.request import Request
    from ..transformation.whole_volume import assess

    rows: list[dict[str, Any]] = []
    failed = False
    for image in images:
        try:
            volume = read_scan(image, from_)
            if volume.contrast is None:
                raise MrtransError(unknown_contrast_line(volume))
            target = Contrast.parse(to) if to else first_target(model, volume.contrast)
            checkpoint = choose_checkpoint(model, volume.contrast, target)
            request = Request(target, volume.contrast, n=n, seed=seed, device=device)
            row = assess(volume, checkpoint, request, count=slices)
        except ModuleNotFoundError:  # no other image would fare better
            raise
        except Exception as error:  # one bad image, or a fault of ours, must not cost what is known of the others
            if len(images) == 1 and not isinstance(error, MrtransError):
                raise
            failed = True
            typer.echo(f"{image}: {unexpected(error)}", err=True)
            continue
        rows.append(row)
        if not as_json:
            typer.echo(f"{image}  {judged(row)}  ({row['checkpoint']}, {row['source']}→{row['target']})")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        notices = [f"{Path(row['input']).name}: {line}" for row in rows for line in dict.fromkeys(row["notices"])]
        assessed = [row for row in rows if row["verdict"] != TOO_FEW]
        unusual = sum(row["verdict"] == "out of distribution" for row in assessed)
        known = any(row["ood_probability"] is not None for row in rows)
        last = f"{unusual} of {plural(len(assessed), 'volume')} out of distribution" if known else ""
        close(f"{len(assessed)} of {plural(len(images), 'file')} assessed", (), notices, last)
    if failed:
        raise typer.Exit(2)
