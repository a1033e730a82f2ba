"""``napari-mrtrans-train``: headless training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MrtransError, RecipeError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def run(
    recipe: Annotated[str | None, typer.Argument(help="Name of a shipped recipe, or a YAML file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder (BIDS).")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Output folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder exactly.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="End after this long with a usable checkpoint.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of devices.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Background decoding processes.")] = 1,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the network first (takes minutes; pays on long runs).")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Where decoded volumes are kept.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. optimiser.lr=0.0002."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the shipped recipes.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe as it will run, and stop.")] = False,
) -> None:
    """Train a model from a RECIPE and write a checkpoint that the plugin can use."""
    from .recipe import list_recipes, load_recipe

    if list_:
        for name in list_recipes():
            loaded = load_recipe(name)
            images = sum(stage.steps * stage.batch for stage in loaded.stages)
            typer.echo(
                f"{name:28} {loaded.model:8} {len(loaded.pairs)} pairs  {images:>9,} slices  {loaded.description}"
            )
        return
    if recipe is None:
        raise RecipeError("Name a recipe or a YAML file; --list shows the shipped ones.")
    chosen = load_recipe(recipe, set_)
    if show:
        import yaml

        document = chosen.model_dump(mode="json")
        document["pairs"] = [f"{pair.source}->{pair.target}" for pair in chosen.pairs]
        typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())
        return
    if data is None or output is None:
        raise RecipeError("Give the data folder with --data and the output folder with -o.")
    _train(
        chosen,
        data,
        output,
        cache,
        accelerator=accelerator,
        devices=devices,
        resume=resume,
        max_minutes=max_minutes,
        workers=workers,
        compiled=compile_,
    )


def _train(chosen: Any, data: Path, output: Path, cache: Path | None, **options: Any) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ..devices import resolve_device
    from ..ensemble import check_folder
    from .setup import check_model, open_splits

    try:
        from .loop import Progress as Step
        from .loop import train
    except ImportError as error:
        raise MrtransError(f"Training needs more packages ({error}): pip install 'napari-mrtrans[train]'.") from None

    check_model(chosen)
    check_folder(output)
    if notice := resolve_device(options["accelerator"])[1]:
        raise MrtransError(f"{notice.split(';')[0]}; choose --accelerator cpu.")
    console = Console(stderr=False)
    splits, skipped = open_splits(chosen, data, cache)
    console.print(
        ", ".join(f"{part}: {len(source.sessions)} sessions" for part, source in splits.items()),
        highlight=False,
    )
    for line in skipped:
        console.print(f"skipped {line}", highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    smooth = 0.0
    spoken = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("loss …", total=chosen.total_steps)
        first: list[int] = []

        def on_step(step: Step) -> None:
            nonlocal smooth, spoken
            first.append(step.step) if not first else None
            smooth = step.loss if not smooth else 0.98 * smooth + 0.02 * step.loss
            bar.update(task, completed=step.step, description=f"loss {smooth:.4f}")
            if not console.is_terminal and time.monotonic() - spoken > 30:
                spoken = time.monotonic()
                rate = step.seconds / (step.step - first[0] + 1)
                left = rate * (step.total - step.step)
                console.print(
                    f"step {step.step}/{step.total}  loss {smooth:.4f}  {left / 60:.0f} min left",
                    highlight=False,
                )

        path = train(
            chosen,
            splits,
            output,
            progress=on_step,
            say=lambda line: console.print(line, highlight=False),
            **options,
        )
    console.print(f"Wrote {path}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point; a user's mistake prints one line and exits 2."""
    from ..cli import run_app

    run_app(app, "napari-mrtrans-train")


__all__ = ["MrtransError", "app", "main"]
