"""A checkpoint in words, for the command line and the window."""

from __future__ import annotations

from .checkpoint import Checkpoint


def headline(checkpoint: Checkpoint) -> str:
    """Name, family, size and what an answer costs."""
    card = checkpoint.card
    steps = "1 pass" if checkpoint.single_pass else f"{card.sampler.steps} steps"
    steps += "" if checkpoint.deterministic else f" x {card.sampler.n} samples"
    size = f"{checkpoint.n_parameters / 1e6:.1f} M weights, {checkpoint.size_bytes / 1e6:.1f} MB"
    return f"{checkpoint.name}  ({card.model}, {size}, {steps})"


def details(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """What it serves, what it was trained on, its notes and its calibration, each with a word that says which."""
    card = checkpoint.card
    lines = [
        ("pairs", ", ".join(map(str, checkpoint.pairs))),
        ("trained on", "; ".join(f"{data.name} [{data.licence}]" for data in card.data) or "not stated"),
        *(("note", note) for note in card.notes),
    ]
    if (fitted := checkpoint.calibration) and fitted.ood:
        spread = f"std corrected for {len(fitted.spread)} pairs, " if fitted.spread else ""
        lines.append(("calibrated afterwards", f"{spread}P(OOD) from {fitted.ood.score}"))
    return lines


def provenance(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Where it comes from and where it is; reads the whole file for its digest."""
    card = checkpoint.card
    lines = [("citation", data.citation) for data in card.data]
    if card.recipe:
        lines.append(("recipe", f"{card.recipe}, seed {card.seed}, {card.steps} steps on {card.images} images"))
    return [*lines, ("file", str(checkpoint.path)), ("SHA-256", checkpoint.sha256)]
