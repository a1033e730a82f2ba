"""``napari-mrtrans``: the command line. Heavy imports happen inside commands, so ``--help`` answers at once."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MrtransError
from .cohort import cohort
from .models import models
from .terminal import ProgressBar, slice_range

#: Base of all that typer finds wrong with a command line (recent versions bring a click of their own).
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Brain MR contrast transformation with uncertainty. Research use only, not for diagnosis."""


@app.command()
def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Write files instead of opening napari.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where a headless demo writes.")] = Path(
        "mrtrans-demo"
    ),
) -> None:
    """The main job on the built-in sample brain: T1 in, T2 with its uncertainty out."""
    display = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if headless or not display:
        from .demo import run_headless

        if not headless:
            typer.echo("No display found; running headless.")
        for path in run_headless(output, typer.echo):
            typer.echo(f"wrote {path}")
        return
    try:
        from ..widgets.demo import run_demo
    except ImportError as error:
        raise MrtransError(
            f"napari cannot open here ({error}). Install a Qt backend (pip install 'napari[all]') or use --headless."
        ) from None
    run_demo()


app.command()(models)


@app.command()
def transform(
    image: Annotated[Path, typer.Argument(metavar="IN.nii.gz", help="A NIfTI volume.")],
    to: Annotated[str, typer.Option("--to", help="Target contrast: T1, T2, PD or FLAIR.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    from_: Annotated[str | None, typer.Option("--from", help="Source contrast; default: from the file name.")] = None,
    model: Annotated[str | None, typer.Option(help="Family (flow, ddpm, …), installed name, or file.")] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Samples; default: the checkpoint's (20).")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Noise levels; default: the checkpoint's.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="dpm++2m, heun, ancestral, ddim, langevin, … or reference.")
    ] = None,
    slices: Annotated[str | None, typer.Option(metavar="A:B", help="Only these axial slices.")] = None,
    seed: Annotated[int, typer.Option(help="Of the starting noise.")] = 0,
    mask: Annotated[Path | None, typer.Option(help="Head mask on the input's grid.")] = None,
    repair: Annotated[
        bool | None, typer.Option("--repair/--no-repair", help="Outliers of the mean; default: repaired for ddpm.")
    ] = None,
    prepare: Annotated[
        bool | None, typer.Option("--prepare/--no-prepare", help="Brain extraction first; default: for whole heads.")
    ] = None,
    save_samples: Annotated[bool, typer.Option("--save-samples", help="Write every sample, too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:k or mps.")] = "auto",
    batch: Annotated[str, typer.Option(help="Images for each network call, or auto.")] = "auto",
) -> None:
    """Make a missing contrast: mean, standard deviation and a JSON report on the input's grid."""
    from ..checkpoints.library import choose_checkpoint
    from ..paths import check_folder
    from ..scan.contrasts import Contrast
    from ..scan.volume import Volume, read_mask
    from ..transformation.whole_volume import transform as run

    volume = Volume.load(image, from_)
    if volume.contrast is None:
        raise MrtransError(f"The contrast of '{volume.name}' is not known from its name; say it with --from T1.")
    target = Contrast.parse(to)
    if volume.contrast == target:
        raise MrtransError(f"'{volume.name}' is {target} already; choose another target with --to.")
    checkpoint = choose_checkpoint(model, volume.contrast, target)
    bounds = slice_range(slices)
    head = None if mask is None else read_mask(mask, volume)
    check_folder(output)
    with ProgressBar(f"{volume.contrast}→{target} · {checkpoint.name}") as (tell, say):
        ensemble = run(
            volume, checkpoint, target=target, n=n, seed=seed, slices=bounds, steps=steps, sampler=sampler,
            device=device, batch=batch, mask=head, repair=repair, prepare=prepare, keep_samples=save_samples,
            progress=tell, status=say,
        )  # fmt: skip
    for path in ensemble.save(output).values():
        typer.echo(f"wrote {path}")
    if not checkpoint.deterministic:
        typer.echo(f"sigma-hat {ensemble.sigma_hat:.4f}")


