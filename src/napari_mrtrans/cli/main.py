"""``napari-mrtrans``: the command line. Heavy imports happen inside commands, so ``--help`` answers at once."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import MrtransError
from ..paths import plain_line, typed
from .closing import goes_on
from .cohort import cohort
from .evaluate import evaluate
from .lesion import lesion
from .models import models
from .ood import ood
from .options import SPELLINGS
from .prepare import prepare
from .report import report
from .transform import transform

#: Base of all that typer finds wrong with a command line (recent versions bring a click of their own).
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=SPELLINGS
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-mrtrans {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
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


for command in (models, transform, report, goes_on()(prepare), ood, lesion, goes_on()(evaluate), goes_on()(cohort)):
    app.command()(command)


def each_with_its_option(arguments: Iterable[str]) -> list[str]:
    """``--set a=1 b=2`` and ``--checkpoint A B`` as typer takes them: the option again before each further value."""
    out: list[str] = []
    option, first = "", False
    for argument in arguments:
        if argument.startswith("-"):
            option, first = argument if argument in ("--set", "--checkpoint") else "", True
        elif option and not first:
            if option == "--set" and "=" not in argument:  # a recipe, say
                option = ""
            else:
                out.append(option)
        else:
            first = False
        out.append(argument)
    return out


def at_home(argument: str) -> str:
    """``~/x`` and ``--output=~/x``, where the shell has left the tilde as it was."""
    option, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{typed(value)}" if value == "~" or value.startswith("~/") else argument


def run_app(application: typer.Typer, name: str) -> None:
    """Run the command line ``name``; a user's mistake prints one plain line to stderr and exits 2, no traceback."""
    sys.argv[1:] = each_with_its_option(map(at_home, sys.argv[1:]))
    for stream in (sys.stdout, sys.stderr):
        # A redirect on Windows is written in cp1252, which has no σ: a replaced character is better than no answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
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
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("napari_mrtrans"):
                raise
            print(f"This needs more packages ({error}): pip install 'napari-mrtrans[all]'.", file=sys.stderr)
            status = 2
        except OSError as error:
            print(MrtransError(plain_line(error)), file=sys.stderr)
            status = 2
        except MemoryError as error:
            why = f" ({error})" if str(error) else ""
            print(f"Memory is too short{why}. Give the job more, or a smaller volume.", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            status = 130
    if status == 130:  # typer's exit status for Ctrl-C
        print("Interrupted.", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def main() -> None:
    """Entry point of ``napari-mrtrans``."""
    run_app(app, "napari-mrtrans")
