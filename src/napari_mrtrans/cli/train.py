"""``napari-mrtrans-train``: headless training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MrtransError, RecipeError
from ..wording import plural
from .adapt import adapt, phantom_site
from .chain import pack, shipped
from .closing import goes_on
from .judge import judge
from .options import SPELLINGS, Accelerator, Cache, Decoders, Device, Output, Pairs, Subjects, each_of
from .pool import pool
from .terminal import ProgressBar

if TYPE_CHECKING:
    from ..training.hardware import Hardware
    from ..training.recipe import Recipe

VALIDATE_SAMPLER, CALIBRATE, SHIPPED, PACK = "validate-sampler", "calibrate", "shipped", "pack"
JUDGE, ADAPT, PHANTOM_SITE, POOL = "judge", "adapt", "phantom-site", "pool"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
#: A second one, because typer cannot tell a RECIPE from a command.
checks = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=SPELLINGS
)


@app.command(
    epilog=f"Is a fast sampler's spread right? See napari-mrtrans-train {VALIDATE_SAMPLER} --help. "
    f"Your own scanner: napari-mrtrans-train {ADAPT} --help. "
    f"Calibrated uncertainty: napari-mrtrans-train {CALIBRATE} --help. "
    f"Several checkpoints taken together: napari-mrtrans-train {POOL} --help. "
    f"All of the package's checkpoints: napari-mrtrans-train {SHIPPED} --help."
)
def run(
    recipe: Annotated[str | None, typer.Argument(help="Name of a shipped recipe, or a YAML file.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data folder: BIDS, or a data set as downloaded; or phantom: simulated brains alone."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Output folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder exactly.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="End after this long with a usable checkpoint.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Devices on each machine.")] = 1,
    num_nodes: Annotated[
        int, typer.Option("--num-nodes", min=1, help="Machines; torchrun or SLURM starts it on each.")
    ] = 1,
    accelerator: Accelerator = "auto",
    workers: Decoders = 1,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the network first (takes minutes; pays on long runs).")
    ] = False,
    cache: Cache = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. optimiser.lr=0.0002."),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", help="List the shipped recipes and their cost, at 30 TFLOP/s of a GPU, 0.1 of two cores."
        ),
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe as it will run, and stop.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="List every key that a recipe may have.")] = False,
) -> None:
    """Train a model from a RECIPE and write a checkpoint that the plugin can use."""
    from ..training.catalogue import list_recipes, load_recipe

    if list_:
        from ..training.cost import cost_line

        for name in list_recipes():
            loaded = load_recipe(name)
            pairs = f"{len(loaded.pairs)} pairs" if len(loaded.pairs) > 1 else str(loaded.pairs[0])
            typer.echo(
                f"{name:32} {loaded.model:8} {pairs:9} {loaded.slices:>10,} slices  {cost_line(loaded):24} "
                f"{loaded.description}"
            )
        return
    if keys:
        from ..training.recipe import Recipe
        from ..training.recipe_keys import keys_of

        for key in keys_of(Recipe):
            typer.echo(f"{key.name:28} {key.usual:16} {key.meaning}")
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
    from ..training.hardware import Hardware

    hardware = Hardware(accelerator, devices, num_nodes, workers, compile_)
    train_recipe(chosen, data, output, cache, hardware=hardware, resume=resume, max_minutes=max_minutes)


def train_recipe(
    chosen: Recipe,
    data: str,
    output: Path,
    cache: Path | None,
    *,
    hardware: Hardware,
    resume: bool = False,
    max_minutes: float | None = None,
) -> None:
    """Train with progress on the terminal."""
    from rich.console import Console

    from ..datasets.sessions import noted
    from ..devices import resolve_device
    from ..paths import check_folder
    from ..training.setup import PHANTOM, check_model, check_parents, open_splits

    try:
        from lightning_fabric.utilities.rank_zero import rank_zero_only

        from ..training.loop import Progress, train
    except ImportError as error:
        raise MrtransError(f"Training needs more packages ({error}): pip install 'napari-mrtrans[train]'.") from None

    check_model(chosen)
    check_parents(chosen)
    check_folder(output)
    if notice := resolve_device(hardware.accelerator)[1]:
        raise MrtransError(f"{notice.split(';')[0]}; choose --accelerator cpu.")
    splits, skipped = open_splits(chosen, None if data == PHANTOM else Path(data), cache)
    console = Console(quiet=getattr(rank_zero_only, "rank", 0) > 0)
    bar = ProgressBar("loss …", unit="", console=console, pause=30.0)
    bar.say(", ".join(f"{part}: {plural(len(source.sessions), 'session')}" for part, source in splits.items()))
    for line in skipped:
        bar.say(noted(line))
    bar.show(bar.title, 0, chosen.total_steps)
    first, smooth = 0, 0.0

    def show(now: Progress) -> None:
        nonlocal first, smooth
        first = first or now.step
        smooth = 0.98 * smooth + 0.02 * now.loss if smooth else now.loss
        loss = f"loss {smooth:.4f}"
        left = now.seconds / (now.step - first + 1) * (now.total - now.step)
        bar.show(loss, now.step, now.total, f"step {now.step}/{now.total}  {loss}  {left / 60:.0f} min left")

    with bar:
        train(
            chosen,
            splits,
            output,
            hardware=hardware,
            resume=resume,
            max_minutes=max_minutes,
            progress=show,
            say=bar.say,
        )


@checks.command(VALIDATE_SAMPLER)
def validate_sampler(
    checkpoint: Annotated[str, typer.Argument(help="Installed name, or a file.")],
    data: Annotated[Path, typer.Option(help="Data folder, as for training.")],
    output: Output,
    sampler: Annotated[str | None, typer.Option(help="The fast sampler; default: the checkpoint's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Its noise levels; default: the checkpoint's.")] = None,
    reference_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Of the reference; default: the model's own (fewer is cheaper, and worse)."),
    ] = None,
    pairs: Pairs = None,
    subjects: Subjects = None,
    n: Annotated[int, typer.Option("-n", min=2, help="Samples in each of three sets.")] = 20,
    slices_per_subject: Annotated[int, typer.Option(min=1, help="Over the thick part of the head.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of all noise.")] = 0,
    device: Device = "auto",
) -> None:
    """Is a fast sampler's spread right? Compares it with the model's slow reference sampler on held-out subjects."""
    from ..checkpoints.library import load_checkpoint
    from ..evaluation.validate_sampler import Settings
    from ..evaluation.validate_sampler import validate_sampler as validate
    from ..scan.contrasts import Pair

    loaded = load_checkpoint(checkpoint)
    settings = Settings(
        sampler=sampler,
        steps=steps,
        reference_steps=reference_steps,
        pairs=[Pair.parse(text) for text in each_of("--pairs", pairs) or ()] or None,
        subjects=each_of("--subjects", subjects),
        n=n,
        slices_per_subject=slices_per_subject,
        seed=seed,
        device=device,
    )
    paths = validate(data, loaded, output, settings, say=typer.echo)
    for path in paths:
        typer.echo(f"wrote {path}")


@checks.command(CALIBRATE)
@goes_on()
def calibrate(
    checkpoint: Annotated[str, typer.Argument(help="Installed name, or a file.")],
    data: Annotated[Path, typer.Option(help="Data folder with the subjects it was trained on.")],
    output: Output,
    other: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=FOLDER", help="Further unusual scans for the test; may be repeated."),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples; default: the checkpoint's.")] = None,
    slices: Annotated[int, typer.Option(min=1, help="Of each scan, evenly spread.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, artefacts and draws.")] = 0,
    device: Device = "auto",
    image_only: Annotated[
        bool,
        typer.Option("--image-only", help="Fit P(OOD) alone, without samples, in a minute; the spread stays as it is."),
    ] = False,
    spread_only: Annotated[
        bool, typer.Option("--spread-only", help="Correct the spread anew; P(OOD) stays as it is.")
    ] = False,
    computed_pd: Annotated[
        bool, typer.Option("--computed-pd", help="Pairs with PD, too, where none was acquired: of computed images.")
    ] = False,
) -> None:
    """Fit the correction of a checkpoint's spread and P(OOD); put the calibration beside the checkpoint to use it."""
    from ..checkpoints.library import load_checkpoint
    from ..evaluation.calibrate import calibrate as fit
    from ..evaluation.calibrate import calibrate_spread
    from ..evaluation.ood_study import Settings
    from ..evaluation.other_scans import read_others

    others = read_others(other or [])
    loaded = load_checkpoint(checkpoint)
    count = n or loaded.card.sampler.n
    settings = Settings(count, slices, seed, device, sampling=not image_only, computed_pd=computed_pd)
    if computed_pd and (image_only or loaded.deterministic):
        raise MrtransError("--computed-pd corrects a spread; leave it out.")
    if spread_only:
        if image_only or others:
            raise MrtransError("--spread-only leaves P(OOD) as it is; give it without --image-only and --other.")
        paths = calibrate_spread(data, loaded, output, settings, say=typer.echo)
    else:
        paths = fit(data, loaded, output, settings, others=others, say=typer.echo)
    for path in paths:
        typer.echo(f"wrote {path}")


checks.command(ADAPT)(goes_on()(adapt))
checks.command(PHANTOM_SITE)(phantom_site)
checks.command(SHIPPED)(goes_on()(shipped))
checks.command(PACK)(pack)
checks.command(JUDGE)(judge)
checks.command(POOL)(pool)


def main() -> None:
    """Entry point; a user's mistake prints one line and exits 2."""
    from .main import run_app

    own = {command.name for command in checks.registered_commands}
    run_app(checks if {*sys.argv[1:2]} & own else app, "napari-mrtrans-train")
