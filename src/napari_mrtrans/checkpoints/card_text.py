"""A checkpoint in words, for the command line and the window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..models.families import POOL, family_of
from ..wording import plural
from .card import Adapted, Card, Unnamed
from .checkpoint import Checkpoint
from .planes import has_planes
from .pool import drawn_by, missing_line, n_parameters


def headline(checkpoint: Checkpoint) -> str:
    """Name, family, size and what an answer costs."""
    card = checkpoint.card
    if card.model == POOL:
        return f"{checkpoint.name}  (pool, {n_parameters(checkpoint) / 1e6:.1f} M weights, {card.sampler.n} samples)"
    steps = "1 pass" if checkpoint.single_pass else f"{card.sampler.steps} steps"
    steps += " of either side" if card.sampler.mirror and checkpoint.deterministic else ""
    steps += "" if checkpoint.deterministic else f" x {card.sampler.n} samples"
    size = f"{checkpoint.n_parameters / 1e6:.1f} M weights, {checkpoint.size_bytes / 1e6:.1f} MB"
    return f"{checkpoint.name}  ({card.model}, {size}, {steps})"


def essence(checkpoint: Checkpoint) -> str:
    """What it is, in one line: method, what it leans on, size and budget beside the published ones."""
    card, family = checkpoint.card, family_of(checkpoint.card.model)
    if card.model == POOL:
        drawn = Counter(drawn_by(checkpoint, 20))
        return f"{family.described}: of 20 samples {', '.join(f'{count} of {name}' for name, count in drawn.items())}"
    what = family.described or card.model
    if card.options.get("mean_network"):
        what += " of what a frozen Direct network leaves open"
    elif card.options.get("prediction") == "preconditioned":
        what += " in preconditioned form"
    elif card.options.get("regularisation"):
        crps = card.options.get("score") == "crps"
        told = "distribution, by the CRPS (Lang 2024)" if crps else "mean and spread (Bendel 2023)"
        critic = " also" if card.options.get("adversarial", True) else ", without its critic,"
        what += f" whose two samples are{critic} held to the target's {told}"
    elif card.options.get("adversarial_weight") == 0:
        what += ", in its last run without its critic"
    elif card.options.get("sessions"):
        what += " with session effects (not in the paper)"
    elif not what.endswith(")"):
        what += " as published"
    weights = checkpoint.n_parameters / 1e6
    small = "small: " if family.published_weights > 2 * weights else ""
    size = f"{weights:.1f}{_of(family.published_weights)} M weights"
    if card.training and card.training.slices is not None:
        return f"{what}, {small}{size}, {card.training.slices:,}{_of(family.published_slices, ' million')} slices seen"
    return f"{what}, {small}{size}, {card.images:,} slices seen in its last run"


def _of(published: float, unit: str = "") -> str:
    return f" of {published:g}{unit}" if published else ""


def details(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """What it serves, what it was trained on, its notes and its calibration, each with a word that says which."""
    card = checkpoint.card
    lines = [
        ("is", essence(checkpoint)),
        *((("cannot be used", missing),) if (missing := missing_line(checkpoint)) else ()),
        ("pairs", ", ".join(map(str, checkpoint.pairs))),
        *((("three planes", "coronal and sagittal slices too, where asked for"),) if has_planes(checkpoint) else ()),
        *((("adapted", adaptation(card.adapted)),) if card.adapted else ()),
        *((("learned before from", _unnamed(card.unnamed_before)),) if card.unnamed_before else ()),
        ("trained on", "; ".join(f"{data.name} [{data.licence}]" for data in card.data) or "not stated"),
        *(("note", note) for note in card.notes),
    ]
    if (fitted := checkpoint.calibration) and fitted.ood:
        made = fitted.on_computed
        of_made = f" ({made} of them on computed images)" if made else ""
        spread = f"std corrected for {plural(len(fitted.spread), 'pair')}{of_made}, " if fitted.spread else ""
        lines.append(("calibrated afterwards", f"{spread}P(OOD) from {fitted.ood.score}"))
    return lines


def adaptation(adapted: Adapted) -> str:
    """What a checkpoint was adapted from and to, and what came of it."""
    old = " of " + " of ".join(adapted.lineage[-2::-1]) if len(adapted.lineage) > 1 else ""
    return (
        f"from {adapted.parent}{old}, to {plural(adapted.people, 'person', 'people')} of {adapted.site}, "
        f"{adapted.minutes:.3g} min: PSNR {adapted.gain_db:+.2f} dB on {adapted.judged_on}"
    )


def adapted_to(card: Card) -> str:
    """Whom a checkpoint, or what it was made of, ``was adapted to``."""
    return f"{'was' if card.adapted else 'was made of what was'} adapted to {_unnamed(card.unnamed)}"


def _unnamed(unnamed: Sequence[Unnamed]) -> str:
    """``2 people of 'a' and 1 person of 'b'``."""
    return " and ".join(f"{plural(one.people, 'person', 'people')} of '{one.site}'" for one in unnamed)


def provenance(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Where it comes from and where it is; reads the whole file for its digest."""
    card = checkpoint.card
    lines = [("citation", data.citation) for data in card.data]
    if card.recipe:
        lines.append(("recipe", f"{card.recipe}, seed {card.seed}, {card.steps} steps on {card.images} images"))
    if card.training and card.training.hours:
        took = card.training
        lines.append(("took", f"{took.hours:.1f} h, {took.peak_memory_gib:.1f} GiB, {took.device}"))
    return [*lines, ("file", str(checkpoint.path)), ("SHA-256", checkpoint.sha256)]
