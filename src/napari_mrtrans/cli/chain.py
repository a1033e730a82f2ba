"""``napari-mrtrans-train shipped`` and ``pack``: the checkpoints from the data, and the data in one small file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Accelerator, Cache, Decoders


def shipped(
    data: Annotated[
        Path, typer.Option(help="Folder with the data sets that the recipes name, or a file made by pack.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder: a folder for each recipe.")],
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this checkpoint or recipe, and what it starts from.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The recipes of the full budget instead of those of the files at hand.")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="Fit spread and P(OOD) of what is trained, too.")
    ] = True,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this long; the same command goes on.")
    ] = None,
    accelerator: Accelerator = "auto",
    workers: Decoders = 1,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the networks first.")] = False,
    cache: Cache = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of every recipe.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be trained, and its cost (as --list).")
    ] = False,
) -> None:
    """Train the package's checkpoints, each recipe in its turn; they are in OUT/checkpoints. Resumable."""
    import time

    from ..checkpoints.library import searched_first
    from ..datasets.packed import SUFFIX
    from ..paths import check_folder
    from ..training.chain import FINISHED, links, pool_of, run_chain, to_calibrate
    from ..training.hardware import Hardware
    from ..training.recipe import Recipe
    from ..training.setup import open_splits
    from ..training.table import check_people
    from .train import train_recipe

    hardware = Hardware(accelerator, workers=workers, compiled=compile_)

    chain = links("full" if full else "shipped", output, only, set_)
    if dry_run:
        from ..training.cost import cost_line

        with searched_first(output / FINISHED):
            for link in chain:
                state = "done" if link.done else cost_line(link.recipe)
                typer.echo(f"{link.recipe.name:32} {link.recipe.slices:>9,} slices  {state}")
        return
    check_folder(output)
    root = _with_prepared(data, output)
    if root.suffix == SUFFIX:
        for link in chain:
            if link.recipe.data.planes != ("axial",):
                typer.echo(f"{link.recipe.name} is left out: '{root.name}' holds axial slices only.", err=True)
        chain = [link for link in chain if link.recipe.data.planes == ("axial",)]
    end = None if max_minutes is None else time.monotonic() + 60 * max_minutes

    def train(recipe: Recipe, folder: Path, resume: bool) -> None:
        left = None if end is None else max((end - time.monotonic()) / 60, 0.0)
        train_recipe(recipe, str(root), folder, cache, hardware=hardware, resume=resume, max_minutes=left)

    def check(recipe: Recipe, before: Path) -> None:
        check_people(before, open_splits(recipe, root, cache)[0])

    made, names = run_chain(chain, output, train, typer.echo, check), to_calibrate([link.recipe for link in chain])
    finished = len(made) == len(chain)
    if finished and (pooled := pool_of(output / FINISHED)) is not None:
        made.append(pooled)
        names.add(pooled.stem)
    if calibrate and finished and root.is_dir():
        _calibrate([path for path in made if path.stem in names], root, output)
    for path in made:
        typer.echo(f"wrote {path}")


def pack(
    data: Annotated[Path, typer.Option(help="Folder with the data sets that the recipe names.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.mrpack", help="What to write.")],
    recipe: Annotated[str, typer.Option(help="Whose data, splits and phantoms.")] = "t1-t2-flair-direct",
    every_mm: Annotated[float, typer.Option(min=0.5, help="Distance of the slices that are kept.")] = 4.0,
    cache: Cache = None,
) -> None:
    """Pack a recipe's training and validation slices (8 bits, brain boxes) into one file, to train elsewhere."""
    from ..datasets.packed import SUFFIX
    from ..datasets.packed import pack as write
    from ..datasets.sessions import noted
    from ..errors import RecipeError
    from ..training.catalogue import load_recipe
    from ..training.setup import open_splits

    if output.suffix != SUFFIX:
        raise RecipeError(f"'{output}': the name of a packed file ends in {SUFFIX}.")
    if output.is_dir():
        raise RecipeError(f"'{output}' is a folder; give -o another name.")
    root = _with_prepared(data, output.parent)
    splits, skipped = open_splits(load_recipe(recipe), root, cache)
    for line in skipped:
        typer.echo(noted(line), err=True)
    path = write(splits, output, every_mm=every_mm, say=typer.echo)
    typer.echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _with_prepared(data: Path, output: Path) -> Path:
    """The data folder, or one of links to its data sets beside those that had to be prepared first."""
    from ..datasets.raw import sessions_to_prepare
    from ..errors import RecipeError
    from ..prepare.pipeline import Options, prepare_session
    from ..training.chain import PREPARED, RAW

    if not data.is_dir() or (data / PREPARED).is_dir() or not (data / RAW).is_dir():
        return data
    folder = output / "data"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for path in data.iterdir():
            link = folder / path.name
            if path.is_dir() and not link.exists():
                link.symlink_to(path.resolve(), target_is_directory=True)
    except OSError as error:
        raise RecipeError(
            f"'{data / PREPARED}' is missing, and no link can be made beside the results ({error.strerror}). "
            f"Make it: napari-mrtrans prepare '{data / RAW}' -o '{data / PREPARED}'."
        ) from None
    sessions, _ = sessions_to_prepare([data / RAW])
    for session in sessions:
        prepare_session(session, folder / PREPARED, Options(), None, typer.echo)
    return folder


def _calibrate(made: list[Path], root: Path, output: Path) -> None:
    from ..checkpoints.checkpoint import read_checkpoint
    from ..evaluation.calibrate import calibrate
    from ..evaluation.ood_study import Settings
    from ..training.chain import FINISHED

    for path in made:
        checkpoint = read_checkpoint(path)
        calibrate(root, checkpoint, output / FINISHED, Settings(checkpoint.card.sampler.n, computed_pd=True))