@app.command()
def prepare(
    scans: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="NIfTI files of one session, or folders (BIDS, IXI, OASIS-3, MSSEG, …)."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder (BIDS derivatives).")],
    reference: Annotated[
        str | None, typer.Option(help="Contrast whose grid all come onto; default: T1, else the finest voxels.")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="Of folders: auto, ixi, oasis, mslesion, brats or bids.")
    ] = "auto",
    mask: Annotated[Path | None, typer.Option(help="Brain mask on the reference's grid (one session).")] = None,
    brain: Annotated[str, typer.Option(help="auto, built-in, or hd-bet, synthstrip, deepbet if installed.")] = "auto",
    register: Annotated[bool, typer.Option("--register/--no-register", help="Register the contrasts.")] = True,
    bias: Annotated[bool, typer.Option("--bias/--no-bias", help="Correct the bias field (N4).")] = True,
    strip: Annotated[bool, typer.Option("--strip/--no-strip", help="Keep the brain only.")] = True,
    normalise: Annotated[
        str, typer.Option(help="robust: as the models do, by the median; min-max: the paper's; none: scanner units.")
    ] = "robust",
) -> None:
    """Raw scans in: co-registration, bias field, brain extraction, [0, 1]; one folder for evaluate and training."""
    from ..datasets.raw import sessions_to_prepare
    from ..paths import check_folder
    from ..prepare.pipeline import Options, prepare_session
    from ..prepare.tools import check_tool
    from ..scan.contrasts import Contrast

    check_tool(brain)
    chosen = None if reference is None else Contrast.parse(reference)
    options = Options(register, bias, strip, chosen, brain, normalise)
    sessions, skipped = sessions_to_prepare(scans, format_)
    for line in skipped:
        typer.echo(line, err=True)
    if mask is not None and len(sessions) > 1:
        raise MrtransError(f"--mask fits one session, and these are {len(sessions)}; prepare them one by one.")
    check_folder(output)
    failed = []
    for session in sessions:
        try:
            for path in prepare_session(session, output, options, mask, typer.echo):
                typer.echo(f"wrote {path}")
        except MrtransError as error:
            if len(sessions) == 1:
                raise
            failed.append(session.stem)
            typer.echo(f"{session.stem}: {error}", err=True)
    if failed:
        raise MrtransError(f"{len(failed)} of {len(sessions)} sessions were not prepared: {', '.join(failed)}.")


@app.command()
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
    from ..transformation.whole_volume import assess

    rows: list[dict[str, Any]] = []
    failed = False
    for image in images:
        try:
            volume = Volume.load(image, from_)
            if volume.contrast is None:
                raise MrtransError(
                    f"The contrast of '{volume.name}' is not known from its name; say it with --from T1."
                )
            target = Contrast.parse(to) if to else first_target(model, volume.contrast)
            checkpoint = choose_checkpoint(model, volume.contrast, target)
            row = assess(volume, checkpoint, target=target, n=n, count=slices, seed=seed, device=device)
        except MrtransError as error:
            failed = True
            typer.echo(f"{image}: {error}", err=True)
            continue
        rows.append(row)
        if not as_json:
            p = row["ood_probability"]
            said = row["verdict"] if p is None else f"P(OOD) {p:.2f}  {row['verdict']}"
            sigma = "" if row["sigma_hat"] is None else f"sigma-hat {row['sigma_hat']:.4f}  "
            typer.echo(f"{image}  {sigma}{said}  ({row['checkpoint']}, {row['source']}→{row['target']})")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    if failed:
        raise typer.Exit(2)


