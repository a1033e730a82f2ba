"""The card of what a run has trained."""

from __future__ import annotations

from ..checkpoints.card import Card, DataSource, Grid, Intensity, Training
from ..checkpoints.pool import once
from ..datasets.phantom import SOURCE, people_in
from ..datasets.store import Source
from ..scan.contrasts import Contrast
from ..scan.intensity import HEADROOM
from .initial import Start
from .recipe import Recipe


def make_card(
    recipe: Recipe,
    start: Start,
    splits: dict[str, Source],
    step: int,
    metrics: dict[str, float],
    took: Training,
    parents: dict[str, str],
) -> Card:
    """The card of what was just trained; ``took`` lacks the slices, ``parents`` are those of :func:`.parents_of`."""
    seen, left = 0, step
    for stage in recipe.stages:
        seen += min(left, stage.steps) * stage.batch
        left -= min(left, stage.steps)
    sources, notes = _provenance(recipe, splits["train"])
    train = splits["train"].names
    folder = recipe.data.folders[0] if len(recipe.data.folders) == 1 and recipe.data.folders != (".",) else ""
    before = {name: None for card in start.parents for name in _seen(card, folder) if name not in train}
    return Card(
        name=recipe.checkpoint_name,
        model=recipe.model,
        options=start.options,
        pairs=list(recipe.pairs),
        grid=Grid(spacing_mm=recipe.data.spacing_mm),
        framing=recipe.data.framing,
        intensity=Intensity(headroom=HEADROOM),
        sampler=recipe.sampler,
        data=once([*sources, *(one for card in start.parents for one in card.data)]),
        splits={part: source.names for part, source in splits.items()},
        seen_before=[*before],
        unnamed_before=once(one for card in start.parents for one in card.unnamed),
        folder=folder,
        seed=recipe.seed,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256,
        steps=step,
        images=seen,
        training=took.model_copy(update={"slices": seen}).after(start.before),
        metrics={"validation": metrics},
        parents=parents,
        notes=[*notes, *start.notes],
    )


def _seen(card: Card, folder: str) -> list[str]:
    """Names of all training sessions of a parent, as a run on ``folder`` alone calls them (or on several: empty)."""
    home = "" if card.folder == folder else card.folder
    return people_in(home, card.seen)


def _provenance(recipe: Recipe, source: Source) -> tuple[list[DataSource], list[str]]:
    """Data sources and notes of a card; the notes say which contrasts were seen in phantoms only."""
    sources, notes = list(recipe.data.sources), list(recipe.notes)
    scans = [session for session in source.sessions if not session.simulated]
    phantoms = len(scans) < len(source.sessions)
    if phantoms:
        sources = [*(sources if scans else ()), SOURCE]
    computed = recipe.data.computed_pd and bool(scans)
    if phantoms or computed:
        scanned = {c for session in scans for c in session.contrasts if not (computed and c is Contrast.PD)}
        served = {contrast for pair in recipe.pairs for contrast in pair}
        if simulated := [contrast for contrast in Contrast if contrast in served - scanned]:
            how = "contrast computed from real T1, T2 and FLAIR" if computed else "simulated contrast"
            how += ", and on phantoms" if computed and phantoms else ""
            notes.append(f"{', '.join(simulated)}: trained on {how}")
    return sources, notes
