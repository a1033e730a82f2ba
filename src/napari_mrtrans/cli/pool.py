"""``napari-mrtrans-train pool``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Output


def pool(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    of: Annotated[
        list[str],
        typer.Option(help="Installed name, or a file, of who draws next; may be repeated, also for one of them."),
    ],
    output: Output,
) -> None:
    """Make a checkpoint that takes the samples of others in turn, two at a time.

    Those that are not installed are copied beside it.
    """
    from ..checkpoints.card_text import essence
    from ..checkpoints.library import load_checkpoint
    from ..checkpoints.pool import make_pool
    from ..paths import check_folder

    members = [load_checkpoint(member) for member in of]
    check_folder(output)
    made = make_pool(name, members, output)
    typer.echo(f"{essence(made)}\nwrote {made.path}")
    if lacking := [part for part in ("validation", "test") if not made.card.splits.get(part)]:
        typer.echo(
            f"Nobody is kept for {' or '.join(lacking)} by all members and seen by none, so it cannot be calibrated or "
            "measured on people of theirs; train members with one division (--set data.splits=RUN/splits.tsv "
            "--set data.holdout_fraction=null)."
        )