@app.command()
def lesion(
    prediction: Annotated[Path, typer.Option(metavar="MEAN.nii.gz", help="What transform wrote as _mean.nii.gz.")],
    roi: Annotated[Path, typer.Option(metavar="MASK.nii.gz", help="Lesions (above 0); any grid, by its affine.")],
    target: Annotated[
        Path | None,
        typer.Option(metavar="T2.nii.gz", help="The acquired image; any grid, by its affine. Without: no r."),
    ] = None,
    std: Annotated[Path | None, typer.Option(help="_std.nii.gz: how unsure the model is in the lesion.")] = None,
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
    from ..lesion.files import measure_files
    from ..paths import write_together

    notices: list[str] = []
    report = measure_files(prediction, target, roi, std=std, samples=samples, source=source, say=notices.append)
    for line in notices:
        typer.echo(line, err=True)
    if csv is not None:
        write_together(csv.parent, {csv.name: report.csv()}, "Choose another --csv.")
    if as_json:
        files = {"prediction": str(prediction), "target": target and str(target), "roi": str(roi)}
        typer.echo(json.dumps({**files, **report.to_dict(), "notices": notices}, indent=2))
        return
    for line in report.lines():
        typer.echo(line)
    for row in report.rows()[1:]:
        r = "–" if row["r"] is None else f"{row['r']:.3f} (p = {row['p']:.2g})"
        typer.echo(f"    lesion {row['lesion']}: {row['n_voxels']} voxels about ({row['centre']}), r = {r}")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Data folder, as for training.")],
    checkpoint: Annotated[list[str], typer.Option("--checkpoint", help="Installed name or file; may be repeated.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    pairs: Annotated[str | None, typer.Option(help="Only these, e.g. 'T1->T2,T1->FLAIR'.")] = None,
    subjects: Annotated[
        str | None, typer.Option(help="Only these, or visits of them, comma-separated; default: the card's.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Samples.")] = None,
    steps: Annotated[int | None, typer.Option(help="Noise levels.")] = None,
    slab: Annotated[int | None, typer.Option(help="Only this many slices in the middle of the head.")] = None,
    seed: Annotated[int, typer.Option(help="Of the starting noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:k or mps.")] = "auto",
    montages: Annotated[
        bool, typer.Option("--montages/--no-montages", help="Show slices of the scans in the report, too.")
    ] = True,
    ood: Annotated[
        list[Path] | None,
        typer.Option(help="Scores of unusual inputs, a .ood.json of napari-mrtrans-train calibrate; may be repeated."),
    ] = None,
) -> None:
    """Compare checkpoints with acquired targets on held-out subjects: tables, figures and report.html.

    A monotone look-up table stands beside them as the floor. Stopped, it goes on where it was when called again.
    """
    from ..checkpoints.library import load_checkpoint
    from ..evaluation.evaluate import evaluate as run
    from ..evaluation.report.ood_rows import read_rows
    from ..scan.contrasts import Pair

    scored = [row for path in ood or [] for row in read_rows(path)]
    chosen = [Pair.parse(text) for text in pairs.split(",")] if pairs else None
    names = subjects.split(",") if subjects else None
    loaded = [load_checkpoint(name) for name in checkpoint]
    bar = ProgressBar("evaluate", "row")
    with bar:
        paths = run(
            data, loaded, output, pairs=chosen, subjects=names, n=n, steps=steps, slab=slab, seed=seed, device=device,
            montages=montages, ood=scored, say=typer.echo, progress=bar.show,
        )  # fmt: skip
    for path in paths:
        typer.echo(f"wrote {path}")


app.command()(cohort)


def run_app(application: typer.Typer, name: str) -> None:
    """Run the command line ``name``; a user's mistake prints one plain line to stderr and exits 2, no traceback."""
    with warnings.catch_warnings():
        # A damaged checkpoint among good ones is a remark to the user, not to a programmer.
        warnings.showwarning = lambda message, *_, **__: print(message, file=sys.stderr)
        try:
            status = application(prog_name=name, standalone_mode=False)
        except MrtransError as error:
            print(error, file=sys.stderr)
            status = 2
        except _UsageError as error:
            if message := error.format_message().strip().rstrip("."):  # empty where the help was printed
                where = error.ctx.command_path if error.ctx else name
                print(f"{message}. See {where} --help.", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            status = 130
    if status == 130:  # typer's exit status for Ctrl-C
        print("Interrupted.", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def main() -> None:
    """Entry point of ``napari-mrtrans``."""
    run_app(app, "napari-mrtrans")
