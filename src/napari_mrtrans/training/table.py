"""``splits.tsv`` in the folder of a run: on whom it was trained."""

from __future__ import annotations

from pathlib import Path

from ..checkpoints.checkpoint import read_checkpoint
from ..datasets.bids import subject_of
from ..datasets.splits import FILE, read_splits
from ..datasets.store import Source
from ..errors import RecipeError
from ..paths import typed
from ..wording import and_more
from .recipe import Recipe
from .state import STATE

#: TensorBoard's logs, in a run's folder.
BOARD = "tensorboard"


def is_given(table: Path, recipe: Recipe) -> bool:
    """Whether a table of people is the very one that the recipe names."""
    given = recipe.data.splits
    return given is not None and table.exists() and typed(given).exists() and table.samefile(typed(given))


def check_table(checkpoint: Path, recipe: Recipe, splits: dict[str, Source]) -> None:
    """See that the table beside a checkpoint that is to be trained may be written.

    Raises:
        RecipeError: there is one that no run has written, or one of other people, of another checkpoint.
    """
    out, table = checkpoint.parent, checkpoint.with_name(FILE)
    if not table.exists() or is_given(table, recipe):
        return
    if not any(map(Path.exists, (checkpoint, out / STATE, out / BOARD))):
        raise RecipeError(
            f"'{table}' is there, and no training has written it; choose another folder with -o, or move the file."
        )
    others = sorted({*out.glob("*.safetensors")} - {checkpoint, out / STATE})
    scans = {part: [s.name for s in source.sessions if not s.simulated] for part, source in splits.items()}
    if others and _parts(table) not in (None, {subject_of(name): part for part in scans for name in scans[part]}):
        raise RecipeError(
            f"'{table}' says on whom '{others[0].stem}' was trained, and these are other people; choose another folder "
            "with -o."
        )


def check_people(checkpoint: Path, splits: dict[str, Source]) -> None:
    """See that a finished checkpoint was trained, watched and kept from the people who are in these splits now.

    Raises:
        RecipeError: it was not; some were added, taken away, or moved to another part.
    """
    before = read_checkpoint(checkpoint).card.splits
    now = {part: {*source.names} for part, source in splits.items()}
    moved = sorted({name for part in {*before, *now} for name in {*before.get(part, [])} ^ now.get(part, set())})
    if moved:
        raise RecipeError(
            f"'{checkpoint}' has been trained to its end, but with other people: {moved[0]}{and_more(len(moved) - 1)} "
            "came since, went, or is in another part. Give it the same data, or train it anew in another folder."
        )


def _parts(table: Path) -> dict[str, str] | None:
    """Of each subject in a table; None where it cannot be read."""
    try:
        return read_splits(table)
    except RecipeError:
        return None
