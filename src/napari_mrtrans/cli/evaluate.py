"""``napari-mrtrans evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Antithetic, Device, Output, Pairs, Subjects, each_of
from .terminal import ProgressBar


def evaluate(
    data: Annotated[Path, typer.Option(help="Data folder, as for training.")],
    checkpoint: Annotated[list[str], typer.Option("--checkpoint", help="Installed name or file; may be repeated.")],
    output: Output,
    pairs: Pairs = None,
    subjects: Subjects = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Samples.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Noise levels.")] = None,
    slab: Annotated[
        int | None, typer.Option(help="Only this many slices (11 or more) in the middle of the head.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the starting noise.")] = 0,
    antithetic: Antithetic = True,
    two_sample: Annotated[
        bool,
        typer.Option(
            "--two-sample", help="Train a small network to tell samples from targets; samples training people."
        ),
    ] = False,
    three_planes: Annotated[
        bool, typer.Option("--three-planes", help="As further methods: from three sides (direct, flow, pool).")
    ] = False,
    device: Device = "auto",
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
    from ..evaluation.cases import Settings
    from ..evaluation.evaluate import evaluate as run
    from ..evaluation.report.ood_rows import read_rows
    from ..scan.contrasts import Pair

    scored = [row for path in ood for row in read_rows(path)] if ood else None
    settings = Settings(
        pairs=[Pair.parse(text) for text in each_of("--pairs", pairs) or ()] or None,
        subjects=each_of("--subjects", subjects),
        n=n,
        steps=steps,
        slab=slab,
        seed=seed,
        device=device,
        montages=montages,
        antithetic=antithetic,
        two_sample=two_sample,
        three_planes=three_planes,
    )
    loaded = [load_checkpoint(name) for name in checkpoint]
    bar = ProgressBar("evaluate", "row")
    with bar:
        paths = run(data, loaded, output, settings, ood=scored, say=typer.echo, progress=bar.show)
    for path in paths:
        typer.echo(f"wrote {path}")
