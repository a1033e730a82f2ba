"""What an adaptation leaves in its folder: the checkpoint, its calibration, figures and a page with pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..asked.place import WORK
from ..asked.settings import Settings
from ..checkpoints.card import Adapted, Card, DataSource
from ..checkpoints.checkpoint import CALIBRATION_SUFFIX, Checkpoint, read_checkpoint, write_checkpoint
from ..models import Model
from ..paths import write_together
from ..training.hardware import what_it_took
from ..wording import plural
from .figures import Judged, Line, gain
from .page import Report, Shown, draw, html
from .site import Site
from .spread import write_site_calibration

PAGE, PICTURES, FIGURES = "report.html", "pictures.png", "figures.json"


@dataclass(frozen=True)
class Trained:
    """A network that was adapted, and how it was judged.

    Attributes:
        model: It.
        options: Of its constructor.
        table: Before and after, by pair.
        rows: What that is made of, before and after.
        samples: Of each slice there.
        minutes: Of training, people left out included.
        slices: That it saw.
        steps: Of its optimisers.
        curves: Held-out error of each run.
        shown: Slices for the page.
        judged_on: On what, in words.
        people: From whom it learned.
        sessions: Theirs.
        warnings: What to beware of.
    """

    model: Model
    options: dict[str, Any]
    table: list[Line]
    rows: tuple[list[Judged], list[Judged]]
    samples: int
    minutes: float
    slices: int
    steps: int
    curves: dict[str, list[tuple[float, float]]]
    shown: Sequence[Shown]
    judged_on: str
    people: int
    sessions: int
    warnings: list[str] = field(default_factory=list)


def file_names(name: str) -> list[str]:
    """Of all files of a result, whose checkpoint is called ``name``."""
    return [f"{name}.safetensors", f"{name}{CALIBRATION_SUFFIX}", PICTURES, PAGE, FIGURES]


def write_result(
    trained: Trained, parent: Checkpoint, site: Site, out: Path, settings: Settings, say: Callable[[str], None]
) -> Checkpoint:
    """Write everything; the checkpoint in ``out``.

    Raises:
        MrtransError: the folder cannot be written.
    """
    card = _card(trained, parent, site, settings)
    made = read_checkpoint(write_checkpoint(out / f"{card.name}.safetensors", trained.model, card))
    write_site_calibration(made, parent, site, trained.rows[1], trained.samples, out / WORK, say)
    pictures = draw(trained.shown, out / PICTURES)
    assert card.adapted is not None
    report = Report(
        title=f"{card.name}: {parent.name} adapted to {settings.name}",
        about=f"{plural(card.adapted.people, 'person', 'people')}, {plural(card.adapted.sessions, 'session')}, "
        f"{card.adapted.minutes:.1f} minutes of training, {trained.slices} slices seen. Judged on {trained.judged_on}.",
        warnings=trained.warnings,
        judged_on=trained.judged_on,
        table=trained.table,
        curves=trained.curves,
        shown=trained.shown,
    )
    figures = {
        "judged_on": trained.judged_on,
        "pairs": [asdict(line) for line in trained.table],
        "curves": trained.curves,
    }
    write_together(out, {PAGE: html(report, pictures), FIGURES: json.dumps(figures, indent=1) + "\n"})
    return made


def read_table(out: Path) -> list[Line]:
    """Before and after, of an adaptation that is done; empty where that cannot be read."""
    try:
        pairs: list[dict[str, Any]] = json.loads((out / FIGURES).read_text(encoding="utf-8"))["pairs"]
        return [Line(**_with_tuples(pair)) for pair in pairs]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _with_tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def _card(trained: Trained, parent: Checkpoint, site: Site, settings: Settings) -> Card:
    """The parent's card with what has changed; the people of the site are numbers."""
    old = parent.card
    people, sessions = trained.people, trained.sessions
    device = next(trained.model.parameters()).device
    took = what_it_took(trained.minutes / 60, device)
    source = DataSource(
        name=f"{plural(people, 'person', 'people')} of {settings.name}",
        licence="the site's own",
        citation="not published",
    )
    return old.model_copy(
        update={
            "name": settings.checkpoint_name(parent),
            "options": trained.options,
            "pairs": list(site.pairs),
            "data": [*old.data, source],
            "seed": settings.seed,
            "recipe": "adapt",
            "recipe_sha256": "",
            "steps": trained.steps,
            "images": trained.slices,
            "training": took.model_copy(update={"slices": trained.slices}).after(old.training),
            "metrics": {"adaptation": {line.pair: _figures(line) for line in trained.table}},
            "unnamed_before": old.unnamed,
            "adapted": Adapted(
                parent=old.name,
                parent_sha256=parent.sha256,
                lineage=[*(old.adapted.lineage if old.adapted else []), old.name],
                site=settings.name,
                people=people,
                sessions=sessions,
                minutes=round(trained.minutes, 2),
                gain_db=round(gain(trained.table), 3) if trained.table else 0.0,
                judged_on=trained.judged_on,
            ),
            "notes": [note for note in old.notes if _about(note, site)],
        }
    )


def _figures(line: Line) -> dict[str, Any]:
    """Before and after, rounded; what is unknown is left out."""
    names = ("psnr", "ssim", "std_over_rmse", "covered", "corrected")
    known = {name: getattr(line, name) for name in names}
    rounded = {name: [round(v, 4) for v in values] for name, values in known.items() if values is not None}
    return {"people": line.people, "slices": line.slices, **rounded}


def _about(note: str, site: Site) -> bool:
    """Whether a note is still about one of the pairs."""
    subject, colon, _ = note.partition(":")
    contrasts = {str(contrast) for pair in site.pairs for contrast in pair}
    named = {word.strip() for word in subject.split(",")}
    return not colon or not named <= {"T1", "T2", "PD", "FLAIR"} or bool(named & contrasts)
