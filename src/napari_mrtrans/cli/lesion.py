"""``napari-mrtrans lesion``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import MrtransError
from .files import check_shows, check_writable_as, doubts, made_as


def lesion(
    prediction: Annotated[Path, typer.Option(metavar="MEAN.nii.gz", help="What transform wrote as _mean.nii.gz.")],
    roi: Annotated[
        Path, typer.Option(metavar="MASK.nii.gz", help="Lesions (above 0, or half); any grid, by its affine.")
    ],
    target: Annotated[
        Path | None,
        typer.Option(metavar="T2.nii.gz", help="The acquired image; any grid, by its affine. Without: no r."),
    ] = None,
    std: Annotated[
        Path | None, typer.Option(help="_std-calibrated.nii.gz or _std.nii.gz: how unsure the model is there.")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="_samples.nii.gz: r of every single sample.")] = None,
    source: Annotated[Path | None, typer.Option(help="The image that was transformed, for its contrast.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a table, one row for each lesion.")
    ] = None,
) -> None:
    """Pearson correlation with the acquired image inside lesions, pooled and one by one, and their contrast.

    Without an acquired image, contrast and spread tell whether the lesion is still there.
    """
    from ..lesion.computed import lines_beside
    from ..lesion.files import measure_files
    from ..lesion.interval import written
    from ..paths import json_text, write_together

    if samples is not None and target is None:
        raise MrtransError("r of --samples is that with the acquired image; give it with --target, or leave them out.")
    if csv is not None:
        check_writable_as(csv, (".csv", ".tsv", ".txt"), "--csv", (prediction, target, roi, std, samples, source))
    if target is not None and (shown := made_as(prediction)) is not None:
        check_shows(target, shown)
    notices = doubts(prediction, target, roi, source)
    report = measure_files(prediction, target, roi, std=std, samples=samples, source=source, say=notices.append)
    for line in notices:
        typer.echo(line, err=True)
    if csv is not None:
        write_together(csv.parent, {csv.name: report.csv()}, "Choose another --csv.")
    if as_json:
        files = {"prediction": str(prediction), "target": target and str(target), "roi": str(roi)}
        typer.echo(json_text({**files, **report.to_dict(), "notices": notices}, indent=2))
        return
    for line in lines_beside("\n".join(notices), report):
        typer.echo(line)
    for row in report.rows()[1:]:
        interval = None if row["r_low"] is None else (row["r_low"], row["r_high"])
        r = written(row["r"], interval)
        typer.echo(f"    lesion {row['lesion']}: {row['n_voxels']} voxels about ({row['centre']}), r = {r}")
