"""``napari-mrtrans``: the command line. Heavy imports happen inside commands, so ``--help`` answers at once."""

from __future__ import annotations

import sys

import typer

from .errors import MrtransError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Brain MR contrast transformation with uncertainty. Research use only, not for diagnosis."""


def run_app(application: typer.Typer) -> None:
    """Run a command line; a user's mistake prints one plain line to stderr and exits 2, never a traceback."""
    try:
        application()
    except MrtransError as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def main() -> None:
    """Entry point of ``napari-mrtrans``."""
    run_app(app)
