"""``napari-mrtrans transform``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import MrtransError, SliceError
from ..wording import plural
from .closing import close, goes_on, judged
from .options import (
    Antithetic,
    Batch,
    Bids,
    Device,
    Model,
    Output,
    Overwrite,
    Prepare,
    Repair,
    Roi,
    RoiOnly,
    Sampler,
    Samples,
    SaveSamples,
    Seed,
    Slices,
    Steps,
    ThreePlanes,
)
from .terminal import ProgressBar, slice_range

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint
    from ..scan.volume import Volume
    from ..transformation.request import Request


def transform(
    context: typer.Context,
    output: Output,
    image: Annotated[
        Path | None, typer.Argument(metavar="IN.nii.gz", help="A NIfTI volume, or a folder of DICOM slices.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", "-t", help="Target contrast: T1, T2, PD or FLAIR.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Source contrast; default: from file name or headers.")
    ] = None,
    model: Model = None,
    n: Samples = None,
    steps: Steps = None,
    sampler: Sampler = None,
    slices: Slices = None,
    roi: Roi = None,
    roi_only: RoiOnly = False,
    seed: Seed = 0,
    mask: Annotated[Path | None, typer.Option(help="Head mask on the input's grid.")] = None,
    antithetic: Antithetic = True,
    three_planes: ThreePlanes = False,
    repair: Repair = None,
    prepare: Prepare = None,
    save_samples: SaveSamples = False,
    device: Device = "auto",
    batch: Batch = "auto",
    bids: Bids = False,
    overwrite: Overwrite = False,
    again: Annotated[
        Path | None,
        typer.Option(metavar="RESULT.json", help="Repeat this result with all its settings; IN where it has moved."),
    ] = None,
) -> None:
    """Make a missing contrast: mean, standard deviation and a JSON report on the input's grid.

    Stopped or killed, it goes on where it was when called again.
    """
    notices: list[str] = []
    of_masks: list[str] = []
    if again is not None:
        _check_alone(context)
        from ..transformation.again import repeated

        asked = repeated(again, image, notices.append, of_masks.append)
    else:
        if image is None or to is None:
            raise MrtransError("Give a volume and its target: napari-mrtrans transform IN.nii.gz --to T2 -o OUT.")
        from ..checkpoints.library import choose_checkpoint
        from ..dicom.read import read_scan
        from ..lesion.files import roi_from_file
        from ..scan.contrasts import Contrast
        from ..scan.masks import read_mask
        from ..transformation.contrast_guess import unknown_contrast_line
        from ..transformation.request import Request

        volume = read_scan(image, from_)
        if volume.contrast is None:
            raise MrtransError(unknown_contrast_line(volume))
        marked = None
        if roi is not None:
            marked = roi_from_file(roi, volume.affine, volume.data.shape, name=volume.name, say=of_masks.append)
        target = Contrast.parse(to)
        if volume.contrast == target:
            raise MrtransError(f"'{volume.name}' is {target} already; choose another target with --to.")
        checkpoint = choose_checkpoint(model, volume.contrast, target)
        request = Request(
            target, volume.contrast, n=n, seed=seed, steps=steps, sampler=sampler, antithetic=antithetic,
            slices=slice_range(slices), mask=None if mask is None else read_mask(mask, volume, of_masks.append),
            mask_file=mask and mask.absolute(), roi=marked, roi_file=roi and roi.absolute(), roi_only=roi_only,
            three_planes=three_planes, repair=repair, prepare=prepare, device=device, batch=batch,
        )  # fmt: skip
        asked = volume, checkpoint, request, save_samples
    _transform(asked, output, notices, Naming(bids, overwrite), again, of_masks)


class Naming(NamedTuple):
    """How files are named, and whether they may replace those of another input."""

    bids: bool
    overwrite: bool


def _transform(
    asked: tuple[Volume, Checkpoint, Request, bool],
    output: Path,
    notices: list[str],
    naming: Naming,
    again: Path | None,
    of_masks: list[str],
) -> None:
    from ..paths import KEPT, check_folder
    from ..transformation.again import other_head, other_machine
    from ..transformation.ensemble import Ensemble
    from ..transformation.names import check_free, file_name
    from ..transformation.unfinished import Unfinished, finished, kept_key, work_key
    from ..transformation.whole_volume import transform_request

    volume, checkpoint, request, keep_samples = asked
    notices = [*notices, *of_masks]
    check_folder(output)
    key = work_key(volume, checkpoint, request)
    record = output / file_name(volume.name, request.target.value, "json", bids=naming.bids)
    store = Unfinished(record, key, samples=keep_samples, say=notices.append)
    if not naming.overwrite:
        if (done := finished(record, key, volume, samples=keep_samples, bids=naming.bids)) is not None:
            info = json.loads(record.read_text(encoding="utf-8"))
            notices += (line for line in info["notices"] if line not in of_masks)
            store.remove()  # a kill may have come between the result and this
            close(f"{_what(info)}: done before, nothing to do", done, notices, judged(info), verb="is there:")
            return
        check_free(record, str(volume.path.absolute()) if volume.path else volume.name, volume.digest())
    failure: SliceError | None = None
    bar = ProgressBar(f"{request.pair} · {checkpoint.name}", held=notices)
    with goes_on(store.folder.is_dir), bar as (tell, say):
        try:
            ensemble = transform_request(
                volume, checkpoint, request, keep_samples=keep_samples, progress=tell, status=say, store=store
            )
        except SliceError as error:
            assert isinstance(error.result, Ensemble)
            ensemble, failure = error.result, error
    ensemble.info["key"] = kept_key(key, store.head)
    ensemble.info["notices"][:0] = of_masks
    if again is not None and (line := other_head(again, store.head)):
        notices.append(line)
        ensemble.info["notices"].append(line)
    if again is not None and (line := other_machine(again, ensemble.info)):
        notices.append(line)
    info = ensemble.info
    if not naming.overwrite:
        notices += _replaced(record, info)
    try:
        files = ensemble.save(output, overwrite=naming.overwrite, bids=naming.bids).values()
    except MrtransError as error:
        if store.holds_slices:
            raise
        for line in dict.fromkeys(notices):  # why nothing is kept among them
            typer.echo(line, err=True)
        raise MrtransError(str(error).replace(KEPT, "")) from None
    if failure is None:
        store.remove()
    close(f"{_what(info)}, {info['seconds']:.0f} s", files, notices, judged(info))
    if failure is not None:
        raise failure


def _what(info: dict[str, Any]) -> str:
    """``T1→T2 of 'sub-01_T1w' by t1-t2-flair-flow: 120 slices, 20 samples``."""
    samples = "" if info["sigma_hat"] is None else f", {plural(info['n'], 'sample')}"
    name = Path(info["input"]).name
    slices = plural(info["slices_done"], "slice")
    return f"{info['source']}→{info['target']} of '{name}' by {info['checkpoint']}: {slices}{samples}"


def _replaced(record: Path, info: dict[str, Any]) -> list[str]:
    """What is said of a result whose place that of ``info`` takes, if scan, model, samples or slices differ."""
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
        other = before["input_digest"] != info["input_digest"]
        same = not other and all(before[name] == info[name] for name in ("checkpoint", "n", "slices"))
        why = " That file held another scan then." if other else ""
        return [f"Replaced {_what(before)}.{why}"] if before["complete"] and not same else []
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _check_alone(context: typer.Context) -> None:
    """Beside --again nothing may be asked for that it would not heed."""
    heeded = {"again", "image", "output", "bids", "overwrite"}
    given = [
        (parameter.secondary_opts if context.params[str(parameter.name)] is False else parameter.opts)[0]
        for parameter in context.command.params
        if parameter.name not in heeded
        and context.get_parameter_source(str(parameter.name)) is not None
        and context.get_parameter_source(str(parameter.name)).name == "COMMANDLINE"  # type: ignore[union-attr]
    ]
    if given:
        raise MrtransError(f"--again repeats a result as it was made; leave out {', '.join(given)}.")
