"""``napari-mrtrans transform``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MrtransError
from .options import (
    Antithetic,
    Batch,
    Device,
    Model,
    Output,
    Prepare,
    Repair,
    Sampler,
    Samples,
    SaveSamples,
    Seed,
    Slices,
    Steps,
)
from .terminal import ProgressBar, slice_range

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint
    from ..scan.volume import Volume
    from ..transformation.request import Request


def transform(
    context: typer.Context,
    output: Output,
    image: Annotated[Path | None, typer.Argument(metavar="IN.nii.gz", help="A NIfTI volume.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Target contrast: T1, T2, PD or FLAIR.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Source contrast; default: from the file name.")] = None,
    model: Model = None,
    n: Samples = None,
    steps: Steps = None,
    sampler: Sampler = None,
    slices: Slices = None,
    seed: Seed = 0,
    mask: Annotated[Path | None, typer.Option(help="Head mask on the input's grid.")] = None,
    antithetic: Antithetic = True,
    repair: Repair = None,
    prepare: Prepare = None,
    save_samples: SaveSamples = False,
    device: Device = "auto",
    batch: Batch = "auto",
    again: Annotated[
        Path | None,
        typer.Option(metavar="RESULT.json", help="Repeat this result with all its settings; IN where it has moved."),
    ] = None,
) -> None:
    """Make a missing contrast: mean, standard deviation and a JSON report on the input's grid."""
    if again is not None:
        _check_alone(context)
        from ..transformation.again import repeated

        asked = repeated(again, image, lambda line: typer.echo(line, err=True))
    else:
        if image is None or to is None:
            raise MrtransError("Give a volume and its target: napari-mrtrans transform IN.nii.gz --to T2 -o OUT.")
        from ..checkpoints.library import choose_checkpoint
        from ..scan.contrasts import Contrast
        from ..scan.volume import Volume, read_mask
        from ..transformation.contrast_guess import unknown_contrast_line
        from ..transformation.request import Request

        volume = Volume.load(image, from_)
        if volume.contrast is None:
            raise MrtransError(unknown_contrast_line(volume))
        target = Contrast.parse(to)
        if volume.contrast == target:
            raise MrtransError(f"'{volume.name}' is {target} already; choose another target with --to.")
        checkpoint = choose_checkpoint(model, volume.contrast, target)
        request = Request(
            target, volume.contrast, n=n, seed=seed, steps=steps, sampler=sampler, antithetic=antithetic,
            slices=slice_range(slices), mask=None if mask is None else read_mask(mask, volume),
            mask_file=mask and mask.absolute(), repair=repair, prepare=prepare, device=device, batch=batch,
        )  # fmt: skip
        asked = volume, checkpoint, request, save_samples
    _transform(asked, output)


def _transform(asked: tuple[Volume, Checkpoint, Request, bool], output: Path) -> None:
    from ..paths import check_folder
    from ..transformation.whole_volume import transform_request

    volume, checkpoint, request, keep_samples = asked
    check_folder(output)
    with ProgressBar(f"{request.pair} · {checkpoint.name}") as (tell, say):
        ensemble = transform_request(volume, checkpoint, request, keep_samples=keep_samples, progress=tell, status=say)
    for path in ensemble.save(output).values():
        typer.echo(f"wrote {path}")
    if not checkpoint.deterministic:
        typer.echo(f"sigma-hat {ensemble.sigma_hat:.4f}")


def _check_alone(context: typer.Context) -> None:
    """Beside --again nothing may be asked for that it would not heed."""
    heeded = {"again", "image", "output"}
    given = [
        (parameter.secondary_opts if context.params[str(parameter.name)] is False else parameter.opts)[0]
        for parameter in context.command.params
        if parameter.name not in heeded
        and context.get_parameter_source(str(parameter.name)) is not None
        and context.get_parameter_source(str(parameter.name)).name == "COMMANDLINE"  # type: ignore[union-attr]
    ]
    if given:
        raise MrtransError(f"--again repeats a result as it was made; leave out {', '.join(given)}.")
