"""``napari-mrtrans report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .files import check_shows, check_writable_as, doubts

if TYPE_CHECKING:
    from ..transformation.acquired import Acquired
    from ..transformation.ensemble import Ensemble


def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="What transform wrote, beside its images.")],
    image: Annotated[
        Path | None, typer.Argument(metavar="[IN.nii.gz]", help="The input, where it has moved.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.html", help="Default: RESULT_report.html beside it.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option(metavar="T2.nii.gz", help="The acquired image: error map, SSIM and PSNR.")
    ] = None,
    roi: Annotated[Path | None, typer.Option(metavar="MASK.nii.gz", help="Lesions: a table of them.")] = None,
) -> None:
    """Write one page of a result: slices, verdict, σ̂ of each slice, settings, and how to repeat it.

    It holds its pictures, names no folders, and can be passed on as far as the scan can.
    """
    from ..lesion.files import measure_files
    from ..paths import write_together
    from ..transformation.page import Beside, result_page
    from ..transformation.saved import image_beside, saved_result

    default = result.with_name(f"{result.stem}_report.html")
    path = default if output is None else output / default.name if output.is_dir() or not output.suffix else output
    check_writable_as(path, (".html", ".htm"), "-o", (result, image, target, roi))
    ensemble, found = saved_result(result, image)
    notices = doubts(image_beside(result, "mean") or result, target, roi)
    lesions = None
    if roi is not None:
        mean, raw, corrected = (image_beside(result, kind) for kind in ("mean", "std", "std-calibrated"))
        assert mean is not None
        source = ensemble.volume.path if found else None
        lesions = measure_files(mean, target, roi, std=corrected or raw, source=source, say=notices.append)
    beside = Beside(
        source=found,
        acquired=None if target is None else _acquired(ensemble, target, notices, partial=not found),
        lesions=lesions,
        region="" if roi is None else roi.name,
        samples_kept=bool(ensemble.info.get("samples_kept")),
    )
    ensemble.info["notices"] = [*ensemble.info.get("notices", []), *notices]
    write_together(path.parent, {path.name: result_page(ensemble, beside)}, "Choose another file with -o.")
    typer.echo(f"wrote {path}")


def _acquired(ensemble: Ensemble, target: Path, notices: list[str], *, partial: bool) -> Acquired:
    import numpy as np

    from ..scan.volume import Volume
    from ..transformation.acquired import acquired_on, asked_mask
    from ..transformation.request import Request

    info, volume = ensemble.info, ensemble.volume
    mask = asked_mask(ensemble, notices.append)
    request = Request(info["target"], info["source"], mask=mask, prepare=info["request"].get("prepare"))
    check_shows(target, info["target"])
    reference = Volume.load(target, info["target"])
    to_reference = np.linalg.inv(reference.affine) @ volume.affine
    return acquired_on(reference, volume, request, to_reference, notices.append, partial)
