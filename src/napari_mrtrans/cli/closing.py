"""What the terminal says at the end of a command: what was done, where it is, what to know, and how usual it was."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ..errors import MrtransError, fault_line
from ..paths import plain_line
from ..training.stopping import heard, interrupt


def close(
    done: str, files: Iterable[Path] = (), notices: Iterable[str] = (), last: str = "", *, verb: str = "wrote"
) -> None:
    """Print the closing block: results on stdout, notices (each once) on stderr.

    Args:
        done: What was done.
        files: What was written.
        notices: What the user should know.
        last: The last line.
        verb: Before each file.
    """
    typer.echo(done)
    for path in files:
        typer.echo(f"{verb} {path}")
    for line in dict.fromkeys(notices):
        typer.echo(line, err=True)
    if last:
        typer.echo(last)


@contextmanager
def goes_on(kept: Callable[[], object] = lambda: True) -> Iterator[None]:
    """Of what goes on where it was when called again, Ctrl-C says so, if something was ``kept``; SIGTERM is as that."""
    try:
        with heard(interrupt, signal.SIGTERM):
            yield
    except KeyboardInterrupt:
        if not kept():
            raise
        typer.echo("Interrupted; the same command goes on.", err=True)
        sys.exit(130)


def judged(info: Mapping[str, Any]) -> str:
    """σ̂, P(OOD), its verdict and the reason of a report or a row of ``ood``; what is unknown is left out."""
    sigma = "" if info["sigma_hat"] is None else f"sigma-hat {info['sigma_hat']:.4f}  "
    if info["ood_probability"] is None:
        return f"{sigma}{info['verdict']}"
    because = f": {info['ood_reason']}" if info.get("ood_reason") else ""
    return f"{sigma}P(OOD) {info['ood_probability']:.2f}  {info['verdict']}{because}"


def unexpected(error: Exception) -> str:
    """What is said of one of many that failed: the line of a mistake, and of a fault of ours what it is."""
    if isinstance(error, MrtransError):
        return str(error)
    if isinstance(error, OSError):
        return plain_line(error)
    return fault_line(error)
