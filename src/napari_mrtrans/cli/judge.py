"""``napari-mrtrans-train judge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def judge(
    data: Annotated[Path, typer.Option(help="Data folder, as for training.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, such as judge.safetensors.")],
    recipe: Annotated[str, typer.Option(help="Whose data options say who is trained on.")] = "t1-t2-flair-direct",
    slices: Annotated[int, typer.Option(min=64, help="Slices to learn from.")] = 24_000,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Background processes that draw slices.")] = 1,
) -> None:
    """Train the small networks that judge source slices: which contrast, which artefact."""
    from ..checkpoints.judge_file import JudgeCard, is_judge
    from ..datasets.phantom import SOURCE
    from ..datasets.sessions import noted
    from ..errors import MrtransError
    from ..evaluation.train_judge import Settings, train_judge
    from ..paths import check_folder
    from ..training.catalogue import load_recipe
    from ..training.setup import PHANTOM, open_splits

    check_folder(output.parent)
    if output.exists() and not is_judge(output):
        raise MrtransError(f"'{output}' is there and holds no networks that judge; give -o another file name.")
    chosen = load_recipe(recipe)
    splits, skipped = open_splits(chosen, None if str(data) == PHANTOM else data)
    for line in skipped:
        typer.echo(noted(line))
    phantoms = any(session.simulated for session in splits["train"].sessions)
    card = JudgeCard(data=[*chosen.data.sources, *([SOURCE] if phantoms else [])])
    train_judge(splits["train"], output, Settings(slices=slices, seed=seed, workers=workers), card, typer.echo)
    typer.echo(f"wrote {output}")
