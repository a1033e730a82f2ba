"""What the installed checkpoints allow to choose, and how the choices read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..checkpoints.card_text import essence
from ..checkpoints.library import checkpoints_for, list_checkpoints
from ..scan.contrasts import Contrast, Pair

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint


def targets_from(source: Contrast) -> list[Contrast]:
    """The contrasts that some installed checkpoint makes from ``source``, in their usual order."""
    served = {pair.target for checkpoint in list_checkpoints() for pair in checkpoint.pairs if pair.source == source}
    return [contrast for contrast in Contrast if contrast in served]


def models_for(pair: Pair) -> list[tuple[str, Checkpoint]]:
    """Label and checkpoint of every installed checkpoint that serves ``pair``, the default first."""
    found = checkpoints_for(pair.source, pair.target)
    families = [checkpoint.card.model for checkpoint in found]
    return [
        (f"{family} · {pair}" + (f" ({checkpoint.name})" if families.count(family) > 1 else ""), checkpoint)
        for family, checkpoint in zip(families, found, strict=True)
    ]


def named_models(pair: Pair) -> list[tuple[str, Checkpoint]]:
    """Short name (see :func:`short_name`) and checkpoint of each of the same."""
    found = checkpoints_for(pair.source, pair.target)
    return [(_short(one.card.model, one.name, found), one) for one in found]


def short_name(family: str, name: str, pair: Pair) -> str:
    """What the checkpoint ``name``, installed or not, is called: as its family, or by its own name where another one of
    that family is installed that serves ``pair``."""
    return _short(family, name, checkpoints_for(pair.source, pair.target))


def _short(family: str, name: str, found: list[Checkpoint]) -> str:
    return name if any(one.card.model == family and one.name != name for one in found) else family


def no_target_line(source: Contrast) -> str:
    """The line for a source contrast that no installed checkpoint starts from."""
    names = ", ".join(checkpoint.name for checkpoint in list_checkpoints()) or "none"
    return f"No checkpoint for {source}. Installed: {names}. Train one with napari-mrtrans-train."


def card_summary(checkpoint: Checkpoint) -> str:
    """A few lines of a checkpoint's card, for a tooltip."""
    card = checkpoint.card
    lines = [
        f"{checkpoint.name}: {essence(checkpoint)}",
        f"Serves {', '.join(map(str, checkpoint.pairs))}",
    ]
    if checkpoint.deterministic:
        lines.append("Deterministic: one answer, no uncertainty")
    elif not checkpoint.single_pass:
        lines.append(f"Sampler {card.sampler.name}, {card.sampler.steps} steps")
    if card.data:
        lines.append("Trained on " + ", ".join(f"{data.name} ({data.licence})" for data in card.data))
    return "\n".join([*lines, *card.notes])


def contrast_notes(checkpoint: Checkpoint, pair: Pair) -> list[str]:
    """The notes of a checkpoint's card that concern the pair.

    A note says what it is about before its colon, or all along: ``PD: learned from simulated scans only.`` is about
    every pair with PD, ``T1→PD: …`` about that pair alone.
    """
    found = []
    for note in checkpoint.card.notes:
        subject = note.partition(":")[0]
        pairs = re.findall(r"(\w+)\s*(?:→|->)\s*(\w+)", subject)
        named = set(re.findall(r"\w+", subject))
        if tuple(map(str, pair[:2])) in pairs if pairs else named & {pair.source.value, pair.target.value}:
            found.append(note)
    return found
